"""Tags texts by rules, without a model: the same text always gets the same tags."""

import json
import re

# A tag, and the pattern of the texts that get it.
RULES = [
    ("incident", r"\b(outage|incident|down(time)?|post-?mortem)\b"),
    ("decision", r"\b(we|they|the team) (decided|agreed|chose)\b"),
    ("deadline", r"\b(due|deadline|by (monday|tuesday|wednesday|thursday|friday))\b"),
    ("ticket", r"\b[A-Z]{2,8}-\d{1,6}\b"),
    ("money", r"[$€£]\s?\d|\b\d[\d,.]* ?(USD|EUR|GBP)\b"),
    ("link", r"\bhttps?://\S"),
]

# Case is ignored, except for tickets: upper case distinguishes them from words.
_COMPILED = [
    (tag, re.compile(pattern, 0 if tag == "ticket" else re.IGNORECASE)) for tag, pattern in RULES
]


def tags_of(text: str) -> list[str]:
    """Return the tags for a text, in the order of the rules."""
    return [tag for tag, pattern in _COMPILED if pattern.search(text)]


def with_tags(text: str, metadata: str) -> str:
    """Add the tags for a text to the list `tags` in the metadata, a JSON object as text.

    Existing tags keep their positions. The metadata is returned unchanged if there is no new
    tag, or if `tags` is not a list.
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
