"""Adds a greeting to facts."""

import json


def greeted(metadata: str) -> str:
    """Returns the metadata, a JSON object as text, with a greeting."""
    fields = json.loads(metadata)
    fields["greeting"] = "hello from {{name}}"
    return json.dumps(fields, ensure_ascii=False)
