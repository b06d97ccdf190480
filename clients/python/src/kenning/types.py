"""What calls take and return.

Each class reads one shape of the server's answers. Members that a later server adds are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import KenningError, from_answer

Metadata = dict[str, Any]
"""Any JSON object."""

Filter = Mapping[str, Any]
"""A condition over metadata, such as `{"topic": "people", "year": {"gte": 2025}}`."""

Mode = Literal["hybrid", "vector", "text"]
Fusion = Literal["score", "rank"]
StoreMode = Literal["insert", "upsert", "update"]
"""What a store does if there is a fact with its id: fail with `Conflict` unless the content is the
same (the default), take its place, or take its place and fail with `NotFound` without one."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A stored fact. `timestamp` is RFC 3339, as the server has it."""

    id: str
    content: str
    metadata: Metadata
    timestamp: str

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Fact:
        return cls(body["id"], body["content"], body["metadata"], body["timestamp"])


@dataclass(frozen=True, slots=True)
class Draft:
    """A fact to store. Without an `id`, the client makes one, so that a repeat is safe.

    `vector` is for tenants whose vectors are given by their callers.
    """

    text: str
    metadata: Mapping[str, Any] | None = None
    id: str | None = None
    vector: Sequence[float] | None = None
    mode: StoreMode | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store did.

    Attributes:
        id: The fact's id.
        ids: All ids, where an extension split the draft; otherwise just `id`.
        indexed: Whether it can be found by meaning already. By its words it is found in any case.
        revision: Of this write; a read with `min_revision` of it sees it on every host.
        embedded_bytes: How much of the text can be found by meaning, where that is not all.
    """

    id: str
    ids: tuple[str, ...]
    indexed: bool
    revision: int | None = None
    embedded_bytes: int | None = None

    @classmethod
    def read(cls, body: Mapping[str, Any], revision: int | None) -> Stored:
        fact_id = body["fact_id"]
        return cls(
            fact_id,
            tuple(body.get("fact_ids", (fact_id,))),
            body["indexed"],
            revision,
            body.get("embedded_bytes"),
        )


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update did; `revision` and `indexed` as in `Stored`."""

    id: str
    indexed: bool
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of facts. `withheld` counts facts that an extension returned spoilt."""

    facts: list[Fact]
    next_cursor: str | None
    withheld: int = 0

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Page:
        facts = [Fact.read(fact) for fact in body["facts"]]
        return cls(facts, body["next_cursor"], body.get("withheld", 0))


@dataclass(frozen=True, slots=True)
class Recency:
    """How much older facts lose in a search.

    Attributes:
        half_life: `"7d"`, `"12h"` and the like, or seconds.
        field: The metadata field with the fact's time; when it was stored if left out.
        weight: How much the oldest lose, 0 to 1; the server's default is 0.5.
    """

    half_life: str | float
    field: str | None = None
    weight: float | None = None

    def body(self) -> dict[str, Any]:
        given = {"half_life": self.half_life, "field": self.field, "weight": self.weight}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Highlight:
    """A passage of a hit's content; `matches` are the (start, end) of words of the query."""

    text: str
    start: int
    matches: list[tuple[int, int]]

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Highlight:
        matches = [(match["start"], match["end"]) for match in body["matches"]]
        return cls(body["text"], body["start"], matches)


@dataclass(frozen=True, slots=True)
class Hit:
    """A fact that a search found.

    Attributes:
        score: Larger is better; comparable within one answer only.
        relevance: How likely the fact answers the query, 0 to 1; comparable between answers.
        similarity: Cosine similarity; None where the query or the fact has no vector.
        highlights: Only on request.
        explain: What each half of the search said; only on request.
    """

    id: str
    content: str
    metadata: Metadata
    score: float
    relevance: float
    similarity: float | None = None
    highlights: list[Highlight] = field(default_factory=list)
    explain: dict[str, Any] | None = None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Hit:
        return cls(
            body["id"],
            body["content"],
            body["metadata"],
            body["score"],
            body["relevance"],
            body.get("similarity"),
            [Highlight.read(one) for one in body.get("highlights", ())],
            body.get("explain"),
        )


