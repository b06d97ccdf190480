"""The hooks. What they do stands in greeting.py, which runs anywhere."""

from greeting import greeted
from wit_world import exports
from wit_world.imports.types import Fact


class OnRead(exports.OnRead):
    def on_read(self, facts: list[Fact]) -> list[Fact]:
        for fact in facts:
            fact.metadata = greeted(fact.metadata)
        return facts


# Another hook: export it in wit/world.wit, and here, as a class of its name. To refuse a draft or
# a query: raise componentize_py_types.Err(Refusal("what is wrong and what to do")).
