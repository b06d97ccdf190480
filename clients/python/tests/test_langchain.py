"""The LangChain vector store: LangChain's own suites, and what only ours has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests
from support.tenants import given_tenant

from kenning import InvalidRequest, Kenning, KenningError
from kenning.langchain import KenningVectorStore
from kenning.testing import Server


class TestStandardWithTheServersVectors(VectorStoreIntegrationTests):
    """The server embeds."""

    @pytest.fixture()
    def vectorstore(self, kb: Kenning) -> VectorStore:
        return KenningVectorStore(kb)


class TestStandardWithGivenVectors(VectorStoreIntegrationTests):
    """LangChain's embeddings are stored and searched by."""

    @pytest.fixture()
    def vectorstore(self, kenning_server: Server) -> Iterator[VectorStore]:
        embedding = self.get_embeddings()
        with given_tenant(kenning_server, len(embedding.embed_query("x"))) as client:
            yield KenningVectorStore(client, embedding=embedding)


@pytest.fixture
def store(kb: Kenning) -> KenningVectorStore:
    texts = [
        "Mia keeps a cat and two parrots.",
        "The staging server listens on port 7171.",
        "The test server listens on port 7272.",
    ]
    metadatas = [{"topic": "people"}, {"topic": "network"}, {"topic": "network"}]
    return KenningVectorStore.from_texts(texts, None, metadatas, ids=["a", "b", "c"], client=kb)


def test_filters(store: KenningVectorStore) -> None:
    found = store.similarity_search("server port", k=5, filter={"topic": "network"})
    assert {document.id for document in found} == {"b", "c"}
    with pytest.raises(TypeError):
        store.similarity_search("server port", where={"topic": "network"})


def test_scores_fall(store: KenningVectorStore) -> None:
    scored = store.similarity_search_with_score("staging server port", k=3)
    assert scored[0][0].id == "b"
    scores = [score for _, score in scored]
    assert scores == sorted(scores, reverse=True)
    relevant = store.similarity_search_with_relevance_scores("staging server port", k=3)
    assert all(0 <= relevance <= 1 for _, relevance in relevant)
    similar = store.similarity_search_with_score("staging server port", k=3, mode="vector")
    assert similar[0][0].id == "b"


def test_a_retriever(store: KenningVectorStore) -> None:
    retriever = store.as_retriever(search_kwargs={"k": 1})
    assert [document.id for document in retriever.invoke("cat and parrots")] == ["a"]
    diverse = store.as_retriever(search_type="mmr", search_kwargs={"k": 2, "lambda_mult": 0.2})
    assert len(diverse.invoke("server port")) == 2
    floor = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.999}
    )
    assert len(floor.invoke("nothing of this")) == 0


async def test_the_same_for_asyncio(store: KenningVectorStore) -> None:
    [best] = await store.asimilarity_search("staging server port", k=1)
    assert best.id == "b" and best.metadata == {"topic": "network"}
    scored = await store.asimilarity_search_with_score("staging server port", k=1)
    assert scored[0][0] == best
    diverse = await store.amax_marginal_relevance_search("server port", k=2)
    assert len(diverse) == 2
    relevant = await store.asimilarity_search_with_relevance_scores("staging server port", k=1)
    assert relevant[0][0] == best
    assert await store.adelete(filter={"topic": "network"})
    assert [document.id for document in await store.aget_by_ids(["b", "a"])] == ["a"]


def test_deleting_says_what(store: KenningVectorStore) -> None:
    for named in ({}, {"ids": ["a"], "filter": {"topic": "people"}}):
        with pytest.raises(ValueError):
            store.delete(**named)
    assert store.delete(filter={"topic": "network"})
    assert [document.id for document in store.get_by_ids(["a", "b", "c"])] == ["a"]


def test_bad_documents_are_refused(store: KenningVectorStore) -> None:
    with pytest.raises(InvalidRequest):
        store.add_documents([Document(page_content=" "), Document(page_content="good", id="d")])
    assert store.get_by_ids(["d"]), "the others are stored"
    with pytest.raises(InvalidRequest):
        store.add_documents([Document(page_content="x", id="no/id")])
    with pytest.raises(ValueError):
        store.add_texts(["one", "two"], [{}])
    with pytest.raises(ValueError):
        store.add_texts(["one", "two"], ids=["a"])
    assert store.add_texts([]) == []


def test_given_vectors(kenning_server: Server) -> None:
    embedding = DeterministicFakeEmbedding(size=8)
    with given_tenant(kenning_server, 8) as client:
        store = KenningVectorStore(client, embedding=embedding)
        store.add_texts(["one", "two"], ids=["1", "2"])
        [(document, score)] = store.similarity_search_with_score("two", k=1)
        assert document.id == "2" and score == pytest.approx(1.0, abs=0.01)
        vector = embedding.embed_query("one")
        assert store.similarity_search_by_vector(vector, k=1)[0].id == "1"
        hybrid = KenningVectorStore(client, embedding=embedding, mode="hybrid")
        assert hybrid.similarity_search("one", k=1)[0].id == "1"
        with pytest.raises(KenningError) as raised:
            store.similarity_search_by_vector([1.0, 2.0], k=1)
        assert "8" in raised.value.message
        assert store.embeddings is embedding
