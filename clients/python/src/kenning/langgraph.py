"""Long-term memory for LangGraph: a `BaseStore` whose items are facts.

    from kenning import Kenning
    from kenning.langgraph import KenningStore

    store = KenningStore(Kenning())
    graph = builder.compile(store=store)

Needs `pip install "kenning[langgraph]"`. An item is one fact: its text is what of the value is
found by meaning, and its metadata has the value. So a value is at most 64 KiB of JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Literal

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    get_text_at_path,
)

from ._clients import Clients, Plan, call
from .client import Kenning
from .errors import KenningError, NotFound
from .types import Fact, Hit, Page, SearchResult

__all__ = ["KenningStore"]

Namespace = tuple[str, ...]

# What is in the metadata of an item's fact, besides its value.
_OWN = "langgraph"

_PAGE = 1000

# The server's bounds on a search.
_MOST_HITS = 1000

_RANGES = {"$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}


class KenningStore(BaseStore):
    """A store of a tenant. Give it a tenant of its own: it lists only what it has put.

    Args:
        client: Without it, one made from the environment.
        fields: The parts of a value that search finds by meaning and by words, as paths such as
            `text` or `notes[*].title`; without it the whole value. `put(index=…)` replaces them.
        mode: How `search(query=…)` ranks: `hybrid`, `vector` or `text`. With `vector` an item's
            `score` is the cosine similarity; otherwise scores compare within one answer only.

    What `search(query=…)` finds has `updated_at` for both of its times; `get` has both.

    Items do not expire: `put` with a `ttl` raises NotImplementedError.
    """

    supports_ttl = False

    def __init__(
        self,
        client: Kenning | None = None,
        *,
        fields: Sequence[str] | None = None,
        mode: Literal["hybrid", "vector", "text"] = "hybrid",
    ) -> None:
        self._clients = Clients(client or Kenning())
        self._fields = list(fields) if fields is not None else ["$"]
        self._mode = mode

    def close(self) -> None:
        """Closes the connections of calls that are not asynchronous."""
        self._clients.close()

    async def aclose(self) -> None:
        """Closes the connections of the running event loop."""
        await self._clients.aclose()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Runs operations: reads first, then what is put, of several of one item the last."""
        all_ops = list(ops)
        results: list[Result] = [None] * len(all_ops)
        for at, plan in self._reads(all_ops):
            results[at] = self._clients.run(plan)
        for put in self._puts(all_ops):
            self._clients.run(put)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`; the reads at once, and then the puts."""
        all_ops = list(ops)
        results: list[Result] = [None] * len(all_ops)
        reads = self._reads(all_ops)
        read = await asyncio.gather(*[self._clients.arun(plan) for _, plan in reads])
        for (at, _), result in zip(reads, read, strict=True):
            results[at] = result
        await asyncio.gather(*[self._clients.arun(put) for put in self._puts(all_ops)])
        return results

    def _reads(self, ops: list[Op]) -> list[tuple[int, Plan[Result]]]:
        reads: list[tuple[int, Plan[Result]]] = []
        for at, op in enumerate(ops):
            if isinstance(op, GetOp):
                reads.append((at, _get(op)))
            elif isinstance(op, SearchOp):
                reads.append((at, self._search(op)))
            elif isinstance(op, ListNamespacesOp):
                reads.append((at, _list_namespaces(op)))
            elif isinstance(op, PutOp):
                if op.ttl is not None:
                    raise NotImplementedError(
                        "items of KenningStore do not expire: leave `ttl` out, and delete "
                        "what is no longer wanted"
                    )
            else:
                raise ValueError(f"this is no operation of a store: {op!r}")
        return reads

    def _puts(self, ops: list[Op]) -> list[Plan[None]]:
        last = {(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        return [_delete(op) if op.value is None else self._put(op) for op in last.values()]

    def _put(self, op: PutOp) -> Plan[None]:
        assert op.value is not None
        text = self._text(op)
        metadata = {
            _OWN: {
                "namespace": list(op.namespace),
                "path": _path(op.namespace),
                "prefixes": [_path(op.namespace[:n]) for n in range(1, len(op.namespace) + 1)],
                "key": op.key,
                "updated_at": datetime.now(timezone.utc).isoformat(),
                "is_searched": bool(text),
            },
            "value": dict(op.value),
        }
        # A fact says something: that of an item without text its key.
        content = text or f"key {op.key}"
        yield call("upsert", content, metadata, id=_fact_id(op.namespace, op.key))

    def _text(self, op: PutOp) -> str:
        """What of the value search finds; empty if nothing."""
        if op.index is False:
            return ""
        paths = self._fields if op.index is None else op.index
        found = [text for path in paths for text in get_text_at_path(op.value, path)]
        return "\n".join(text for text in found if text.strip())

    def _search(self, op: SearchOp) -> Plan[Result]:
        wanted = op.offset + op.limit
        items: list[SearchItem] = []
        if op.query and op.query.strip():
            items = yield from self._ranked(op, op.query, wanted)
            rest = {f"{_OWN}.is_searched": False}
        else:
            rest = {}
        if len(items) < wanted:
            # Items that no search finds come last, without a score.
            items += yield from _listed(op, rest, wanted - len(items))
        return items[op.offset : wanted]

    def _ranked(self, op: SearchOp, query: str, wanted: int) -> Plan[list[SearchItem]]:
        filter = _server_filter(op.namespace_prefix, op.filter, {f"{_OWN}.is_searched": True})
        items: list[SearchItem] = []
        cursor: str | None = None
        while True:
            found: SearchResult = yield call(
                "search",
                query,
                top_k=max(1, min(_MOST_HITS, wanted)),
                mode=self._mode,
                filter=filter,
                cursor=cursor,
            )
            items += [
                _search_item(hit, self._score(hit)) for hit in found if _matches(hit, op.filter)
            ]
            cursor = found.next_cursor
            if cursor is None or len(items) >= wanted:
                return items

    def _score(self, hit: Hit) -> float:
        is_similarity = self._mode == "vector" and hit.similarity is not None
        return hit.similarity if is_similarity and hit.similarity is not None else hit.score


def _get(op: GetOp) -> Plan[Result]:
    try:
        fact: Fact = yield call("get", _fact_id(op.namespace, op.key))
    except NotFound:
        return None
    own = fact.metadata[_OWN]
    return Item(
        value=fact.metadata["value"],
        key=own["key"],
        namespace=tuple(own["namespace"]),
        created_at=datetime.fromisoformat(fact.timestamp),
        updated_at=datetime.fromisoformat(own["updated_at"]),
    )


def _delete(op: PutOp) -> Plan[None]:
    try:
        yield call("delete", _fact_id(op.namespace, op.key))
    except NotFound:
        pass


def _listed(op: SearchOp, more: Mapping[str, Any], wanted: int) -> Plan[list[SearchItem]]:
    filter = _server_filter(op.namespace_prefix, op.filter, more)
    items: list[SearchItem] = []
    cursor: str | None = None
    while True:
        limit = max(1, min(_PAGE, wanted))
        page: Page = yield call("list_page", filter=filter, limit=limit, cursor=cursor)
        items += [_search_item(fact, None) for fact in page.facts if _matches(fact, op.filter)]
        cursor = page.next_cursor
        if cursor is None or len(items) >= wanted:
            return items


def _list_namespaces(op: ListNamespacesOp) -> Plan[Result]:
    found = yield from _namespaces()
    conditions = op.match_conditions or ()
    kept = {one for one in found if all(_fits(one, condition) for condition in conditions)}
    if op.max_depth is not None:
        kept = {one[: op.max_depth] for one in kept}
    return sorted(kept)[op.offset : op.offset + op.limit]


def _namespaces() -> Plan[set[Namespace]]:
    """Every namespace with an item: counted by the server if they are few, and read otherwise."""
    filter = {f"{_OWN}.path": {"exists": True}}
    try:
        counted: SearchResult = yield call(
            "search", "key", top_k=1, mode="text", filter=filter, facets=[f"{_OWN}.path"]
        )
        facet = counted.facets.get(f"{_OWN}.path")
        if facet is not None and facet.distinct == len(facet.values):
            return {tuple(json.loads(one.value)) for one in facet.values}
    except KenningError as error:
        # Where an extension decides what is read of a fact, nothing is counted.
        if error.retryable:
            raise
    found: set[Namespace] = set()
    cursor: str | None = None
    while True:
        page: Page = yield call("list_page", filter=filter, limit=_PAGE, cursor=cursor)
        found |= {tuple(fact.metadata[_OWN]["namespace"]) for fact in page.facts}
        cursor = page.next_cursor
        if cursor is None:
            return found


def _fits(namespace: Namespace, condition: MatchCondition) -> bool:
    wanted = condition.path
    if len(namespace) < len(wanted):
        return False
    if condition.match_type == "prefix":
        part = namespace[: len(wanted)]
    elif condition.match_type == "suffix":
        part = namespace[len(namespace) - len(wanted) :]
    else:
        raise ValueError(f"a namespace matches by prefix or suffix, not {condition.match_type!r}")
    return all(want in ("*", label) for want, label in zip(wanted, part, strict=True))


def _path(namespace: Sequence[str]) -> str:
    """One text for a namespace that no other has."""
    return json.dumps(list(namespace), ensure_ascii=False)


def _fact_id(namespace: Namespace, key: str) -> str:
    """Ids have few letters; namespaces and keys have any."""
    named = json.dumps([list(namespace), key])
    return f"lg-{hashlib.sha256(named.encode()).hexdigest()}"


def _search_item(found: Fact | Hit, score: float | None) -> SearchItem:
    own = found.metadata[_OWN]
    updated_at = datetime.fromisoformat(own["updated_at"])
    # A hit does not say when its fact was stored.
    created = datetime.fromisoformat(found.timestamp) if isinstance(found, Fact) else updated_at
    return SearchItem(
        namespace=tuple(own["namespace"]),
        key=own["key"],
        value=found.metadata["value"],
        created_at=created,
        updated_at=updated_at,
        score=score,
    )


# Filters. The server leaves out what surely does not match; what matches is decided here, so that
# a filter means the same as in LangGraph's own stores.


def _server_filter(
    prefix: Namespace, filter: Mapping[str, Any] | None, more: Mapping[str, Any]
) -> dict[str, Any]:
    if prefix:
        conditions: list[dict[str, Any]] = [{f"{_OWN}.prefixes": _path(prefix)}]
    else:
        conditions = [{f"{_OWN}.path": {"exists": True}}]
    conditions += [{name: value} for name, value in more.items()]
    for name, wanted in (filter or {}).items():
        if name and "." not in name:
            conditions += [{f"value.{name}": one} for one in _server_conditions(wanted)]
    return {"AND": conditions}


def _server_conditions(wanted: Any) -> list[dict[str, Any]]:
    if _is_plain(wanted):
        return [{"eq": wanted}]
    if not isinstance(wanted, Mapping):
        return []
    found = []
    for operator, operand in wanted.items():
        if operator == "$eq" and _is_plain(operand):
            found.append({"eq": operand})
        elif operator in _RANGES and _is_number(operand):
            found.append({_RANGES[operator]: operand})
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, bool)) or _is_number(value)


def _matches(found: Fact | Hit, filter: Mapping[str, Any] | None) -> bool:
    value = found.metadata["value"]
    return all(_equals(value.get(name), wanted) for name, wanted in (filter or {}).items())


def _equals(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        if any(str(name).startswith("$") for name in wanted):
            return all(_holds(value, name, operand) for name, operand in wanted.items())
        return isinstance(value, dict) and all(
            _equals(value.get(name), one) for name, one in wanted.items()
        )
    if isinstance(wanted, (list, tuple)):
        return (
            isinstance(value, list)
            and len(value) == len(wanted)
            and all(map(_equals, value, wanted))
        )
    return bool(value == wanted)


def _holds(value: Any, operator: str, operand: Any) -> bool:
    if operator == "$eq":
        return bool(value == operand)
    if operator == "$ne":
        return bool(value != operand)
    if operator not in _RANGES:
        raise ValueError(
            f"there is no operator {operator!r}; use one of $eq, $ne, $gt, $gte, $lt and $lte"
        )
    try:
        left, right = float(value), float(operand)
    except (TypeError, ValueError):
        # Nothing without a number is above or below one.
        return False
    return {
        "$gt": left > right,
        "$gte": left >= right,
        "$lt": left < right,
        "$lte": left <= right,
    }[operator]
