"""A LlamaIndex vector store and a document store whose nodes are facts.

    from kenning import Kenning
    from kenning.llamaindex import KenningDocumentStore, KenningVectorStore

    nodes = KenningVectorStore(Kenning(tenant="nodes"))
    documents = KenningDocumentStore(Kenning(tenant="documents"))

Needs `pip install "kenning[llamaindex]"`. With `given_vectors` the vectors are those that
LlamaIndex makes; that needs a tenant that was created by
`kenning tenant create NAME --given-vectors N`. Without it, the server makes them from the nodes' texts
and from queries, and LlamaIndex's own are not used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
from llama_index.core.storage.kvstore.types import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_COLLECTION,
    BaseKVStore,
)
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from ._clients import Clients, Plan, call, list_all, read_all, upsert_all
from .client import Kenning
from .errors import NotFound
from .types import Draft, Fact, Hit, Mode, SearchResult

__all__ = ["KenningDocumentStore", "KenningKVStore", "KenningVectorStore"]

# Where a node's id is, in the metadata of its fact.
_NODE_ID = "_node_id"

# The document that a node is a part of.
_DOCUMENT_ID = "ref_doc_id"

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")

_MODES: dict[VectorStoreQueryMode, Mode] = {
    VectorStoreQueryMode.DEFAULT: "vector",
    VectorStoreQueryMode.MMR: "vector",
    VectorStoreQueryMode.HYBRID: "hybrid",
    VectorStoreQueryMode.SEMANTIC_HYBRID: "hybrid",
    VectorStoreQueryMode.SPARSE: "text",
    VectorStoreQueryMode.TEXT_SEARCH: "text",
}


class KenningVectorStore(BasePydanticVectorStore):
    """The nodes of a tenant. A node's metadata is at most about 60 KiB of JSON.

    Args:
        client: Without it, one made from the environment.
        given_vectors: The vectors are LlamaIndex's, in nodes and queries.
    """

    stores_text: bool = True
    is_embedding_query: bool = True

    _clients: Clients = PrivateAttr()
    _given: bool = PrivateAttr()

    def __init__(self, client: Kenning | None = None, *, given_vectors: bool = False) -> None:
        super().__init__(stores_text=True, is_embedding_query=given_vectors)
        self._clients = Clients(client or Kenning())
        self._given = given_vectors

    @property
    def client(self) -> Kenning:
        """The client."""
        return self._clients.sync

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Stores nodes, each in place of the one with its id, if there is one."""
        self._clients.run(upsert_all([self._draft(node) for node in nodes]))
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`."""
        await self._clients.arun(upsert_all([self._draft(node) for node in nodes]))
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Deletes the nodes of a document."""
        self._clients.run(_delete_matching({_DOCUMENT_ID: ref_doc_id}))

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As `delete`."""
        await self._clients.arun(_delete_matching({_DOCUMENT_ID: ref_doc_id}))

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """The nodes with these ids, or that match, or both; without either, all."""
        facts = self._clients.run(list_all(_all_of(node_ids, None, filters)))
        return [_node(fact) for fact in facts]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """As `get_nodes`."""
        facts = await self._clients.arun(list_all(_all_of(node_ids, None, filters)))
        return [_node(fact) for fact in facts]

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Deletes the nodes with these ids, or that match, or both."""
        self._clients.run(_delete_nodes(node_ids, filters))

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """As `delete_nodes`."""
        await self._clients.arun(_delete_nodes(node_ids, filters))

    def clear(self) -> None:
        """Deletes every node."""
        self._clients.run(_delete_matching(_all_of(None, None, None)))

    async def aclear(self) -> None:
        """As `clear`."""
        await self._clients.arun(_delete_matching(_all_of(None, None, None)))

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes that answer a query, best first."""
        return self._clients.run(self._query(query))

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`."""
        return await self._clients.arun(self._query(query))

    def _query(self, query: VectorStoreQuery) -> Plan[VectorStoreQueryResult]:
        mode = _MODES.get(query.mode)
        if mode is None:
            known = ", ".join(one.value for one in _MODES)
            raise ValueError(f"there is no mode {query.mode.value!r} here; use one of {known}")
        text, vector = query.query_str, None
        if self._given and mode != "text":
            if query.query_embedding is None:
                raise ValueError("a query needs its embedding, where vectors are given")
            vector = query.query_embedding
            text = None if mode == "vector" else text
        elif not text:
            raise ValueError("a query needs its text (query_str), where the server embeds")
        diversity = None
        if query.mode == VectorStoreQueryMode.MMR:
            threshold = query.mmr_threshold
            diversity = 1 - (0.5 if threshold is None else threshold)
        found: SearchResult = yield call(
            "search",
            text,
            vector=vector,
            top_k=query.similarity_top_k,
            mode=mode,
            # An empty list is how LlamaIndex says that any will do.
            filter=_all_of(query.node_ids or None, query.doc_ids or None, query.filters),
            diversity=diversity,
        )
        nodes = [_node(hit) for hit in found]
        is_by_meaning = mode == "vector" and diversity is None
        similarities = [
            hit.similarity if is_by_meaning and hit.similarity is not None else hit.score
            for hit in found
        ]
        return VectorStoreQueryResult(nodes, similarities, [node.node_id for node in nodes])

    def _draft(self, node: BaseNode) -> Draft:
        metadata = node_to_metadata_dict(node, remove_text=True)
        metadata[_NODE_ID] = node.node_id
        # A fact says something: that of a node without text its id.
        text = node.get_content(metadata_mode=MetadataMode.NONE)
        metadata["_is_empty"] = not text.strip()
        content = text if text.strip() else f"node {node.node_id}"
        vector = node.get_embedding() if self._given else None
        return Draft(content, metadata, _fact_id("li", node.node_id), vector)


def _fact_id(kind: str, name: str) -> str:
    """The name, if it can be an id of a fact; ids have few letters, and names any."""
    if _ID.fullmatch(name):
        return name
    return f"{kind}-{hashlib.sha256(name.encode()).hexdigest()}"


def _node(found: Fact | Hit) -> BaseNode:
    text = "" if found.metadata.get("_is_empty") else found.content
    return metadata_dict_to_node(found.metadata, text=text)


def _delete_matching(filter: dict[str, Any]) -> Plan[None]:
    yield call("delete_matching", filter)


def _delete_nodes(node_ids: list[str] | None, filters: MetadataFilters | None) -> Plan[None]:
    if node_ids is None and filters is None:
        raise ValueError("name the nodes to delete, by ids or by filters; `clear` deletes all")
    yield call("delete_matching", _all_of(node_ids, None, filters))


def _all_of(
    node_ids: Sequence[str] | None,
    document_ids: Sequence[str] | None,
    filters: MetadataFilters | None,
) -> dict[str, Any]:
    conditions: list[dict[str, Any]] = [{_NODE_ID: {"exists": True}}]
    if node_ids is not None:
        conditions.append({_NODE_ID: {"in": list(node_ids)}})
    if document_ids is not None:
        conditions.append({_DOCUMENT_ID: {"in": list(document_ids)}})
    if filters is not None and filters.filters:
        conditions.append(_filter(filters))
    return {"AND": conditions}


_OPERATORS = {
    FilterOperator.EQ: "eq",
    FilterOperator.NE: "ne",
    FilterOperator.GT: "gt",
    FilterOperator.GTE: "gte",
    FilterOperator.LT: "lt",
    FilterOperator.LTE: "lte",
    FilterOperator.IN: "in",
    FilterOperator.NIN: "nin",
    # `in` holds for a list when it holds for one of its elements.
    FilterOperator.ANY: "in",
    FilterOperator.CONTAINS: "contains",
    FilterOperator.TEXT_MATCH: "contains",
    FilterOperator.TEXT_MATCH_INSENSITIVE: "icontains",
}


def _filter(filters: MetadataFilters) -> dict[str, Any]:
    conditions = [
        _filter(one) if isinstance(one, MetadataFilters) else _condition(one)
        for one in filters.filters
    ]
    if not conditions:
        return {_NODE_ID: {"exists": True}}
    if filters.condition == FilterCondition.OR:
        return {"OR": conditions}
    if filters.condition == FilterCondition.NOT:
        return {"NOT": conditions}
    return {"AND": conditions}


def _condition(filter: MetadataFilter) -> dict[str, Any]:
    key, value = filter.key, filter.value
    if filter.operator == FilterOperator.ALL:
        values = value if isinstance(value, list) else [value]
        return {"AND": [{key: {"contains": one}} for one in values]}
    if filter.operator == FilterOperator.IS_EMPTY:
        # No filter of the server sees an empty list.
        return {"OR": [{key: {"exists": False}}, {key: None}, {key: ""}]}
    operator = _OPERATORS.get(filter.operator)
    if operator is None:
        raise ValueError(f"there is no operator {filter.operator!r} here")
    return {key: {operator: value}}


class KenningKVStore(BaseKVStore):
    """Values by key, in collections; each is a fact whose content is the value as JSON, so at
    most 256 KiB. Give it a tenant of its own, in which the server makes the vectors."""

    def __init__(self, client: Kenning | None = None) -> None:
        self._clients = Clients(client or Kenning())

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Stores a value, in place of the one that is there."""
        self._clients.run(upsert_all([_pair(key, val, collection)]))

    async def aput(
        self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION
    ) -> None:
        """As `put`."""
        await self._clients.arun(upsert_all([_pair(key, val, collection)]))

    def put_all(
        self,
        kv_pairs: list[tuple[str, dict[str, Any]]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """Stores values, up to 100 in a request, whatever the batch size."""
        self._clients.run(upsert_all(_pairs(kv_pairs, collection)))

    async def aput_all(
        self,
        kv_pairs: list[tuple[str, dict[str, Any]]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """As `put_all`."""
        await self._clients.arun(upsert_all(_pairs(kv_pairs, collection)))

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """The value, or None."""
        return _first(self._clients.run(read_all([_pair_id(key, collection)])))

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """As `get`."""
        return _first(await self._clients.arun(read_all([_pair_id(key, collection)])))

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Every value of a collection, by key."""
        return _by_key(self._clients.run(list_all({"kv.collection": collection})))

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """As `get_all`."""
        return _by_key(await self._clients.arun(list_all({"kv.collection": collection})))

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Deletes a value; says whether there was one."""
        return self._clients.run(_delete_pair(key, collection))

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """As `delete`."""
        return await self._clients.arun(_delete_pair(key, collection))


def _pair_id(key: str, collection: str) -> str:
    named = json.dumps([collection, key])
    return f"kv-{hashlib.sha256(named.encode()).hexdigest()}"


def _pair(key: str, value: dict[str, Any], collection: str) -> Draft:
    content = json.dumps(value, ensure_ascii=False)
    metadata = {"kv": {"collection": collection, "key": key}}
    return Draft(content, metadata, _pair_id(key, collection))


def _pairs(pairs: Sequence[tuple[str, dict[str, Any]]], collection: str) -> list[Draft]:
    # Of one key the last: a batch has no order.
    return [_pair(key, value, collection) for key, value in dict(pairs).items()]


def _value(fact: Fact) -> dict[str, Any]:
    value = json.loads(fact.content)
    assert isinstance(value, dict)
    return value


def _first(facts: list[Fact]) -> dict[str, Any] | None:
    return _value(facts[0]) if facts else None


def _by_key(facts: list[Fact]) -> dict[str, dict[str, Any]]:
    return {fact.metadata["kv"]["key"]: _value(fact) for fact in facts}


def _delete_pair(key: str, collection: str) -> Plan[bool]:
    try:
        yield call("delete", _pair_id(key, collection))
    except NotFound:
        return False
    return True


class KenningDocumentStore(KVDocumentStore):
    """The documents and nodes of an index, by `KenningKVStore`."""

    def __init__(self, client: Kenning | None = None, namespace: str | None = None) -> None:
        super().__init__(KenningKVStore(client), namespace=namespace)
