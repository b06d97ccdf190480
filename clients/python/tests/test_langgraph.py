"""What a LangGraph store does: the same suite on LangGraph's own store and on ours."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from kenning import Kenning
from kenning.langgraph import KenningStore
from kenning.testing import Server


def embed(texts: list[str]) -> list[list[float]]:
    """Texts with the same words are near each other, as with the server's embedder for tests."""
    vectors = []
    for text in texts:
        vector = [0.0] * 256
        for word in text.lower().split():
            digest = hashlib.sha256(word.strip(".,?!").encode()).digest()
            vector[digest[0]] += 1.0
        length = math.sqrt(sum(x * x for x in vector)) or 1.0
        vectors.append([x / length for x in vector])
    return vectors


class Store:
    """A store as the tests use it, by its calls of either kind."""

    def __init__(self, store: BaseStore, is_async: bool) -> None:
        self.store = store
        self._is_async = is_async

    async def _call(self, name: str, *arguments: Any, **named: Any) -> Any:
        if self._is_async:
            return await getattr(self.store, f"a{name}")(*arguments, **named)
        return await asyncio.to_thread(getattr(self.store, name), *arguments, **named)

    async def put(self, *arguments: Any, **named: Any) -> None:
        await self._call("put", *arguments, **named)

    async def get(self, *arguments: Any, **named: Any) -> Any:
        return await self._call("get", *arguments, **named)

    async def delete(self, *arguments: Any) -> None:
        await self._call("delete", *arguments)

    async def search(self, *arguments: Any, **named: Any) -> list[Any]:
        found = await self._call("search", *arguments, **named)
        assert isinstance(found, list)
        return found

    async def keys(self, *arguments: Any, **named: Any) -> list[str]:
        return sorted(item.key for item in await self.search(*arguments, **named))

    async def list_namespaces(self, **named: Any) -> Any:
        return await self._call("list_namespaces", **named)

    async def batch(self, ops: list[Any]) -> Any:
        return await self._call("batch", ops)


@pytest.fixture(params=["memory", "kenning"])
def base(request: pytest.FixtureRequest, kenning_server: Server, tenant: str) -> Iterator[Any]:
    if request.param == "memory":
        yield InMemoryStore(index={"dims": 256, "embed": embed, "fields": ["text"]})
        return
    store = KenningStore(kenning_server.client(tenant=tenant), fields=["text"])
    yield store
    store.close()


@pytest.fixture(params=["sync", "async"])
def store(request: pytest.FixtureRequest, base: BaseStore) -> Store:
    return Store(base, request.param == "async")


@pytest.fixture
def ours(kb: Kenning) -> KenningStore:
    return KenningStore(kb, fields=["text"])


async def test_an_item_is_put_and_got(store: Store) -> None:
    value = {"text": "likes tea", "nested": {"list": [1, None, "🍵"]}}
    await store.put(("users", "ada"), "tea", value)
    item = await store.get(("users", "ada"), "tea")
    assert isinstance(item, Item)
    assert (item.namespace, item.key, item.value) == (("users", "ada"), "tea", value)
    assert item.created_at.tzinfo and item.updated_at.tzinfo
    assert await store.get(("users", "ada"), "coffee") is None
    assert await store.get(("users",), "tea") is None


async def test_an_item_is_put_again(store: Store) -> None:
    await store.put(("a",), "k", {"text": "one", "old": True})
    first = await store.get(("a",), "k")
    await store.put(("a",), "k", {"text": "two"})
    second = await store.get(("a",), "k")
    assert second.value == {"text": "two"}
    assert second.updated_at > first.updated_at
    assert await store.keys(("a",)) == ["k"]


async def test_an_item_is_deleted(store: Store) -> None:
    await store.put(("a",), "k", {"text": "one"})
    await store.delete(("a",), "k")
    await store.delete(("a",), "k")
    assert await store.get(("a",), "k") is None
    assert await store.keys(("a",)) == []


async def test_keys_and_labels_have_any_letters(store: Store) -> None:
    odd = [(("ü", "a b"), "k/?#"), (("ü a", "b"), "k/?#"), (('"]', "["), ""), (("a", "b"), "c")]
    for number, (namespace, key) in enumerate(odd):
        await store.put(namespace, key, {"n": number})
    for number, (namespace, key) in enumerate(odd):
        assert (await store.get(namespace, key)).value == {"n": number}
    assert len(await store.search(("ü",))) == 1


