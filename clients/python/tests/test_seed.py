"""The 45 checks of the Python service that Kenning grew out of, through `KnowledgeBase`.

Its 16 unit checks, its 22 integration checks and the 7 that its guide shows, under their names;
against a real server on a real Redis, laid out flat as that service did. Where a check looks into
a mock, it is translated to what the check protects, and its docstring says how:

| the service's mock | here |
|---|---|
| `hset` called exactly once | one request, and one hash in Redis |
| `hgetall` of the id exactly once | one request |
| one pipeline, executed once | one request |
| a call that takes 3 s | a Redis that is suspended (SIGSTOP), and a shorter time |
| `main()` raises | a server that cannot be reached |
| durations in seconds | the class's own deadlines: a call that is late is an error |
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from conftest import PATIENT_LIMITS, until
from support.proxy import Hang, Lose, Proxy, Refuse
from support.redis_server import RedisServer

from kenning import KenningError
from kenning.compat import KnowledgeBase, Timeouts
from kenning.testing import Server, server

# A server waits this long for a Redis that is silent; the class, less.
HASTY = Timeouts(connect=0.5, store=0.3, get=0.3, search=0.3, stats=0.3, add_document=0.3)

# No busy machine is too slow for it.
PATIENT = Timeouts(60, 60, 60, 60, 60, 60, 60)

EVERY_FACT = {"$timestamp": {"exists": True}}


@pytest.fixture(scope="session")
def seed_server(redis: RedisServer) -> Iterator[Server]:
    """A server on Redis, in the layout of the service: its facts are those of `default`."""
    with server(storage=redis.url, layout="flat", config=PATIENT_LIMITS) as running:
        yield running


@pytest.fixture
def seed(seed_server: Server, redis: RedisServer) -> Iterator[Server]:
    """The server without any fact; afterwards Redis answers again."""
    with seed_server.client(timeout=60) as client:
        client.delete_matching(EVERY_FACT)
        yield seed_server
        redis.resume()
        end = time.monotonic() + 60
        while True:
            try:
                client.list_page(limit=1)
                return
            except KenningError:
                assert time.monotonic() < end, "the server does not answer again"


@pytest.fixture
def kb(seed: Server) -> KnowledgeBase:
    return KnowledgeBase(seed.url, timeouts=PATIENT)


@pytest_asyncio.fixture
async def hasty(seed: Server) -> AsyncIterator[KnowledgeBase]:
    """Connected, and with little time for each call."""
    kb = KnowledgeBase(seed.url, timeouts=HASTY)

    async def is_connected() -> bool:
        await kb._ensure_redis_initialized()
        return kb.aioredis_client is not None

    await until("it is connected", is_connected)
    yield kb


@pytest.fixture
def counted(seed: Server) -> Iterator[tuple[KnowledgeBase, Proxy]]:
    with Proxy(seed.url) as proxy:
        yield KnowledgeBase(proxy.url, timeouts=PATIENT), proxy


@pytest.fixture
def away(seed: Server) -> Iterator[KnowledgeBase]:
    """Its server cannot be reached."""
    with Proxy(seed.url) as proxy:
        url = proxy.url
    yield KnowledgeBase(url, timeouts=Timeouts(0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2))


def metadata_of(fact: dict[str, Any]) -> dict[str, Any]:
    found = json.loads(fact["metadata"])
    assert isinstance(found, dict)
    return found


class TestUnit:
    """`tests/unit/test_knowledge_base_async.py`."""

    async def test_redis_initialization_success(self, counted: tuple[KnowledgeBase, Proxy]) -> None:
        """`main()` and `ping` once each: one request, however many callers connect."""
        kb, proxy = counted
        assert kb.aioredis_client is None and kb._redis_initialized is False
        await asyncio.gather(*[kb._ensure_redis_initialized() for _ in range(10)])
        assert kb.redis_manager is not None and kb.aioredis_client is not None
        assert kb._redis_initialized is True
        assert len(proxy.seen) == 1

    async def test_redis_initialization_timeout(self, seed: Server, redis: RedisServer) -> None:
        """A ping that is late leaves no client, and raises nothing."""
        redis.stop()
        kb = KnowledgeBase(seed.url, timeouts=HASTY)
        await kb._ensure_redis_initialized()
        assert kb.aioredis_client is None and kb.redis_manager is None

    async def test_redis_initialization_connection_failure(self, away: KnowledgeBase) -> None:
        await away._ensure_redis_initialized()
        assert away.aioredis_client is None and away.redis_manager is None

    async def test_store_fact_success(
        self, counted: tuple[KnowledgeBase, Proxy], redis: RedisServer
    ) -> None:
        """`hset` exactly once: one request, and one hash at a key of facts."""
        kb, proxy = counted
        metadata = {"source": "test", "priority": "high"}
        result = await kb.store_fact("Test fact content", metadata)
        assert result["status"] == "success" and "fact_id" in result
        assert len(proxy.requests("POST", "/v1/facts")) == 1
        key = f"fact:{result['fact_id']}"
        assert redis.client.keys("fact:*") == [key]
        fact = redis.hash(key)
        assert set(fact) == {"content", "metadata", "timestamp", "id"}
        assert fact["content"] == "Test fact content" and fact["id"] == result["fact_id"]
        assert metadata_of(fact) == metadata and fact["timestamp"]

    async def test_store_fact_timeout(self, hasty: KnowledgeBase, redis: RedisServer) -> None:
        redis.stop()
        result = await hasty.store_fact("Test fact")
        assert result["status"] == "error" and "timeout" in result["message"].lower()

    async def test_store_fact_redis_unavailable(self, away: KnowledgeBase) -> None:
        result = await away.store_fact("Test fact")
        assert result["status"] == "error" and "not available" in result["message"]

    async def test_get_fact_by_id_success(self, counted: tuple[KnowledgeBase, Proxy]) -> None:
        """`hgetall` of the id exactly once: one request."""
        kb, proxy = counted
        stored = await kb.store_fact("Test content", {"source": "test"})
        fact_id = stored["fact_id"]
        facts = await kb.get_fact(fact_id=fact_id)
        assert len(facts) == 1
        assert facts[0]["id"] == fact_id and facts[0]["content"] == "Test content"
        assert facts[0]["metadata"] == {"source": "test"} and facts[0]["timestamp"]
        assert len(proxy.requests("GET", f"/v1/facts/{fact_id}")) == 1

    async def test_get_fact_by_id_timeout(self, hasty: KnowledgeBase, redis: RedisServer) -> None:
        redis.stop()
        assert await hasty.get_fact(fact_id="test-id") == []

    async def test_get_fact_by_id_not_found(self, kb: KnowledgeBase) -> None:
        assert await kb.get_fact(fact_id="nonexistent") == []

    async def test_get_fact_by_query_success(self, kb: KnowledgeBase) -> None:
        texts = ["Redis is a database", "Python is a language", "AutoBot uses Redis for storage"]
        for text in texts:
            await kb.store_fact(text)
        facts = await kb.get_fact(query="redis")
        assert {fact["content"] for fact in facts} == {texts[0], texts[2]}

    async def test_get_fact_by_query_no_matches(self, kb: KnowledgeBase) -> None:
        await kb.store_fact("Python is a language")
        assert await kb.get_fact(query="nonexistent") == []

    async def test_get_all_facts_with_pipeline(self, counted: tuple[KnowledgeBase, Proxy]) -> None:
        """One pipeline, executed once: one request."""
        kb, proxy = counted
        for number in range(3):
            await kb.store_fact(f"Fact {number}")
        before = len(proxy.requests("GET", "/v1/facts"))
        assert len(await kb.get_fact()) == 3
        assert len(proxy.requests("GET", "/v1/facts")) - before == 1

    async def test_get_all_facts_timeout(self, hasty: KnowledgeBase, redis: RedisServer) -> None:
        redis.stop()
        assert await hasty.get_fact() == []

    async def test_get_all_facts_empty(self, kb: KnowledgeBase) -> None:
        assert await kb.get_fact() == []

    async def test_asyncio_wait_for_timeout_protection(
        self, hasty: KnowledgeBase, redis: RedisServer
    ) -> None:
        redis.stop()
        result = await hasty.store_fact("Test fact")
        assert result["status"] == "error" and "timeout" in result["message"].lower()
        assert await hasty.get_fact(fact_id="test-id") == []

    async def test_graceful_degradation_on_redis_failure(self, away: KnowledgeBase) -> None:
        assert (await away.store_fact("Test fact"))["status"] == "error"
        assert await away.get_fact(fact_id="test-id") == []
        assert await away.get_fact(query="test") == []
        assert await away.get_fact() == []


class TestIntegration:
    """`tests/integration/test_knowledge_base_integration.py`, class A."""

    async def test_redis_connection_established(self, kb: KnowledgeBase) -> None:
        await kb._ensure_redis_initialized()
        assert kb.aioredis_client is not None and kb.redis_manager is not None
        assert await kb.aioredis_client.ping() is True

    async def test_connection_pool_multiple_operations(self, kb: KnowledgeBase) -> None:
        for number in range(10):
            result = await kb.store_fact(f"Test fact {number}", {"index": number})
            assert result["status"] == "success"
        facts = [fact for fact in await kb.get_fact() if "Test fact" in fact["content"]]
        assert len(facts) >= 10

    async def test_store_fact_real_redis(self, kb: KnowledgeBase, redis: RedisServer) -> None:
        metadata = {"source": "integration_test", "priority": "high"}
        result = await kb.store_fact("Integration test fact content", metadata)
        fact = redis.hash(f"fact:{result['fact_id']}")
        assert fact["content"] == "Integration test fact content"
        assert metadata_of(fact) == metadata

    async def test_get_fact_by_id_real_redis(self, kb: KnowledgeBase) -> None:
        result = await kb.store_fact("Retrievable fact", {"category": "test"})
        facts = await kb.get_fact(fact_id=result["fact_id"])
        assert [fact["content"] for fact in facts] == ["Retrievable fact"]
        assert facts[0]["metadata"]["category"] == "test"

    async def test_get_fact_by_query_real_redis(self, kb: KnowledgeBase) -> None:
        for text in ["Python is great", "I like Python", "Rust is fast"]:
            await kb.store_fact(text)
        facts = await kb.get_fact(query="Python")
        assert len(facts) >= 2
        assert all("python" in fact["content"].lower() for fact in facts)

    async def test_get_all_facts_real_redis(self, kb: KnowledgeBase) -> None:
        stored = [(await kb.store_fact(f"Bulk fact {n}"))["fact_id"] for n in range(5)]
        assert set(stored) <= {fact["id"] for fact in await kb.get_fact()}

    async def test_concurrent_store_operations(self, kb: KnowledgeBase) -> None:
        results = await asyncio.gather(*[kb.store_fact(f"Concurrent {n}") for n in range(50)])
        assert [result["status"] for result in results] == ["success"] * 50

    async def test_concurrent_get_operations(self, kb: KnowledgeBase) -> None:
        stored = [(await kb.store_fact(f"Fact {n}"))["fact_id"] for n in range(10)]
        calls = []
        for number in range(50):
            kinds = [{"fact_id": stored[number % 10]}, {"query": "Fact"}, {}]
            calls.append(kb.get_fact(**kinds[number % 3]))
        results = await asyncio.gather(*calls)
        assert all(isinstance(result, list) and result for result in results)

    async def test_mixed_concurrent_operations(self, kb: KnowledgeBase) -> None:
        stores = [kb.store_fact(f"Mixed {n}") for n in range(20)]
        queries = [kb.get_fact(query="Mixed") for _ in range(20)]
        lists = [kb.get_fact() for _ in range(20)]
        results = await asyncio.gather(*stores, *queries, *lists)
        assert all(result["status"] == "success" for result in results[:20])
        assert all(isinstance(result, list) for result in results[20:])

    async def test_performance_p95_latency(self, seed: Server) -> None:
        """Both 95th percentiles below 2 s: with the class's own deadline of 2 s, of 50 calls at
        most 2 are late. Tried again, because a machine may be busy."""
        kb = KnowledgeBase(seed.url)

        async def are_in_time() -> bool:
            stores = [await kb.store_fact(f"Latency {n}") for n in range(50)]
            lists = [await kb.get_fact() for _ in range(50)]
            in_time = sum(one["status"] == "success" for one in stores)
            return in_time >= 48 and sum(map(bool, lists)) >= 48

        await until("95 of 100 calls are in time", are_in_time)

    async def test_timeout_protection_store(self, seed: Server) -> None:
        """Below 2 s: the deadline of the class is 2 s, and the store succeeds."""
        kb = KnowledgeBase(seed.url)

        async def is_stored() -> bool:
            return bool((await kb.store_fact("Timeout test"))["status"] == "success")

        assert kb.timeouts.store == 2.0
        await until("it is stored in time", is_stored)

    async def test_timeout_protection_get(self, seed: Server) -> None:
        """The same of a list of 10."""
        kb = KnowledgeBase(seed.url)
        with seed.client() as client:
            for number in range(10):
                client.store(f"Timeout fact {number}")

        async def are_listed() -> bool:
            return len(await kb.get_fact()) == 10

        assert kb.timeouts.get == 2.0
        await until("they are listed in time", are_listed)

    async def test_connection_persistence(self, kb: KnowledgeBase) -> None:
        await kb._ensure_redis_initialized()
        connection = kb.aioredis_client
        for number in range(20):
            await kb.store_fact(f"Persistent {number}")
        assert kb.aioredis_client is connection and connection is not None
        assert await connection.ping() is True

    async def test_error_recovery_invalid_data(self, kb: KnowledgeBase) -> None:
        assert "status" in await kb.store_fact("")
        assert isinstance(await kb.get_fact(fact_id="no-such-fact"), list)
        assert (await kb.store_fact("after it"))["status"] == "success"

    async def test_concurrent_operations_no_pool_exhaustion(self, kb: KnowledgeBase) -> None:
        calls = [kb.store_fact(f"Load {n}") if n % 2 else kb.get_fact() for n in range(100)]
        results = await asyncio.gather(*calls)
        assert all(results[n]["status"] == "success" for n in range(1, 100, 2))
        assert kb.aioredis_client is not None and await kb.aioredis_client.ping() is True

    async def test_data_persistence_across_operations(self, kb: KnowledgeBase) -> None:
        result = await kb.store_fact("Persistent fact", {"persist": True})
        for number in range(5):
            await kb.store_fact(f"Other {number}")
            await kb.get_fact(query="Other")
        facts = await kb.get_fact(fact_id=result["fact_id"])
        assert facts[0]["content"] == "Persistent fact"
        assert facts[0]["metadata"] == {"persist": True}

    async def test_json_encoding_complex_metadata(
        self, kb: KnowledgeBase, redis: RedisServer
    ) -> None:
        metadata = {
            "nested": {"level1": {"level2": "value"}},
            "array": [1, "two", 3.5, True, None],
            "unicode": "Emoji 🚀 and ümläüts",
            "special": "Quotes \" and ' and backslash \\",
        }
        result = await kb.store_fact("Complex", metadata)
        assert (await kb.get_fact(fact_id=result["fact_id"]))[0]["metadata"] == metadata
        assert metadata_of(redis.hash(f"fact:{result['fact_id']}")) == metadata


class TestManager:
    """The same file, classes B and C."""

    async def test_async_redis_manager_initialized(self, kb: KnowledgeBase) -> None:
        await kb._ensure_redis_initialized()
        assert kb.redis_manager is not None
        assert await (await kb.redis_manager.main()).ping() is True

    async def test_connection_pooling_metrics(self, kb: KnowledgeBase) -> None:
        for number in range(10):
            await kb.store_fact(f"Pooled {number}")
        assert kb.aioredis_client is not None and await kb.aioredis_client.ping() is True

    async def test_circuit_breaker_integration(self, kb: KnowledgeBase) -> None:
        for number in range(5):
            assert (await kb.store_fact(f"Breaker {number}"))["status"] == "success"

    async def test_bulk_store_performance(self, seed: Server) -> None:
        """More than 10 facts a second: 100 within 10 s, as a deadline."""
        kb = KnowledgeBase(seed.url, timeouts=PATIENT)

        async def store() -> None:
            for batch in range(5):
                stores = [kb.store_fact(f"Bulk {batch} {n}") for n in range(20)]
                results = await asyncio.gather(*stores)
                assert all(result["status"] == "success" for result in results)

        await within_once(10, store)

    async def test_bulk_retrieve_performance(self, seed: Server) -> None:
        """More than 5 lists a second: 50 within 10 s, as a deadline."""
        kb = KnowledgeBase(seed.url, timeouts=PATIENT)
        await asyncio.gather(*[kb.store_fact(f"Retrieve {n}") for n in range(50)])

        async def retrieve() -> None:
            for _ in range(50):
                assert len(await kb.get_fact()) == 50

        await within_once(10, retrieve)


async def within_once(seconds: float, work: Callable[[], Any]) -> None:
    """The work ends within its deadline, if not the first time, because a machine may be busy."""

    async def is_in_time() -> bool:
        try:
            await asyncio.wait_for(work(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    await until("it is in time", is_in_time)


class TestGuide:
    """The 7 that `async-migration-guide.md` shows."""

    async def test_store_fact_success(self, kb: KnowledgeBase) -> None:
        result = await kb.store_fact("Test fact", {"source": "test"})
        assert result["status"] == "success" and len(result["fact_id"]) == 36

    async def test_store_fact_timeout(self, hasty: KnowledgeBase, redis: RedisServer) -> None:
        redis.stop()
        result = await hasty.store_fact("Test", {})
        assert result["status"] == "error" and "timeout" in result["message"].lower()

    async def test_get_fact_by_id(self, kb: KnowledgeBase) -> None:
        stored = await kb.store_fact("Test fact", {"key": "value"})
        facts = await kb.get_fact(fact_id=stored["fact_id"])
        assert len(facts) == 1 and facts[0]["content"] == "Test fact"
        assert facts[0]["metadata"]["key"] == "value"

    async def test_concurrent_operations(self, kb: KnowledgeBase) -> None:
        stores = [kb.store_fact(f"Fact {n}", {"index": n}) for n in range(10)]
        results = await asyncio.gather(*stores)
        assert all(result["status"] == "success" for result in results)
        assert len({result["fact_id"] for result in results}) == 10

    async def test_full_knowledge_base_workflow(self, kb: KnowledgeBase) -> None:
        for number in range(5):
            result = await kb.store_fact(
                f"Integration test fact {number}", {"test_id": f"int_test_{number}"}
            )
            assert result["status"] == "success"
        assert len(await kb.get_fact()) >= 5
        assert len(await kb.get_fact(query="Integration test")) >= 5
        hits = await kb.search("Integration test fact")
        assert len(hits) == 5
        assert set(hits[0]) == {"content", "metadata", "score", "doc_id"}

    async def test_redis_connection_pooling(self, seed: Server) -> None:
        first = KnowledgeBase(seed.url, timeouts=PATIENT)
        second = KnowledgeBase(seed.url, timeouts=PATIENT)
        await first._ensure_redis_initialized()
        await second._ensure_redis_initialized()
        assert first.redis_manager is second.redis_manager is not None

    async def test_timeout_protection_under_load(self, seed: Server) -> None:
        """50 stores at once within 10 s, of which 45 succeed."""
        kb = KnowledgeBase(seed.url)

        async def store() -> None:
            results = await asyncio.gather(*[kb.store_fact(f"Load {n}", {}) for n in range(50)])
            assert sum(result["status"] == "success" for result in results) >= 45

        await within_once(10, store)


class TestTraps:
    """What the service's users lost time to."""

    async def test_the_first_call_connects_whichever_it_is(self, seed: Server) -> None:
        with seed.client() as client:
            client.store("stored before", id="a")
        for call in ({"fact_id": "a"}, {"query": "before"}, {}):
            kb = KnowledgeBase(seed.url, timeouts=PATIENT)
            assert [fact["id"] for fact in await kb.get_fact(**call)] == ["a"]

    async def test_a_failed_first_call_is_not_the_last(
        self, seed: Server, redis: RedisServer
    ) -> None:
        kb = KnowledgeBase(seed.url, timeouts=HASTY)
        redis.stop()
        assert (await kb.store_fact("x"))["status"] == "error"
        redis.resume()

        async def is_stored() -> bool:
            return bool((await kb.store_fact("x"))["status"] == "success")

        await until("it is stored", is_stored)

    async def test_a_store_in_doubt_is_one_fact(self, seed: Server) -> None:
        """The answer of the first attempt is lost; the class asks again by itself."""
        with Proxy(seed.url) as proxy:
            kb = KnowledgeBase(proxy.url, timeouts=PATIENT)
            await kb._ensure_redis_initialized()
            proxy.faults.append(Lose())
            assert (await kb.store_fact("once"))["status"] == "success"
        assert len(await KnowledgeBase(seed.url).get_fact(query="once")) == 1

    async def test_a_callers_id_stores_one_fact(self, kb: KnowledgeBase) -> None:
        for _ in range(2):
            assert (await kb.store_fact("once", fact_id="chosen"))["fact_id"] == "chosen"
        assert len(await kb.get_fact()) == 1

    async def test_timestamps_have_an_offset(self, kb: KnowledgeBase) -> None:
        await kb.store_fact("now")
        assert (await kb.get_fact())[0]["timestamp"].endswith("+00:00")

    async def test_a_list_is_the_newest(self, kb: KnowledgeBase, seed: Server) -> None:
        with seed.client() as client:
            client.import_facts([{"text": f"fact {n}", "id": f"f{n:03}"} for n in range(150)])
        listed = [fact["id"] for fact in await kb.get_fact()]
        assert listed == [f"f{n:03}" for n in reversed(range(50, 150))]
        assert len(await kb.get_fact(query="fact")) == 150

    async def test_event_loops_come_and_go(self, seed: Server) -> None:
        kb = KnowledgeBase(seed.url, timeouts=PATIENT)

        def store(text: str) -> dict[str, Any]:
            return asyncio.run(kb.store_fact(text))

        for number in range(2):
            assert (await asyncio.to_thread(store, f"loop {number}"))["status"] == "success"


