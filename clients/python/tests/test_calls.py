"""Every call, through both clients, against a real server."""

from __future__ import annotations

import asyncio
import json
from importlib.metadata import version
from pathlib import Path

import pytest
from support.both import Both, on_async, on_sync
from support.proxy import Proxy
from support.tenants import given_tenant

import kenning
from kenning import (
    Conflict,
    Draft,
    ImportFailed,
    InvalidFilter,
    InvalidRequest,
    Kenning,
    KenningError,
    NotFound,
    Recency,
    Search,
    SearchResult,
    Stored,
)
from kenning.testing import Server

PETS = "Mia keeps a cat, a dog and two parrots."
PORT = "The staging server listens on port 7171."


async def test_a_fact_is_stored_and_read(both: Both) -> None:
    stored = await both.call("store", PETS, {"topic": "people"}, id="mia-pets")
    assert (stored.id, stored.ids) == ("mia-pets", ("mia-pets",))
    assert stored.revision == both.client.revision
    fact = await both.call("get", "mia-pets")
    assert (fact.id, fact.content, fact.metadata) == ("mia-pets", PETS, {"topic": "people"})
    assert "T" in fact.timestamp


async def test_the_server_makes_an_id(both: Both) -> None:
    stored = await both.call("store", PETS)
    assert (await both.call("get", stored.id)).content == PETS


async def test_a_key_of_the_callers_stores_one_fact(both: Both) -> None:
    first = await both.call("store", PETS, idempotency_key="order-7")
    second = await both.call("store", PETS, idempotency_key="order-7")
    assert first.id == second.id
    with pytest.raises(Conflict):
        await both.call("store", PORT, idempotency_key="order-7")
    assert await both.call("count") == 1


async def test_without_a_key_two_stores_are_two_facts(both: Both) -> None:
    await both.call("store", PETS)
    await both.call("store", PETS)
    assert await both.call("count") == 2


async def test_a_fact_is_changed(both: Both) -> None:
    await both.call("store", PETS, {"topic": "people"}, id="a")
    updated = await both.call("update", "a", text=PORT)
    assert updated.id == "a"
    fact = await both.call("get", "a")
    assert (fact.content, fact.metadata) == (PORT, {"topic": "people"})
    await both.call("update", "a", metadata={"year": 2026})
    assert (await both.call("get", "a")).metadata == {"year": 2026}
    with pytest.raises(InvalidRequest):
        await both.call("update", "a")


async def test_upsert_stores_and_replaces(both: Both) -> None:
    await both.call("upsert", PETS, {"n": 1}, id="a")
    await both.call("upsert", PORT, id="a")
    fact = await both.call("get", "a")
    assert (fact.content, fact.metadata) == (PORT, {})
    assert await both.call("count") == 1


async def test_metadata_is_merged(both: Both) -> None:
    await both.call("store", PETS, {"topic": "people", "year": 2025, "old": 1}, id="a")
    await both.call("update", "a", metadata={"year": 2026, "old": None}, merge=True)
    assert (await both.call("get", "a")).metadata == {"topic": "people", "year": 2026}


async def test_what_a_store_does_with_a_fact_that_is_there(both: Both) -> None:
    with pytest.raises(NotFound):
        await both.call("store", PETS, id="a", mode="update")
    await both.call("store", PETS, id="a")
    with pytest.raises(Conflict):
        await both.call("store", PORT, id="a")
    await both.call("store", PORT, id="a", mode="update")
    drafts = [Draft(PETS, id="a", mode="upsert"), Draft(PETS, id="b", mode="upsert")]
    results = await both.call("store_batch", drafts)
    assert [result.id for result in results] == ["a", "b"]
    assert (await both.call("get", "a")).content == PETS


async def test_a_fact_is_deleted(both: Both) -> None:
    await both.call("store", PETS, id="a")
    await both.call("delete", "a")
    for method in ("get", "delete"):
        with pytest.raises(NotFound) as raised:
            await both.call(method, "a")
        error = raised.value
        assert (error.code, error.status, error.retryable) == ("not_found", 404, False)
        assert error.blame == "caller" and error.request_id and "a" in error.message


