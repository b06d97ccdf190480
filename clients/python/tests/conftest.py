"""What the tests share: one real server, one Redis with a server of its own, and a proxy that
breaks what goes through it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from support.both import Both, on_async, on_sync
from support.proxy import Proxy
from support.redis_server import RedisServer

from kenning import Kenning
from kenning.testing import Server, server

_numbers = itertools.count()

# Bounds on waiting that a machine busy with other tests could reach. A call's own is shorter
# where a test is of that.
_WAITS = [
    "storage_operation_ms",
    "store_embedding_ms",
    "call_ms",
    "search_ms",
    "request_ms",
    "answer_ms",
    "guest_wait_ms",
    "shutdown_drain_ms",
]

PATIENT_LIMITS = "[limits]\n" + "".join(f"{wait} = 60000\n" for wait in _WAITS)


@pytest.fixture(scope="session")
def kenning_server() -> Iterator[Server]:
    """As the package's own fixture, but patient."""
    with server(config=PATIENT_LIMITS) as running:
        yield running


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test has."""
    return f"test-{next(_numbers)}"


@pytest.fixture
def kb(kenning_server: Server, tenant: str) -> Iterator[Kenning]:
    with kenning_server.client(tenant=tenant) as client:
        yield client


@pytest.fixture
def proxy(kenning_server: Server) -> Iterator[Proxy]:
    with Proxy(kenning_server.url) as running:
        yield running


@pytest_asyncio.fixture(params=["sync", "async"])
async def both(
    request: pytest.FixtureRequest, kenning_server: Server, tenant: str
) -> AsyncIterator[Both]:
    """The same calls through either client."""
    make = {"sync": on_sync, "async": on_async}[request.param]
    async with make(kenning_server.url, tenant=tenant) as client:
        yield client


@pytest_asyncio.fixture(params=["sync", "async"])
async def through_proxy(
    request: pytest.FixtureRequest, proxy: Proxy, tenant: str
) -> AsyncIterator[Both]:
    """Either client, with the proxy between it and the server."""
    make = {"sync": on_sync, "async": on_async}[request.param]
    async with make(proxy.url, tenant=tenant) as client:
        yield client


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


async def until(what: str, condition: Any, patience: float = 60.0) -> Any:
    """Waits until `condition()` gives something true, and gives that."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    while True:
        found = await condition()
        if found:
            return found
        assert loop.time() < end, f"waited too long until {what}"
        await asyncio.sleep(0.02)