class TestLaterCode:
    """What the service's code had beyond its guide."""

    async def test_documents(self, kb: KnowledgeBase) -> None:
        assert await kb.add_document("  ") == {
            "status": "error",
            "message": "Empty content provided",
        }
        added = await kb.add_document("A long document.", {"source": "file"}, "doc-1")
        assert added == {
            "status": "success",
            "message": "Document added to vector store",
            "doc_id": "doc-1",
            "content_length": 16,
        }
        metadata = (await kb.get_fact(fact_id="doc-1"))[0]["metadata"]
        assert metadata["doc_id"] == "doc-1" and metadata["content_length"] == 16
        assert metadata["source"] == "file" and metadata["added_at"]
        again = await kb.add_document("A longer document.", doc_id="doc-1")
        assert again["status"] == "success" and len(await kb.get_fact()) == 1

    async def test_search(self, kb: KnowledgeBase) -> None:
        await kb.store_fact("Redis is a database", {"source": "guide"}, "redis")
        await kb.store_fact("Python is a language", fact_id="python")
        for mode in ("auto", "vector", "text"):
            hits = await kb.search("redis database", similarity_top_k=1, mode=mode)
            assert [hit["doc_id"] for hit in hits] == ["redis"]
            assert hits[0]["metadata"] == {"source": "guide"} and hits[0]["score"] > 0
        assert await kb.search("  ") == []
        filtered = await kb.search("is a", filters={"source": "guide"})
        assert [hit["doc_id"] for hit in filtered] == ["redis"]

    @pytest.mark.parametrize("how", ["empty", "row", "raise"])
    async def test_a_search_that_fails_answers_as_it_was_told(self, seed: Server, how: Any) -> None:
        with Proxy(seed.url) as proxy:
            kb = KnowledgeBase(proxy.url, on_error=how, timeouts=HASTY)

            async def is_connected() -> bool:
                await kb._ensure_redis_initialized()
                return kb._redis_initialized

            await until("it is connected", is_connected)
            late = Hang()
            refused = Refuse(400, "invalid_filter", False)
            for fault, error in ((late, "timeout"), (refused, "search_failed")):
                proxy.faults.append(fault)
                if how == "raise":
                    with pytest.raises(KenningError):
                        await kb.search("fact")
                    continue
                found = await kb.search("fact")
                if how == "empty":
                    assert found == []
                    continue
                [row] = found
                assert row["metadata"] == {"error": error, "query": "fact"}
                assert row["score"] == 0.0
                if error == "timeout":
                    assert row["content"] == "Search timed out for query: fact"
            if how == "raise":
                proxy.faults.extend([refused, refused])
                with pytest.raises(KenningError):
                    await kb.store_fact("x")
                with pytest.raises(KenningError):
                    await kb.get_fact()

    async def test_stats(self, kb: KnowledgeBase) -> None:
        await kb.store_fact("one", {"category": "guides"})
        await kb.store_fact("two", {"category": "notes"})

        async def is_indexed() -> bool:
            return bool((await kb.get_stats())["vector_index_sync"])

        await until("all is indexed", is_indexed)
        assert await kb.get_stats() == {
            "total_documents": 2,
            "total_chunks": 2,
            "categories": ["guides", "notes"],
            "total_facts": 2,
            "status": "live_data",
            "indexed_documents": 2,
            "vector_index_sync": True,
        }
        detailed = await kb.get_detailed_stats()
        assert detailed["vector_store_health"] == "healthy" and detailed["detailed_stats"] is True
        assert detailed["recent_activity"]["total_facts"] == 2
        assert len(detailed["recent_activity"]["sample_timestamps"]) == 2
        assert detailed["memory_usage_mb"] >= 0 and detailed["peak_memory_mb"] >= 0
        assert detailed["health_recommendation"] and detailed["generated_at"]
        rebuilt = await kb.rebuild_search_index()
        assert rebuilt == {
            "status": "success",
            "message": "Search index rebuilt successfully",
            "vectors_found": 2,
            "indexed_documents": 2,
            "sync_status": "synced",
        }

    async def test_nothing_stored_yet(self, kb: KnowledgeBase) -> None:
        stats = await kb.get_stats()
        assert stats["categories"] == ["documentation", "system", "configuration"]
        assert stats["total_facts"] == 0 and stats["status"] == "live_data"
        rebuilt = await kb.rebuild_search_index()
        assert rebuilt == {"status": "info", "message": "No vectors to index"}
        assert await kb.get_all_facts() == [] == await kb.export_all_data()

    async def test_nobody_there(self, away: KnowledgeBase) -> None:
        stats = await away.get_stats()
        assert stats["status"] == "redis_unavailable"
        detailed = await away.get_detailed_stats()
        assert detailed["message"] == "Redis not available for detailed analysis"
        assert (await away.add_document("x"))["status"] in ("error", "timeout")
        assert await away.search("x") == [] == await away.export_all_data()
        assert await away.get_all_facts() == []
        assert (await away.rebuild_search_index())["status"] == "error"

    async def test_every_fact(self, kb: KnowledgeBase, seed: Server) -> None:
        with seed.client() as client:
            client.import_facts(
                {"text": f"fact {n}", "id": f"f{n}", "metadata": {"collection": f"c{n % 2}"}}
                for n in range(120)
            )
            client.store("without one", id="none")
        rows = await kb.get_all_facts()
        assert len(rows) == 121
        assert rows[0]["key"] == "fact:none" and rows[0]["collection"] == "general"
        assert len(await kb.get_all_facts("c1")) == 60
        exported = await kb.export_all_data()
        assert len(exported) == 121
        assert set(exported[0]) == {"type", "id", "content", "metadata", "timestamp"}
        assert {row["type"] for row in exported} == {"fact"}
        assert await kb._scan_redis_keys_async("fact:f11?") == [
            f"fact:f11{n}" for n in reversed(range(10))
        ]

    async def test_facts_of_the_service_are_served(
        self, kb: KnowledgeBase, redis: RedisServer
    ) -> None:
        """What another program of that time has written into the same Redis."""
        redis.client.hset(
            "fact:old",
            mapping={
                "content": "written by another program",
                "metadata": '{"source": "old"}',
                "timestamp": "2025-10-10T10:00:00",
                "id": "old",
            },
        )
        facts = await until("it is seen", lambda: kb.get_fact(fact_id="old"))
        assert facts[0]["metadata"] == {"source": "old"}


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError):
        KnowledgeBase(on_error="ignore")  # type: ignore[arg-type]
    assert isinstance(KnowledgeBase("http://127.0.0.1:1"), KnowledgeBase)