@dataclass(frozen=True, slots=True)
class FacetValue:
    value: Any
    count: int


@dataclass(frozen=True, slots=True)
class Facet:
    """The most frequent values of a field, and how many different ones there are."""

    values: list[FacetValue]
    distinct: int

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Facet:
        values = [FacetValue(value["value"], value["count"]) for value in body["values"]]
        return cls(values, body["distinct"])


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found, best first. It can be iterated and counted like its `hits`.

    Attributes:
        degraded: A sentence for each part that failed or was left out; empty if complete.
        next_cursor: Where the next page begins; None if there are no more hits.
        withheld: Hits that are left out because an extension returned them spoilt.
    """

    hits: list[Hit]
    degraded: list[str]
    next_cursor: str | None
    took_ms: float
    facets: dict[str, Facet] = field(default_factory=dict)
    withheld: int = 0

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> SearchResult:
        return cls(
            [Hit.read(hit) for hit in body["results"]],
            body["degraded"],
            body["next_cursor"],
            body["took_ms"],
            {name: Facet.read(facet) for name, facet in body.get("facets", {}).items()},
            body.get("withheld", 0),
        )

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __getitem__(self, at: int) -> Hit:
        return self.hits[at]


@dataclass(frozen=True, slots=True)
class Search:
    """One search of `search_batch`; the members are those of `search`."""

    query: str | None = None
    vector: Sequence[float] | None = None
    top_k: int | None = None
    mode: Mode | None = None
    fusion: Fusion | None = None
    filter: Filter | None = None
    explain: bool = False
    min_relevance: float | None = None
    diversity: float | None = None
    recency: Recency | Mapping[str, Any] | None = None
    facets: Sequence[str] | None = None
    highlights: bool = False
    cursor: str | None = None

    def body(self) -> dict[str, Any]:
        """The request's body, without what is left to the server."""
        recency = self.recency.body() if isinstance(self.recency, Recency) else self.recency
        given: dict[str, Any] = {
            "query": self.query,
            "vector": None if self.vector is None else [float(x) for x in self.vector],
            "top_k": self.top_k,
            "mode": self.mode,
            "fusion": self.fusion,
            "filter": self.filter,
            "explain": self.explain or None,
            "min_relevance": self.min_relevance,
            "diversity": self.diversity,
            "recency": recency,
            "facets": None if self.facets is None else list(self.facets),
            "highlights": self.highlights or None,
            "cursor": self.cursor,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class FactsDeleted:
    """What a deletion by filter did: how many it is known to have deleted.

    `revision` as in `Stored`, of the last fact that it deleted; none, if it deleted none.
    """

    deleted: int
    withheld: int = 0
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line of an import that was not taken; the first line is 1."""

    line: int
    error: KenningError

    @classmethod
    def read(cls, body: Mapping[str, Any], lines_before: int) -> RefusedLine:
        return cls(body["line"] + lines_before, from_answer(dict(body), status=0))


@dataclass(slots=True)
class ImportSummary:
    """What an import did so far. `errors` has the first 1,000 refused lines.

    An import that ended early can be continued from the line after `last_line`.
    """

    imported: int = 0
    failed: int = 0
    lines: int = 0
    last_line: int = 0
    errors: list[RefusedLine] = field(default_factory=list)
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a tenant's facts.

    Attributes:
        kind: `stored`, `changed`, `deleted`, or `gap`: changes after `after`, up to `revision`,
            are no longer kept, and all facts should be read again.
        revision: The position to resume from.
        id: The fact's id; None for a gap.
        after: For a gap, the position before it.
    """

    kind: Literal["stored", "changed", "deleted", "gap"]
    revision: int
    id: str | None = None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures of the tenant and of the server. `body` has all of them, as the server said."""

    tenant: str
    facts: int
    indexed: int
    pending: int
    model: str
    dimensions: int | None
    version: str
    body: dict[str, Any]

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Stats:
        return cls(
            body["tenant"],
            body["facts"],
            body["indexed"],
            body["pending"],
            body["model"],
            body["dimensions"],
            body["version"],
            dict(body),
        )
