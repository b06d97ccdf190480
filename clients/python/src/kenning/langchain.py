"""A LangChain `VectorStore` whose documents are facts.

    from kenning import Kenning
    from kenning.langchain import KenningVectorStore

    store = KenningVectorStore(Kenning())
    retriever = store.as_retriever(search_kwargs={"k": 4, "filter": {"topic": "people"}})

Needs `pip install "kenning[langchain]"`. Without `embedding` the server makes the vectors, and a
search is hybrid: by meaning and by words. With it, the vectors are the caller's; that needs a
tenant that was created by `kenning tenant create NAME --given-vectors N`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from ._clients import Clients, Plan, call, delete_all, read_all, upsert_all
from ._flows import new_id
from .client import Kenning
from .types import Draft, Fact, Filter, Hit, Mode, SearchResult

__all__ = ["KenningVectorStore"]


class KenningVectorStore(VectorStore):
    """The documents of a tenant.

    Args:
        client: Without it, one made from the environment.
        embedding: Makes the vectors; without it, the server does.
        mode: How searches rank; without it `hybrid`, or `vector` where `embedding` is given.

    Searches take `filter` (a filter of Kenning), `mode` and `min_relevance`. An id is 1 to 128
    ASCII letters, digits, `.`, `_` and `-`.
    """

    def __init__(
        self,
        client: Kenning | None = None,
        *,
        embedding: Embeddings | None = None,
        mode: Mode | None = None,
    ) -> None:
        self._clients = Clients(client or Kenning())
        self._embedding = embedding
        self._mode: Mode = mode or ("hybrid" if embedding is None else "vector")

    @property
    def embeddings(self) -> Embeddings | None:
        """What makes the vectors; None if the server does."""
        return self._embedding

    # Documents.

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Stores texts, each in place of the document with its id, if there is one."""
        all_texts = list(texts)
        vectors = None
        if self._embedding is not None and all_texts:
            vectors = self._embedding.embed_documents(all_texts)
        return self._clients.run(upsert_all(_drafts(all_texts, metadatas, ids, vectors)))

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """As `add_texts`."""
        all_texts = list(texts)
        vectors = None
        if self._embedding is not None and all_texts:
            vectors = await self._embedding.aembed_documents(all_texts)
        drafts = _drafts(all_texts, metadatas, ids, vectors)
        return await self._clients.arun(upsert_all(drafts))

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids that there are."""
        return [_document(fact) for fact in self._clients.run(read_all(ids))]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """As `get_by_ids`."""
        return [_document(fact) for fact in await self._clients.arun(read_all(ids))]

    def delete(
        self, ids: list[str] | None = None, *, filter: Filter | None = None, **kwargs: Any
    ) -> bool | None:
        """Deletes the documents with these ids, or those that match a filter."""
        self._clients.run(_delete(ids, filter))
        return True

    async def adelete(
        self, ids: list[str] | None = None, *, filter: Filter | None = None, **kwargs: Any
    ) -> bool | None:
        """As `delete`."""
        await self._clients.arun(_delete(ids, filter))
        return True

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        client: Kenning | None = None,
        mode: Mode | None = None,
        **kwargs: Any,
    ) -> KenningVectorStore:
        """A store, with these texts stored."""
        store = cls(client, embedding=embedding, mode=mode)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    # Search. Each takes what `_search` does.

    def _search(
        self, query: str | None, vector: Sequence[float] | None, k: int, **named: Any
    ) -> Plan[list[Hit]]:
        mode: Mode = named.pop("mode", None) or self._mode
        known = {"filter", "min_relevance", "diversity"}
        unknown = set(named) - known
        if unknown:
            raise TypeError(f"a search takes mode, {', '.join(sorted(known))}; not {unknown}")
        if vector is not None and mode == "vector":
            query = None
        found: SearchResult = yield call(
            "search", query, vector=vector, top_k=k, mode=mode, **named
        )
        return found.hits

    def _hits(self, query: str, k: int, **named: Any) -> list[Hit]:
        vector = self._embedding.embed_query(query) if self._embedding is not None else None
        return self._clients.run(self._search(query, vector, k, **named))

    async def _ahits(self, query: str, k: int, **named: Any) -> list[Hit]:
        vector = None
        if self._embedding is not None:
            vector = await self._embedding.aembed_query(query)
        return await self._clients.arun(self._search(query, vector, k, **named))

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The `k` best documents, best first."""
        return [_document(hit) for hit in self._hits(query, k, **kwargs)]

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """As `similarity_search`."""
        return [_document(hit) for hit in await self._ahits(query, k, **kwargs)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """With scores, of which larger are better: the cosine similarity, where the mode is
        `vector`; otherwise they compare within one answer only."""
        return [(_document(hit), self._score(hit)) for hit in self._hits(query, k, **kwargs)]

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search_with_score`."""
        hits = await self._ahits(query, k, **kwargs)
        return [(_document(hit), self._score(hit)) for hit in hits]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """The documents nearest to a vector."""
        plan = self._search(None, embedding, k, **{"mode": "vector", **kwargs})
        return [_document(hit) for hit in self._clients.run(plan)]

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """As `similarity_search_by_vector`."""
        plan = self._search(None, embedding, k, **{"mode": "vector", **kwargs})
        return [_document(hit) for hit in await self._clients.arun(plan)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """Documents that repeat each other less, the less the smaller `lambda_mult` is, 0 to 1.
        The server chooses how many it compares, so `fetch_k` is not used."""
        hits = self._hits(query, k, **{"diversity": 1 - lambda_mult, **kwargs})
        return [_document(hit) for hit in hits]

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`."""
        hits = await self._ahits(query, k, **{"diversity": 1 - lambda_mult, **kwargs})
        return [_document(hit) for hit in hits]

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        # The server knows how likely a fact answers a query; no function of the score does.
        return [(_document(hit), hit.relevance) for hit in self._hits(query, k, **kwargs)]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        hits = await self._ahits(query, k, **kwargs)
        return [(_document(hit), hit.relevance) for hit in hits]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        raise NotImplementedError("relevance comes from the server, and not from a score")

    def _score(self, hit: Hit) -> float:
        is_similarity = self._mode == "vector" and hit.similarity is not None
        return hit.similarity if is_similarity and hit.similarity is not None else hit.score


def _drafts(
    texts: list[str],
    metadatas: list[dict[str, Any]] | None,
    ids: Sequence[str | None] | None,
    vectors: list[list[float]] | None,
) -> list[Draft]:
    for name, given in (("metadatas", metadatas), ("ids", ids), ("vectors", vectors)):
        if given is not None and len(given) != len(texts):
            raise ValueError(f"{len(texts)} texts need as many {name}, not {len(given)}")
    return [
        Draft(
            text,
            metadatas[at] if metadatas is not None else None,
            (ids[at] if ids is not None else None) or new_id(),
            vectors[at] if vectors is not None else None,
        )
        for at, text in enumerate(texts)
    ]


def _delete(ids: list[str] | None, filter: Filter | None) -> Plan[None]:
    if (ids is None) == (filter is None):
        raise ValueError("name the documents to delete, by ids or by a filter")
    if ids is not None:
        yield from delete_all(ids)
    else:
        yield call("delete_matching", filter)


def _document(found: Fact | Hit) -> Document:
    return Document(page_content=found.content, metadata=found.metadata, id=found.id)