async def test_search_goes_below_a_namespace(store: Store) -> None:
    for namespace in [("a",), ("a", "b"), ("a", "b", "c"), ("ab",), ("b", "a")]:
        await store.put(namespace, "/".join(namespace), {"text": "x"})
    assert await store.keys(("a",)) == ["a", "a/b", "a/b/c"]
    assert await store.keys(("a", "b")) == ["a/b", "a/b/c"]
    assert await store.keys(()) == ["a", "a/b", "a/b/c", "ab", "b/a"]
    assert await store.keys(("none",)) == []


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"color": "red"}, ["a", "c"]),
    ({"color": "red", "size": 1}, ["a"]),
    ({"color": {"$eq": "blue"}}, ["b"]),
    ({"color": {"$ne": "red"}}, ["b", "d"]),
    ({"size": {"$gt": 1}}, ["b", "c"]),
    ({"size": {"$gte": 1, "$lt": 3}}, ["a", "b"]),
    ({"size": {"$lte": 2}}, ["a", "b", "d"]),
    ({"nested": {"deep": {"x": 1}}}, ["a"]),
    ({"tags": ["one", "two"]}, ["b"]),
    ({"tags": "one"}, []),
    ({"missing": None}, ["a", "b", "c", "d"]),
    ({"color": None}, ["d"]),
    ({"with.dot": 7}, ["c"]),
    ({"flag": True}, ["a"]),
    ({"color": "Red"}, []),
    ({}, ["a", "b", "c", "d"]),
]

ITEMS: dict[str, dict[str, Any]] = {
    "a": {"color": "red", "size": 1, "nested": {"deep": {"x": 1, "y": 2}}, "flag": True},
    "b": {"color": "blue", "size": 2, "tags": ["one", "two"], "flag": False},
    "c": {"color": "red", "size": 3.5, "tags": ["two", "one"], "with.dot": 7},
    "d": {"color": None, "size": -1, "nested": {"deep": None}},
}


async def test_filters(store: Store) -> None:
    for key, value in ITEMS.items():
        await store.put(("items",), key, {"text": "an item", **value})
    for filter, expected in FILTERS:
        assert await store.keys(("items",), filter=filter) == expected, filter
        assert await store.keys(("items",), filter=filter, query="item") == expected, filter
    with pytest.raises(ValueError):
        await store.search(("items",), filter={"size": {"$near": 1}})


async def test_search_by_meaning(store: Store) -> None:
    texts = {
        "pets": "Mia keeps a cat and two parrots.",
        "port": "The staging server listens on port 7171.",
        "tea": "Ada prefers green tea.",
    }
    for key, text in texts.items():
        await store.put(("facts",), key, {"text": text})
    found = await store.search(("facts",), query="the port of the staging server", limit=2)
    assert found[0].key == "port" and len(found) == 2
    assert found[0].score > found[1].score
    assert found[0].value == {"text": texts["port"]}
    assert await store.search(("others",), query="port") == []
    listed = await store.search(("facts",))
    assert [item.score for item in listed] == [None] * 3


async def test_what_is_indexed_is_the_putters_choice(store: Store) -> None:
    await store.put(("a",), "default", {"text": "green tea", "note": "about coffee"})
    await store.put(("a",), "chosen", {"text": "black", "note": "green tea"}, index=["note"])
    await store.put(("a",), "never", {"text": "green tea"}, index=False)
    found = await store.search(("a",), query="green tea")
    assert sorted(item.key for item in found[:2]) == ["chosen", "default"]
    assert found[2].key == "never" and found[2].score is None, "last, without a score"
    assert len(await store.search(("a",), query="green tea", limit=2)) == 2


async def test_limit_and_offset(store: Store) -> None:
    for number in range(25):
        value = {"text": f"word number {number}", "even": number % 2 == 0}
        await store.put(("n",), f"{number:02}", value)
    assert len(await store.search(("n",))) == 10, "the default"
    for named in ({}, {"query": "word number"}, {"filter": {"even": True}}):
        total = 13 if "filter" in named else 25
        seen = []
        for offset in range(0, 30, 7):
            page = await store.search(("n",), limit=7, offset=offset, **named)
            seen += [item.key for item in page]
        assert len(seen) == len(set(seen)) == total, named


async def test_namespaces_are_listed(store: Store) -> None:
    for namespace in [("a", "b", "c"), ("a", "b", "d"), ("a", "x"), ("z",), ("q", "b", "c")]:
        await store.put(namespace, "k", {"text": "x"})
        await store.put(namespace, "l", {"text": "y"})
    everything = [("a", "b", "c"), ("a", "b", "d"), ("a", "x"), ("q", "b", "c"), ("z",)]
    assert await store.list_namespaces() == everything
    assert await store.list_namespaces(prefix=("a",)) == everything[:3]
    assert await store.list_namespaces(prefix=("a", "*", "c")) == [("a", "b", "c")]
    assert await store.list_namespaces(suffix=("b", "c")) == [("a", "b", "c"), ("q", "b", "c")]
    assert await store.list_namespaces(prefix=("a",), suffix=("d",)) == [("a", "b", "d")]
    assert await store.list_namespaces(max_depth=2) == [
        ("a", "b"),
        ("a", "x"),
        ("q", "b"),
        ("z",),
    ]
    assert await store.list_namespaces(limit=2, offset=1) == everything[1:3]


