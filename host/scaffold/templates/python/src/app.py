"""The hooks. Their logic is in greeting.py, which also runs outside WebAssembly."""

from greeting import greeted
from wit_world import exports
from wit_world.imports.types import Fact


class OnRead(exports.OnRead):
    def on_read(self, facts: list[Fact]) -> list[Fact]:
        for fact in facts:
            fact.metadata = greeted(fact.metadata)
        return facts


# To add a hook, export it in wit/world.wit and define a class of that name here. To refuse a draft
# or a query: raise componentize_py_types.Err(Refusal("what is wrong and how to fix it")).
