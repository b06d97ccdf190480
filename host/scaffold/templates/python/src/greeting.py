"""Says hello."""

import json


def greeted(metadata: str) -> str:
    """Metadata, a JSON object as text, with a greeting."""
    fields = json.loads(metadata)
    fields["greeting"] = "hello from {{name}}"
    return json.dumps(fields, ensure_ascii=False)
