"""The LlamaIndex stores, through LlamaIndex."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from llama_index.core import Document, MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import (
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from support.tenants import given_tenant

from kenning import Kenning, TooLarge
from kenning.llamaindex import KenningDocumentStore, KenningKVStore, KenningVectorStore
from kenning.testing import Server

WORDS = 32


class WordEmbedding(BaseEmbedding):
    """Texts with the same words are near each other."""

    def _vector(self, text: str) -> list[float]:
        vector = [0.01] * WORDS
        for word in text.lower().split():
            vector[hashlib.sha256(word.strip(".?").encode()).digest()[0] % WORDS] += 1.0
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._vector(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._vector(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._vector(query)


TEXTS = {
    "pets": "Mia keeps a cat and two parrots.",
    "staging": "The staging server listens on port 7171.",
    "test": "The test server listens on port 7272.",
}


def nodes(embedding: BaseEmbedding | None = None) -> list[TextNode]:
    made = []
    for number, (name, text) in enumerate(TEXTS.items()):
        document = "people" if name == "pets" else "network"
        node = TextNode(
            text=text,
            id_=f"nodes/{name}",
            metadata={"topic": document, "n": number, "tags": ["x", name]},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)},
        )
        if embedding is not None:
            node.embedding = embedding.get_text_embedding(text)
        made.append(node)
    return made


@pytest.fixture(params=["server", "given"])
def given(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "given")


@pytest.fixture
def store(given: bool, kb: Kenning, kenning_server: Server) -> Iterator[KenningVectorStore]:
    if not given:
        yield KenningVectorStore(kb)
        return
    with given_tenant(kenning_server, WORDS) as client:
        yield KenningVectorStore(client, given_vectors=True)


@pytest.fixture
def filled(store: KenningVectorStore, given: bool) -> KenningVectorStore:
    made = nodes(WordEmbedding() if given else None)
    assert store.add(made) == [node.node_id for node in made]
    return store


def query(text: str, given: bool, **named: object) -> VectorStoreQuery:
    embedding = WordEmbedding().get_query_embedding(text) if given else None
    return VectorStoreQuery(query_str=text, query_embedding=embedding, **named)  # type: ignore[arg-type]


def test_an_index(store: KenningVectorStore, given: bool) -> None:
    embedding = WordEmbedding() if given else MockEmbedding(embed_dim=3)
    documents = [Document(text=text, id_=name) for name, text in TEXTS.items()]
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex.from_documents(documents, context, embed_model=embedding)
    retriever = index.as_retriever(similarity_top_k=2)
    found = retriever.retrieve("Where does the staging server listen?")
    assert found[0].node.get_content() == TEXTS["staging"] and len(found) == 2
    assert found[0].node.ref_doc_id == "staging"
    again = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    assert again.as_retriever(similarity_top_k=1).retrieve("cat")[0].text == TEXTS["pets"]
    index.delete_ref_doc("staging")
    left = {node.ref_doc_id for node in store.get_nodes()}
    assert left == {"pets", "test"}


def test_nodes_come_back_as_they_were(filled: KenningVectorStore, given: bool) -> None:
    found = filled.get_nodes(node_ids=["nodes/pets"])
    [expected] = [node for node in nodes() if node.node_id == "nodes/pets"]
    assert found[0].to_dict() == expected.to_dict()
    filled.add([expected.model_copy(update={"embedding": [0.5] * WORDS})])
    assert len(filled.get_nodes()) == 3, "in its place"


def test_modes(filled: KenningVectorStore, given: bool) -> None:
    modes = VectorStoreQueryMode
    for mode in (modes.DEFAULT, modes.HYBRID, modes.TEXT_SEARCH, modes.SPARSE, modes.MMR):
        found = filled.query(query("staging server port", given, similarity_top_k=1, mode=mode))
        assert found.ids == ["nodes/staging"], mode
        assert found.nodes is not None and found.similarities is not None
        assert found.nodes[0].get_content() == TEXTS["staging"]
    similar = filled.query(query(TEXTS["pets"], given, similarity_top_k=1)).similarities
    assert similar is not None and similar[0] == pytest.approx(1.0, abs=0.02)
    with pytest.raises(ValueError):
        filled.query(query("x", given, mode=modes.SVM))
    with pytest.raises(ValueError):
        filled.query(VectorStoreQuery())


FILTERS = [
    ([("topic", FilterOperator.EQ, "network")], ["staging", "test"]),
    ([("topic", FilterOperator.NE, "network")], ["pets"]),
    ([("n", FilterOperator.GT, 1)], ["test"]),
    ([("n", FilterOperator.GTE, 1), ("n", FilterOperator.LT, 2)], ["staging"]),
    ([("n", FilterOperator.LTE, 0)], ["pets"]),
    ([("topic", FilterOperator.IN, ["people", "none"])], ["pets"]),
    ([("topic", FilterOperator.NIN, ["people"])], ["staging", "test"]),
    ([("tags", FilterOperator.ANY, ["pets", "test"])], ["pets", "test"]),
    ([("tags", FilterOperator.ALL, ["x", "test"])], ["test"]),
    ([("tags", FilterOperator.CONTAINS, "staging")], ["staging"]),
    ([("topic", FilterOperator.TEXT_MATCH, "etwo")], ["staging", "test"]),
    ([("topic", FilterOperator.TEXT_MATCH, "ETWO")], []),
    ([("topic", FilterOperator.TEXT_MATCH_INSENSITIVE, "ETWO")], ["staging", "test"]),
    ([("missing", FilterOperator.IS_EMPTY, None)], ["pets", "staging", "test"]),
    ([("topic", FilterOperator.IS_EMPTY, None)], []),
]


def test_filters(filled: KenningVectorStore, given: bool) -> None:
    for conditions, expected in FILTERS:
        filters = MetadataFilters(
            filters=[MetadataFilter(key=k, operator=o, value=v) for k, o, v in conditions]
        )
        found = filled.query(query("the", given, similarity_top_k=9, filters=filters))
        assert sorted(found.ids or []) == [f"nodes/{name}" for name in expected], conditions
    either = MetadataFilters(
        filters=[MetadataFilter(key="n", value=0), MetadataFilter(key="n", value=2)],
        condition=FilterCondition.OR,
    )
    neither = MetadataFilters(filters=[either], condition=FilterCondition.NOT)
    assert {node.metadata["n"] for node in filled.get_nodes(filters=either)} == {0, 2}
    assert {node.metadata["n"] for node in filled.get_nodes(filters=neither)} == {1}
    assert len(filled.get_nodes(filters=MetadataFilters(filters=[]))) == 3
    found = filled.query(query("the", given, similarity_top_k=9, doc_ids=["people"]))
    assert found.ids == ["nodes/pets"]
    found = filled.query(query("the", given, similarity_top_k=9, node_ids=["nodes/test"]))
    assert found.ids == ["nodes/test"]


def test_deleting(filled: KenningVectorStore) -> None:
    filled.delete("network")
    assert [node.node_id for node in filled.get_nodes()] == ["nodes/pets"]
    filled.delete_nodes(["nodes/pets"])
    assert filled.get_nodes() == []
    filled.clear()
    with pytest.raises(ValueError):
        filled.delete_nodes()


async def test_the_same_for_asyncio(store: KenningVectorStore, given: bool) -> None:
    made = nodes(WordEmbedding() if given else None)
    await store.async_add(made)
    found = await store.aquery(query("staging server port", given))
    assert found.ids == ["nodes/staging"]
    assert len(await store.aget_nodes()) == 3
    await store.adelete("people")
    await store.adelete_nodes(["nodes/test"])
    assert [node.node_id for node in await store.aget_nodes()] == ["nodes/staging"]
    await store.aclear()
    assert await store.aget_nodes() == []


def test_other_facts_are_no_nodes(kb: Kenning) -> None:
    kb.store("the staging server", id="other")
    store = KenningVectorStore(kb)
    store.add(nodes())
    assert len(store.get_nodes()) == 3
    store.clear()
    assert kb.get("other").content == "the staging server"


def test_a_node_without_text(kb: Kenning) -> None:
    store = KenningVectorStore(kb)
    store.add([TextNode(text="", id_="empty")])
    assert store.get_nodes()[0].get_content() == ""


def test_a_document_store(kb: Kenning) -> None:
    documents = KenningDocumentStore(kb)
    made = nodes()
    documents.add_documents(made)
    assert set(documents.docs) == {node.node_id for node in made}
    found = documents.get_document("nodes/pets")
    assert found is not None and found.to_dict() == made[0].to_dict()
    assert documents.document_exists("nodes/pets")
    documents.set_document_hash("nodes/pets", "a-hash")
    assert documents.get_document_hash("nodes/pets") == "a-hash"
    info = documents.get_ref_doc_info("network")
    assert info is not None and sorted(info.node_ids) == ["nodes/staging", "nodes/test"]
    documents.delete_ref_doc("network")
    assert set(documents.docs) == {"nodes/pets"}
    assert documents.get_document("nodes/test", raise_error=False) is None
    other = KenningDocumentStore(kb, namespace="other")
    assert other.docs == {}


async def test_a_document_store_for_asyncio(kb: Kenning) -> None:
    documents = KenningDocumentStore(kb)
    made = nodes()
    await documents.async_add_documents(made)
    found = await documents.aget_document("nodes/test")
    assert found is not None and found.to_dict() == made[2].to_dict()
    await documents.adelete_document("nodes/test")
    assert not await documents.adocument_exists("nodes/test")


async def test_values_by_key(kb: Kenning) -> None:
    values = KenningKVStore(kb)
    values.put("a key/with anything ü", {"a": [1, "🦜"]})
    assert values.get("a key/with anything ü") == {"a": [1, "🦜"]}
    assert values.get("a key/with anything ü", "other") is None
    values.put_all([("k", {"n": 1}), ("l", {"n": 2}), ("k", {"n": 3})], "c", batch_size=7)
    assert values.get_all("c") == {"k": {"n": 3}, "l": {"n": 2}}
    assert values.delete("k", "c") is True and values.delete("k", "c") is False
    await values.aput_all([("m", {"n": 4})], "c")
    assert await values.aget("m", "c") == {"n": 4}
    assert set(await values.aget_all("c")) == {"l", "m"}
    assert await values.adelete("m", "c") is True
    with pytest.raises(TooLarge):
        await values.aput("big", {"text": "x" * 300_000})
