"""Measures what the client adds to its HTTP library: gets at 16 callers, in paired rounds.

    KENNING_BINARY=…/kenning python bench.py [ROUNDS]

Each round runs the same gets through the client and through plain httpx, in turns as to which
comes first, against one server on this machine. It prints the median of the rounds' ratios, and
between which rounds half of them lie.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from kenning import AsyncKenning, Kenning
from kenning.testing import server

CALLERS = 16
CALLS = 2_000
FACTS = 100


def limits() -> httpx.Limits:
    return httpx.Limits(max_connections=64, max_keepalive_connections=64)


async def asyncio_rate(get: Callable[[str], Awaitable[object]]) -> float:
    """Calls per second."""
    left = iter(range(CALLS))

    async def caller() -> None:
        for number in left:
            await get(f"fact-{number % FACTS}")

    begun = time.perf_counter()
    await asyncio.gather(*[caller() for _ in range(CALLERS)])
    return CALLS / (time.perf_counter() - begun)


def threads_rate(get: Callable[[str], object]) -> float:
    """Calls per second."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(CALLERS) as threads:
        list(threads.map(lambda number: get(f"fact-{number % FACTS}"), range(CALLS)))
    return CALLS / (time.perf_counter() - begun)


def told(kind: str, rates: list[tuple[float, float]]) -> None:
    ratios = sorted(ours / plain for ours, plain in rates)
    quartiles = statistics.quantiles(ratios, n=4)
    ours, plain = (statistics.median(column) for column in zip(*rates, strict=True))
    print(
        f"{kind}: client {ours:,.0f}/s, httpx {plain:,.0f}/s; ratio {quartiles[1]:.3f} "
        f"(half of {len(ratios)} rounds from {quartiles[0]:.3f} to {quartiles[2]:.3f})"
    )


async def asyncio_rounds(url: str, rounds: int) -> list[tuple[float, float]]:
    rates = []
    async with (
        AsyncKenning(url) as client,
        httpx.AsyncClient(base_url=url, limits=limits(), trust_env=False) as plain,
    ):

        async def get(fact_id: str) -> object:
            answer = await plain.get(f"/v1/facts/{fact_id}")
            answer.raise_for_status()
            return json.loads(answer.content)

        for number in range(rounds + 1):
            if number % 2:
                ours, other = await asyncio_rate(client.get), await asyncio_rate(get)
            else:
                other, ours = await asyncio_rate(get), await asyncio_rate(client.get)
            rates.append((ours, other))
    # The first warms up.
    return rates[1:]


def threads_rounds(url: str, rounds: int) -> list[tuple[float, float]]:
    rates = []
    with (
        Kenning(url) as client,
        httpx.Client(base_url=url, limits=limits(), trust_env=False) as plain,
    ):

        def get(fact_id: str) -> object:
            answer = plain.get(f"/v1/facts/{fact_id}")
            answer.raise_for_status()
            return json.loads(answer.content)

        for number in range(rounds + 1):
            if number % 2:
                ours, other = threads_rate(client.get), threads_rate(get)
            else:
                other, ours = threads_rate(get), threads_rate(client.get)
            rates.append((ours, other))
    return rates[1:]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with server() as running:
        with running.client() as client:
            client.import_facts(
                {"id": f"fact-{n}", "text": f"fact number {n}"} for n in range(FACTS)
            )
        told("asyncio", asyncio.run(asyncio_rounds(running.url, rounds)))
        told("threads", threads_rounds(running.url, rounds))


if __name__ == "__main__":
    main()
