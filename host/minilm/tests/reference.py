#!/usr/bin/env python3
"""Writes reference.json: the tokens and vectors of all-MiniLM-L6-v2 for a few texts.

    python3 reference.py MODEL_DIRECTORY            writes reference.json beside this file
    python3 reference.py MODEL_DIRECTORY --check    compares with torch and transformers instead

An independent implementation in NumPy and double precision, tokenizer included, which shares no
code with the crate under test. MODEL_DIRECTORY holds model.safetensors and vocab.txt.
"""

import json
import math
import struct
import sys
import unicodedata
from pathlib import Path

import numpy as np

HEADS, LAYERS, MAX_TOKENS, EPSILON = 12, 6, 256, 1e-12

TEXTS = [
    "",
    "How do I reset my password?",
    "The cat sleeps on the windowsill",
    "feline pet resting",
    "Quarterly revenue grew by 12 % in spite of higher interest rates.",
    "a",
    "   \t\n  ",
    "今天天气很好，我们去公园散步吧。",
    "東京タワーの高さは333メートルです。 서울의 날씨는 어떻습니까?",
    "Great job 🎉🚀 see you at the café — naïve façade, ÅNGSTRÖM, coöperate",
    "مرحبا بالعالم، كيف حالك اليوم؟",
    "tab\there\u0000 null\u0007 bell\u200b zero width\ufffd replacement\u001b[31m red\r\nnext line",
    "fn main() { println!(\"{:?}\", std::env::args().collect::<Vec<_>>()); } // snake_case_name",
    "Donaudampfschifffahrtsgesellschaftskapitän " + "x" * 120 + " https://example.com/a?b=c&d=e#f",
    " ".join(f"The {n}th entry of the log says that worker {n * 37 % 101} finished in time."
             for n in range(43)),
    "Redis hashes keep each fact under its own key, so a write touches one slot of the cluster, "
    "and a reader never sees half of it. Vectors are kept beside the text and are rebuilt when "
    "the model changes; until then searches by meaning use the old ones.",
]


def tensors(path):
    """All tensors of a safetensors file, in double precision."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length:]
    found = {}
    for name, entry in header.items():
        if entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            values = np.frombuffer(body[start:end], dtype="<f4").astype(np.float64)
            found[name] = values.reshape(entry["shape"])
    return found


def is_punctuation(char):
    ascii_symbol = 33 <= ord(char) <= 47 or 58 <= ord(char) <= 64 \
        or 91 <= ord(char) <= 96 or 123 <= ord(char) <= 126
    return ascii_symbol or unicodedata.category(char).startswith("P")


def is_chinese(char):
    ranges = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
              (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)]
    return any(low <= ord(char) <= high for low, high in ranges)


def words(text):
    """BERT's basic tokenizer: clean up, lower-case, strip accents, split off punctuation."""
    clean = []
    for char in text:
        if char in "\t\n\r" or unicodedata.category(char) == "Zs":
            clean.append(" ")
        elif ord(char) not in (0, 0xFFFD) and not unicodedata.category(char).startswith("C"):
            clean.append(f" {char} " if is_chinese(char) else char)
    plain = "".join(char for char in unicodedata.normalize("NFD", "".join(clean))
                    if unicodedata.category(char) != "Mn").lower()
    spaced = "".join(f" {char} " if is_punctuation(char) else char for char in plain)
    return spaced.split()


def pieces(word, vocabulary):
    """WordPiece, longest match first; a word without a match or of over 100 characters is unknown."""
    if len(word) > 100:
        return [vocabulary["[UNK]"]]
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                break
        else:
            return [vocabulary["[UNK]"]]
        found.append(vocabulary[piece])
        start = end
    return found


def tokenize(text, vocabulary):
    ids = [piece for word in words(text) for piece in pieces(word, vocabulary)]
    return [vocabulary["[CLS]"], *ids[:MAX_TOKENS - 2], vocabulary["[SEP]"]]


def layer_norm(x, weights, name):
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def attend(x, weights, name):
    def heads(part):
        projected = linear(x, weights, f"{name}.self.{part}")
        return projected.reshape(len(x), HEADS, -1).transpose(1, 0, 2)
    query, key, value = heads("query"), heads("key"), heads("value")
    scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
    probabilities = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    return (probabilities @ value).transpose(1, 0, 2).reshape(len(x), -1)


gelu = np.vectorize(lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))))


def embed(ids, weights):
    x = weights["embeddings.word_embeddings.weight"][ids] \
        + weights["embeddings.position_embeddings.weight"][:len(ids)] \
        + weights["embeddings.token_type_embeddings.weight"][0]
    x = layer_norm(x, weights, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        context = linear(attend(x, weights, f"{name}.attention"), weights,
                         f"{name}.attention.output.dense")
        x = layer_norm(x + context, weights, f"{name}.attention.output.LayerNorm")
        hidden = gelu(linear(x, weights, f"{name}.intermediate.dense"))
        x = layer_norm(x + linear(hidden, weights, f"{name}.output.dense"), weights,
                      f"{name}.output.LayerNorm")
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def check(directory, cases):
    """Fails unless torch and transformers agree, token by token and vector by vector."""
    import torch
    from transformers import AutoModel, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModel.from_pretrained(directory).double().eval()
    worst = 0.0
    for case in cases:
        ids = tokenizer(case["text"], truncation=True, max_length=MAX_TOKENS)["input_ids"]
        assert ids == case["tokens"], case["text"]
        with torch.no_grad():
            mean = model(torch.tensor([ids])).last_hidden_state[0].mean(dim=0).numpy()
        vector = np.array(case["vector"])
        cosine = mean @ vector / np.linalg.norm(mean) / np.linalg.norm(vector)
        worst = max(worst, 1 - cosine)
    print(f"{len(cases)} texts, greatest cosine distance {worst:.2e}")
    assert worst < 1e-12


def main():
    directory = Path(sys.argv[1])
    weights = tensors(directory / "model.safetensors")
    lines = (directory / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocabulary = {line: index for index, line in enumerate(lines)}
    cases = []
    for text in TEXTS:
        ids = tokenize(text, vocabulary)
        vector = [round(float(value), 8) for value in embed(ids, weights)]
        cases.append({"text": text, "tokens": ids, "vector": vector})
    if "--check" in sys.argv:
        check(directory, cases)
    else:
        lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
        Path(__file__).with_name("reference.json").write_text(f"[\n{lines}\n]\n")


main()
