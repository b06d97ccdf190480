"""The same test for both clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kenning import AsyncKenning, Kenning


class Both:
    """A client of either kind, as the tests use it: `await both.call("get", "id")`."""

    def __init__(self, client: Kenning | AsyncKenning) -> None:
        self.client = client

    async def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        function = getattr(self.client, method)
        if isinstance(self.client, Kenning):
            return await asyncio.to_thread(function, *arguments, **named)
        return await function(*arguments, **named)

    async def all(self, method: str, *arguments: Any, **named: Any) -> list[Any]:
        """Everything that an iterator gives."""
        iterator = getattr(self.client, method)(*arguments, **named)
        if isinstance(self.client, Kenning):
            return await asyncio.to_thread(list, iterator)
        return [one async for one in iterator]

    async def first(self, count: int, method: str, *arguments: Any, **named: Any) -> list[Any]:
        """The first `count` that an iterator gives; then it is closed."""
        iterator = getattr(self.client, method)(*arguments, **named)
        if isinstance(self.client, Kenning):

            def take() -> list[Any]:
                taken = [next(iterator) for _ in range(count)]
                iterator.close()
                return taken

            return await asyncio.to_thread(take)
        taken = [await anext(iterator) for _ in range(count)]
        await iterator.aclose()
        return taken


@asynccontextmanager
async def on_sync(url: str, **settings: Any) -> AsyncIterator[Both]:
    with Kenning(url, **settings) as client:
        yield Both(client)


@asynccontextmanager
async def on_async(url: str, **settings: Any) -> AsyncIterator[Both]:
    async with AsyncKenning(url, **settings) as client:
        yield Both(client)