async def test_ids_are_escaped_and_never_another_route(both: Both) -> None:
    await both.call("store", PETS, id="batch")
    assert (await both.call("get", "batch")).content == PETS
    for odd in ("", ".", "..", "../stats", "a/b", "a?b", "ü", "a b"):
        with pytest.raises((InvalidRequest, NotFound)):
            await both.call("get", odd)
    with pytest.raises(InvalidRequest):
        await both.call("delete", "")
    assert await both.call("count") == 1


async def test_listing_goes_over_all_pages(both: Both) -> None:
    for number in range(7):
        await both.call("store", f"fact {number}", {"n": number}, id=f"f{number}")
    facts = await both.all("list", limit=3)
    assert [fact.id for fact in facts] == [f"f{number}" for number in reversed(range(7))]
    pages = await both.all("pages", limit=3)
    assert [len(page.facts) for page in pages] == [3, 3, 1]
    assert [fact.id for fact in await both.all("list", query="FACT 3")] == ["f3"]
    found = await both.all("list", filter={"n": {"gte": 5}}, limit=1)
    assert [fact.id for fact in found] == ["f6", "f5"]
    page = await both.call("list_page", limit=2)
    assert len(page.facts) == 2 and page.next_cursor


async def test_counting_and_deleting_by_filter(both: Both) -> None:
    for number in range(6):
        await both.call("store", f"fact {number}", {"even": number % 2 == 0})
    assert await both.call("count") == 6
    assert await both.call("count", {"even": True}) == 3
    before = both.client.revision or 0
    deletion = await both.call("delete_matching", {"even": True})
    assert deletion.deleted == 3
    assert deletion.revision == both.client.revision > before
    assert (await both.call("delete_matching", {"even": True})).revision is None
    assert await both.call("count") == 3
    with pytest.raises(KenningError):
        await both.call("delete_matching", {})
    assert await both.call("count") == 3


async def test_a_batch_says_what_became_of_each(both: Both) -> None:
    results = await both.call(
        "store_batch", [Draft(PETS), Draft(" "), Draft(PORT, {"a": 1}, "b"), Draft(PETS, id="b")]
    )
    kinds = [type(result) for result in results]
    assert kinds == [Stored, InvalidRequest, Stored, Conflict]
    assert results[1].details["pointer"]
    assert (await both.call("get", results[0].id)).content == PETS


async def test_a_batch_has_any_size(both: Both) -> None:
    results = await both.call("store_batch", [Draft(f"fact {n}") for n in range(250)])
    assert len({result.id for result in results}) == 250
    assert await both.call("count") == 250
    assert await both.call("store_batch", []) == []


async def test_search_with_every_option(both: Both) -> None:
    await both.call("store", PETS, {"topic": "people", "year": 2025}, id="pets")
    await both.call("store", PORT, {"topic": "network", "year": 2026}, id="port")
    found = await both.call(
        "search",
        "which port does staging use",
        top_k=5,
        mode="hybrid",
        fusion="rank",
        filter={"year": {"gte": 2025}},
        explain=True,
        min_relevance=0.0,
        diversity=0.1,
        recency=Recency("30d", weight=0.2),
        facets=["topic"],
        highlights=True,
    )
    assert len(found) == 2 and [hit.id for hit in found][0] == found[0].id == "port"
    best = found[0]
    assert best.content == PORT and 0 <= best.relevance <= 1 and best.explain
    passage = best.highlights[0]
    words = [best.content[start:end] for start, end in passage.matches]
    assert "port" in words and "staging" in words
    values = {value.value: value.count for value in found.facets["topic"].values}
    assert values == {"people": 1, "network": 1} and found.facets["topic"].distinct == 2
    assert found.degraded == [] and found.withheld == 0
    filtered = await both.call("search", "port", filter={"topic": "people"})
    assert [hit.id for hit in filtered] == ["pets"]


