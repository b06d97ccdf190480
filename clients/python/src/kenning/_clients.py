"""For what has both kinds of calls, as LangGraph, LangChain and LlamaIndex ask for."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from .aio import AsyncKenning
from .client import Kenning
from .errors import KenningError, NotFound
from .types import Draft, Fact, Filter, Page, Stored

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a client, by its method's name."""

    method: str
    arguments: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)


Plan = Generator[Call, Any, T]
"""Yields calls, is sent what they return, and returns what its caller gets: written once, run
with either client."""


def call(method: str, *arguments: Any, **named: Any) -> Call:
    return Call(method, arguments, named)


def upsert_all(drafts: Sequence[Draft]) -> Plan[list[str]]:
    """Stores drafts that have ids, each in place of the fact with its id, if there is one; gives
    the ids.

    Raises:
        KenningError: The first that failed; the others are stored all the same.
    """
    upserts = [replace(draft, mode="upsert") for draft in drafts]
    results: list[Stored | KenningError] = yield call("store_batch", upserts)
    for result in results:
        if isinstance(result, KenningError):
            raise result
    return [str(draft.id) for draft in drafts]


def read_all(ids: Sequence[str]) -> Plan[list[Fact]]:
    """The facts with these ids that there are, in the order of the ids."""
    facts: list[Fact] = []
    for fact_id in ids:
        try:
            facts.append((yield call("get", fact_id)))
        except NotFound:
            pass
    return facts


def delete_all(ids: Sequence[str]) -> Plan[None]:
    """Deletes the facts with these ids that there are."""
    for fact_id in ids:
        try:
            yield call("delete", fact_id)
        except NotFound:
            pass


def list_all(filter: Filter) -> Plan[list[Fact]]:
    """Every fact that matches, newest first."""
    facts: list[Fact] = []
    cursor: str | None = None
    while True:
        page: Page = yield call("list_page", filter=filter, limit=1000, cursor=cursor)
        facts += page.facts
        cursor = page.next_cursor
        if cursor is None:
            return facts


class Clients:
    """A client, and one with the same settings for each event loop that asks."""

    def __init__(self, client: Kenning) -> None:
        self.sync = client
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncKenning]
        self._by_loop = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def of_loop(self) -> AsyncKenning:
        """The running loop's: connections cannot be used from another one."""
        settings = self.sync._settings
        with self._lock:
            for loop in [loop for loop in self._by_loop if loop.is_closed()]:
                del self._by_loop[loop]
            client = self._by_loop.get(asyncio.get_running_loop())
            if client is None:
                client = AsyncKenning(
                    settings.base_url,
                    settings.key,
                    tenant=settings.tenant,
                    timeout=settings.timeout,
                    retries=settings.retries,
                    connections=settings.connections,
                    ca=settings.ca,
                    read_your_writes=settings.read_your_writes,
                )
                self._by_loop[asyncio.get_running_loop()] = client
        # Each sees what the other has written.
        client.wait_for(self.sync.revision)
        return client

    def run(self, plan: Plan[T]) -> T:
        try:
            step = next(plan)
            while True:
                try:
                    result = getattr(self.sync, step.method)(*step.arguments, **step.named)
                except KenningError as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(result)
        except StopIteration as end:
            value: T = end.value
            return value

    async def arun(self, plan: Plan[T]) -> T:
        client = self.of_loop()
        try:
            step = next(plan)
            while True:
                try:
                    result = await getattr(client, step.method)(*step.arguments, **step.named)
                except KenningError as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(result)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            self.sync.wait_for(client.revision)

    def close(self) -> None:
        self.sync.close()

    async def aclose(self) -> None:
        """Closes the running loop's client."""
        with self._lock:
            client = self._by_loop.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
