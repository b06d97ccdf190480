"""The hook. The logic is in tag_rules.py, which runs in any Python."""

from tag_rules import with_tags
from wit_world import exports
from wit_world.imports.types import Draft


class OnStore(exports.OnStore):
    # To reject a draft: raise componentize_py_types.Err(Refusal("what is wrong")).
    def on_store(self, draft: Draft) -> list[Draft]:
        draft.metadata = with_tags(draft.text, draft.metadata)
        return [draft]