async def test_search_has_pages(both: Both) -> None:
    await both.call("store_batch", [Draft(f"the word number {n}") for n in range(5)])
    first = await both.call("search", "word", top_k=3, mode="text")
    second = await both.call("search", "word", top_k=3, mode="text", cursor=first.next_cursor)
    assert len({hit.id for hit in [*first, *second]}) == 5
    assert second.next_cursor is None


async def test_a_batch_of_searches(both: Both) -> None:
    await both.call("store", PETS, id="pets")
    searches = [Search("cat"), Search("cat", filter={"a": {"zz": 1}})]
    results = await both.call("search_batch", searches + [Search("dog")] * 20)
    assert len(results) == 22
    assert isinstance(results[0], SearchResult) and results[0][0].id == "pets"
    assert isinstance(results[1], InvalidFilter)


async def test_a_bad_filter_is_named(both: Both) -> None:
    with pytest.raises(InvalidFilter) as raised:
        await both.call("search", "x", filter={"year": {"newer": 1}})
    assert raised.value.details["pointer"] == "/filter/year/newer"
    assert raised.value.status == 400


@pytest.mark.parametrize("value", [float("nan"), object(), "\ud800", {1, 2}])
async def test_what_is_no_json_is_refused_here(both: Both, value: object) -> None:
    with pytest.raises(InvalidRequest):
        await both.call("store", PETS, {"value": value})
    assert await both.call("count") == 0


async def test_metadata_comes_back_as_it_was(both: Both) -> None:
    metadata = {
        "nested": {"list": [1, "two", None, True, 2.5, {"deep": []}]},
        "text": 'quotes " and \\ and \n and 🦜 and \u2028',
        "big": 2**53 + 1,
    }
    stored = await both.call("store", PETS, metadata)
    assert (await both.call("get", stored.id)).metadata == metadata


async def test_stats(both: Both) -> None:
    await both.call("store", PETS)
    stats = await both.call("stats")
    assert (stats.facts, stats.model) == (1, stats.body["embedding"]["model"])
    assert stats.version


async def test_the_client_has_the_version_of_the_server(both: Both) -> None:
    """They are released together; docs/RELEASING.md says where the version stands."""
    assert version("kenning") == kenning.__version__ == (await both.call("stats")).version


async def test_import_and_export_are_each_others_inverse(both: Both, tmp_path: Path) -> None:
    drafts = [Draft(f"fact {n} \u2028 \x85 line", {"n": n}) for n in range(1_200)]
    summary = await both.call("import_facts", drafts)
    assert (summary.imported, summary.failed, summary.lines) == (1_200, 0, 1_200)
    exported = await both.all("export")
    assert sorted(fact.metadata["n"] for fact in exported) == list(range(1_200))
    lines = await both.all("export_lines")
    path = tmp_path / "facts.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    await both.call("delete_matching", {"$timestamp": {"exists": True}})
    with path.open("rb") as file:
        assert (await both.call("import_facts", file)).imported == 1_200
    again = await both.all("export")
    assert {fact.id: fact for fact in again} == {fact.id: fact for fact in exported}
    filtered = await both.all("export", filter={"n": {"lt": 3}})
    assert sorted(fact.metadata["n"] for fact in filtered) == [0, 1, 2]


async def test_an_import_takes_every_kind_of_line(both: Both) -> None:
    await both.call("store", PETS, id="exported")
    fact = await both.call("get", "exported")
    await both.call("delete", "exported")
    lines = [
        Draft("a draft"),
        {"text": "an object", "metadata": {"a": 1}},
        {"id": "named", "content": "an object as an export has it"},
        '{"text": "a line of text"}\n',
        b'{"text": "a line of bytes", "fact_id": "bytes"}\r\n',
        fact,
        "\n",
        '{"withheld": 3}',
    ]
    summary = await both.call("import_facts", lines)
    assert (summary.imported, summary.lines) == (6, 8)
    assert await both.call("get", "exported") == fact


