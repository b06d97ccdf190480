"""Facts as Redis hashes with redis-py: what a Python service does at its core, and nothing else.

A fact is the hash fact:ID with content, metadata, timestamp and id; storing is HSET, reading is
HGETALL. Writes one JSON object a line: {"verb", "client", "callers", "n", "seconds", "p50_us",
"p99_us"}. Run by `make bench-peers`.
"""

import argparse
import asyncio
import json
import math
import random
import time
import uuid
from datetime import datetime, timezone

import redis
import redis.asyncio

OPERATION_SECONDS = 2.0
POOL = 50
WARM_UP = 200


def new_fact(words):
    fact_id = str(uuid.uuid4())
    metadata = {"source": "bench", "number": random.randrange(1_000_000)}
    return fact_id, {
        "content": " ".join(random.choices(words, k=20)),
        "metadata": json.dumps(metadata),
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "id": fact_id,
    }


def to_fact(fact_id, fields):
    return {
        "id": fact_id,
        "content": fields["content"],
        "metadata": json.loads(fields["metadata"]),
        "timestamp": fields["timestamp"],
    }


def nearest_rank(times, percent):
    return sorted(times)[max(math.ceil(len(times) * percent / 100) - 1, 0)]


def report(verb, client, callers, seconds, times):
    line = {
        "verb": verb,
        "client": client,
        "callers": callers,
        "n": len(times),
        "seconds": seconds,
        "p50_us": nearest_rank(times, 50) * 1e6,
        "p99_us": nearest_rank(times, 99) * 1e6,
    }
    print(json.dumps(line), flush=True)


def measure_sync(port, words, calls):
    client = redis.Redis(port=port, decode_responses=True, socket_timeout=OPERATION_SECONDS)
    ids = []

    def store():
        fact_id, fields = new_fact(words)
        client.hset(f"fact:{fact_id}", mapping=fields)
        ids.append(fact_id)

    def get():
        fact_id = random.choice(ids)
        to_fact(fact_id, client.hgetall(f"fact:{fact_id}"))

    for verb, call in (("store", store), ("get", get)):
        for _ in range(WARM_UP):
            call()
        times = []
        begun = time.perf_counter()
        for _ in range(calls):
            before = time.perf_counter()
            call()
            times.append(time.perf_counter() - before)
        report(verb, "sync", 1, time.perf_counter() - begun, times)
    client.close()


async def measure_async(port, words, calls, callers):
    pool = redis.asyncio.BlockingConnectionPool(
        port=port, decode_responses=True, max_connections=POOL, timeout=OPERATION_SECONDS
    )
    client = redis.asyncio.Redis(connection_pool=pool)
    ids = []

    async def store():
        fact_id, fields = new_fact(words)
        key = f"fact:{fact_id}"
        await asyncio.wait_for(client.hset(key, mapping=fields), OPERATION_SECONDS)
        ids.append(fact_id)

    async def get():
        fact_id = random.choice(ids)
        fields = await asyncio.wait_for(client.hgetall(f"fact:{fact_id}"), OPERATION_SECONDS)
        to_fact(fact_id, fields)

    async def caller(call, count, times):
        for _ in range(count):
            before = time.perf_counter()
            await call()
            times.append(time.perf_counter() - before)

    for verb, call in (("store", store), ("get", get)):
        await asyncio.gather(*(caller(call, WARM_UP // callers + 1, []) for _ in range(callers)))
        times = []
        begun = time.perf_counter()
        await asyncio.gather(*(caller(call, calls // callers, times) for _ in range(callers)))
        report(verb, "asyncio", callers, time.perf_counter() - begun, times)
    await client.aclose()
    await pool.disconnect()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--words", required=True, help="file with a word a line")
    arguments.add_argument("--calls", type=int, required=True, help="calls in a measurement")
    arguments.add_argument("--callers", type=int, nargs="+", required=True)
    given = arguments.parse_args()
    random.seed(1)
    with open(given.words, encoding="utf-8") as file:
        words = file.read().split()
    measure_sync(given.port, words, given.calls)
    for callers in given.callers:
        asyncio.run(measure_async(given.port, words, given.calls, callers))


if __name__ == "__main__":
    main()