async def test_a_batch_reads_before_it_puts(store: Store) -> None:
    await store.put(("a",), "k", {"text": "before"})
    results = await store.batch(
        [
            PutOp(("a",), "k", {"text": "after"}),
            GetOp(("a",), "k"),
            PutOp(("a",), "new", {"text": "first"}),
            PutOp(("a",), "new", {"text": "last"}),
            SearchOp(("a",)),
            ListNamespacesOp((MatchCondition("prefix", ("a",)),)),
            PutOp(("a",), "gone", None),
        ]
    )
    assert results[0] is None and results[1].value == {"text": "before"}
    assert [item.key for item in results[4]] == ["k"] and results[5] == [("a",)]
    assert (await store.get(("a",), "k")).value == {"text": "after"}
    assert (await store.get(("a",), "new")).value == {"text": "last"}


async def test_bad_namespaces_are_refused(store: Store) -> None:
    for bad in [(), ("",), ("a.b",), ("langgraph", "x")]:
        with pytest.raises(InvalidNamespaceError):
            await store.put(bad, "k", {"text": "x"})


async def test_time_to_live_is_refused(store: Store) -> None:
    with pytest.raises(NotImplementedError):
        await store.put(("a",), "k", {"text": "x"}, ttl=5)
    await store.put(("a",), "k", {"text": "x"}, ttl=None)


async def test_many_at_once(store: Store) -> None:
    await asyncio.gather(*[store.put(("m",), f"k{n}", {"text": f"t{n}"}) for n in range(50)])
    items = await asyncio.gather(*[store.get(("m",), f"k{n}") for n in range(50)])
    assert [item.value["text"] for item in items] == [f"t{n}" for n in range(50)]


# What only ours has.


async def test_a_batch_with_a_time_to_live_changes_nothing(ours: KenningStore) -> None:
    with pytest.raises(NotImplementedError) as raised:
        ours.batch([PutOp(("a",), "k", {"text": "x"}), PutOp(("a",), "l", {}, ttl=1.0)])
    assert "delete" in str(raised.value)
    assert ours.search(("a",)) == []


async def test_both_kinds_of_calls_see_each_others_writes(ours: KenningStore) -> None:
    await ours.aput(("a",), "k", {"text": "one"})
    assert ours.get(("a",), "k") is not None
    ours.put(("a",), "k", {"text": "two"})
    item = await ours.aget(("a",), "k")
    assert item is not None and item.value == {"text": "two"}
    await ours.aclose()


def test_more_namespaces_than_are_counted(ours: KenningStore) -> None:
    ours.batch([PutOp((f"n{n:03}", "x"), "k", {"text": "t"}) for n in range(150)])
    assert len(ours.list_namespaces(limit=1000)) == 150


def test_other_facts_of_the_tenant_are_no_items(kb: Kenning, ours: KenningStore) -> None:
    kb.store("green tea")
    ours.put(("a",), "k", {"text": "green tea"})
    assert [item.key for item in ours.search((), query="green tea")] == ["k"]
    assert ours.list_namespaces() == [("a",)]


def test_scores_are_similarities_on_request(kb: Kenning) -> None:
    store = KenningStore(kb, fields=["text"], mode="vector")
    store.put(("a",), "k", {"text": "green tea"})
    [item] = store.search(("a",), query="green tea")
    assert item.score == pytest.approx(1.0, abs=0.01)


def test_created_and_updated(kb: Kenning) -> None:
    store = KenningStore(kb)
    store.put(("a",), "k", {"text": "one"})
    first = store.get(("a",), "k")
    store.put(("a",), "k", {"text": "two"})
    second = store.get(("a",), "k")
    assert first is not None and second is not None
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    [listed] = store.search(("a",))
    assert (listed.created_at, listed.updated_at) == (second.created_at, second.updated_at)
    [found] = store.search(("a",), query="two")
    assert found.score is not None
    assert found.created_at == found.updated_at == second.updated_at


async def test_all_of_a_value_is_searched_unless_told_otherwise(
    kb: Kenning,
) -> None:
    memory = InMemoryStore(index={"dims": 256, "embed": embed})
    for store in (memory, KenningStore(kb)):
        await store.aput(("a",), "tea", {"drink": "green tea", "list": [{"of": "leaves"}]})
        await store.aput(("a",), "port", {"server": "staging", "port": 7171})
        for query in ("leaves", "green tea"):
            found = await store.asearch(("a",), query=query)
            assert found[0].key == "tea" and found[0].score is not None, (store, query)