async def test_an_import_says_which_lines_were_refused(both: Both) -> None:
    lines = [json.dumps({"text": f"fact {n}"}) for n in range(2_500)]
    lines[17], lines[1_999], lines[2_001] = "no JSON", '{"text": ""}', '{"text": 7}'
    with pytest.raises(ImportFailed) as raised:
        await both.call("import_facts", lines)
    summary = raised.value.summary
    assert (summary.imported, summary.failed, summary.lines) == (2_497, 3, 2_500)
    assert [refused.line for refused in summary.errors] == [18, 2_000, 2_002]
    assert all(isinstance(refused.error, InvalidRequest) for refused in summary.errors)
    assert "line 18" in raised.value.message
    allowed = await both.call("import_facts", ["no JSON"], allow_refused=True)
    assert allowed.failed == 1
    assert (await both.call("import_facts", [])).lines == 0


async def test_changes_are_followed(both: Both) -> None:
    stored = await both.call("store", PETS, id="a")
    await both.call("update", "a", text=PORT)
    await both.call("delete", "a")
    changes = await both.all("changes", after=0, follow=False)
    assert [(one.kind, one.id) for one in changes] == [
        ("stored", "a"),
        ("changed", "a"),
        ("deleted", "a"),
    ]
    assert changes[0].revision == stored.revision
    later = await both.all("changes", after=changes[1].revision, follow=False)
    assert later == changes[2:]
    following = asyncio.create_task(both.first(2, "changes", after=changes[-1].revision))
    await both.call("store", PETS, id="b")
    await both.call("store", PETS, id="c")
    assert [one.id for one in await following] == ["b", "c"]


def test_tenants_are_apart(kenning_server: Server, tenant: str) -> None:
    with (
        kenning_server.client(tenant=f"{tenant}-a") as one,
        kenning_server.client(tenant=f"{tenant}-b") as other,
    ):
        one.store(PETS, id="a")
        assert one.count() == 1 and other.count() == 0


def test_threads_share_a_client(kb: Kenning) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as threads:
        stored = list(threads.map(lambda n: kb.store(f"fact {n}"), range(100)))
    assert len({one.id for one in stored}) == 100 == kb.count()
    assert kb.revision == max(one.revision or 0 for one in stored)


async def test_vectors_that_callers_give(kenning_server: Server) -> None:
    for make in (on_sync, on_async):
        with given_tenant(kenning_server, 3) as tenant:
            name = tenant.stats().tenant
            async with make(kenning_server.url, tenant=name) as client:
                await client.call("store", "east", id="east", vector=[1, 0, 0])
                await client.call("store_batch", [Draft("north", None, "north", [0, 1, 0])])
                lines = [Draft("up", id="up", vector=[0, 0, 1]), {"text": "no vector"}]
                summary = await client.call("import_facts", lines, allow_refused=True)
                assert (summary.imported, summary.failed) == (1, 1)
                for fact_id, vector in [("north", [0.1, 0.9, 0]), ("up", [0, 0.1, 0.9])]:
                    found = await client.call("search", vector=vector, top_k=1)
                    assert [hit.id for hit in found] == [fact_id]
                both_ways = await client.call("search", "east", vector=[0, 1, 0])
                assert {"east", "north"} <= {hit.id for hit in both_ways}
                await client.call("update", "up", text="down", vector=[0, 0, -1])
                found = await client.call("search", vector=[0, 0, -1], top_k=1)
                assert (found[0].content, found[0].similarity) == ("down", pytest.approx(1.0))
                for bad in ([1.0, 2.0], [float("inf"), 0.0, 0.0], None):
                    with pytest.raises(InvalidRequest):
                        await client.call("store", "bad", vector=bad)


async def test_connections_are_kept_and_bounded(proxy: Proxy, tenant: str) -> None:
    for make in (on_sync, on_async):
        begun = proxy.connections
        async with make(proxy.url, tenant=tenant, connections=2) as client:
            for _ in range(10):
                await client.call("count")
            # One will do; on a busy machine one that was idle for too long is replaced.
            assert proxy.connections - begun < 5
            await asyncio.gather(*[client.call("count") for _ in range(40)])
            assert proxy.connections - begun < 10
