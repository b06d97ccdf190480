"""Tags for a text by rules, without a model: the same text always gets the same tags."""

import json
import re

# A tag, and what a text says that earns it.
RULES = [
    ("incident", r"\b(outage|incident|down(time)?|post-?mortem)\b"),
    ("decision", r"\b(we|they|the team) (decided|agreed|chose)\b"),
    ("deadline", r"\b(due|deadline|by (monday|tuesday|wednesday|thursday|friday))\b"),
    ("ticket", r"\b[A-Z]{2,8}-\d{1,6}\b"),
    ("money", r"[$€£]\s?\d|\b\d[\d,.]* ?(USD|EUR|GBP)\b"),
    ("link", r"\bhttps?://\S"),
]

# Upper case matters where it is what tells a ticket from a word.
_COMPILED = [
    (tag, re.compile(pattern, 0 if tag == "ticket" else re.IGNORECASE)) for tag, pattern in RULES
]


def tags_of(text: str) -> list[str]:
    """The tags that a text earns, in the order of the rules."""
    return [tag for tag, pattern in _COMPILED if pattern.search(text)]


def with_tags(text: str, metadata: str) -> str:
    """Metadata, a JSON object as text, with the text's tags in its list `tags`.

    Tags that are there stay where they are. Without a new tag, the very same text comes back;
    and what somebody else keeps under `tags`, if it is not a list, is left alone.
    """
    fields = json.loads(metadata)
    tags = fields.get("tags", [])
    if not isinstance(tags, list):
        return metadata
    new = [tag for tag in tags_of(text) if tag not in tags]
    if not new:
        return metadata
    fields["tags"] = tags + new
    return json.dumps(fields, ensure_ascii=False)
