"""The class `KnowledgeBase` of the Python service that Kenning grew out of, as a drop-in.

    from kenning.compat import KnowledgeBase

    kb = KnowledgeBase()
    stored = await kb.store_fact("Redis is a database", {"source": "guide"})
    facts = await kb.get_fact(fact_id=stored["fact_id"])

Methods, shapes and conventions are that service's: nothing raises, a call that fails answers
`{"status": "error", "message": …}` or `[]`, and the first call connects. What its users lost time
to is mended: a failed first connection is tried again by the next call, callers who come at once
connect once, `get_fact` connects too, every call ends within its time, a repeated store is one
fact, and listing gives the newest facts instead of any.

Only the names of "Redis" in methods and messages are history: facts are wherever the Kenning
server keeps them.
"""

from __future__ import annotations

import asyncio
import fnmatch
import logging
import threading
import weakref
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

from ._flows import new_id
from ._settings import Settings
from .aio import AsyncKenning
from .errors import ConnectionFailed, NotFound, StorageUnavailable, Timeout
from .types import Fact

__all__ = ["KnowledgeBase", "Timeouts"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

# What the service listed without an id or a query.
_LISTED = 100

_EVERY_FACT = "fact:"

_CATEGORIES = ["documentation", "system", "configuration"]

OnError = Literal["empty", "row", "raise"]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that each call may take, from its beginning to its end."""

    connect: float = 2.0
    store: float = 2.0
    get: float = 2.0
    search: float = 10.0
    add_document: float = 30.0
    stats: float = 10.0
    export: float = 60.0


class Manager:
    """The connections that all instances in a program share, for the same server and tenant."""

    def __init__(self, client: AsyncKenning) -> None:
        self._client = client

    async def main(self) -> Connection:
        """The connection."""
        return Connection(self._client)


@dataclass(frozen=True, slots=True)
class Connection:
    """What the service had a Redis client for."""

    client: AsyncKenning

    async def ping(self, timeout: float = 2.0) -> bool:
        """Whether the server and its storage answer.

        Raises:
            KenningError: They do not.
        """
        await self.client.list_page(limit=1, timeout=timeout)
        return True


_Loop = asyncio.AbstractEventLoop
_managers: weakref.WeakKeyDictionary[_Loop, dict[Settings, Manager]] = weakref.WeakKeyDictionary()
_managers_lock = threading.Lock()


def _manager(settings: Settings) -> Manager:
    """The manager of the running loop: connections cannot be used from another one."""
    with _managers_lock:
        for loop in [loop for loop in _managers if loop.is_closed()]:
            del _managers[loop]
        of_loop = _managers.setdefault(asyncio.get_running_loop(), {})
        if settings not in of_loop:
            client = AsyncKenning(
                settings.base_url,
                settings.key,
                tenant=settings.tenant,
                retries=settings.retries,
                connections=settings.connections,
                ca=settings.ca,
            )
            of_loop[settings] = Manager(client)
        return of_loop[settings]


class KnowledgeBase:
    """The service's class, over a Kenning server. Making one connects to nothing.

    Args:
        base_url, key, tenant: As those of `Kenning`, and from the same environment variables.
        on_error: What a search answers that failed: `[]` (`empty`), as the service's guide has
            it; one row that says so, with a score of 0 (`row`), as its later code has it; or
            the exception (`raise`). With `raise`, every other call raises, too.
        timeouts: Seconds that calls may take.
    """

    def __init__(
        self,
        base_url: str | None = None,
        key: str | None = None,
        *,
        tenant: str | None = None,
        on_error: OnError = "empty",
        timeouts: Timeouts | None = None,
    ) -> None:
        if on_error not in ("empty", "row", "raise"):
            raise ValueError(f"on_error is 'empty', 'row' or 'raise', not {on_error!r}")
        self.timeouts = timeouts or Timeouts()
        self.redis_manager: Manager | None = None
        self.aioredis_client: Connection | None = None
        self._redis_initialized = False
        self._on_error = on_error
        # The connections are few: callers who come at once wait for one, as with a pool.
        self._settings = Settings.of(base_url, key, tenant, 30.0, 5, 64, None, True)
        self._loop: _Loop | None = None
        self._connecting = asyncio.Lock()

    # Connecting.

    async def _ensure_redis_initialized(self) -> None:
        """Connects, unless that is done. Raises nothing; a failure is tried again next time."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # Connections, and locks, are of one event loop.
            self._loop, self._connecting = loop, asyncio.Lock()
            self._redis_initialized = False
        if self._redis_initialized:
            return
        async with self._connecting:
            if not self._redis_initialized:
                await self._init_redis_and_vector_store()

    async def _init_redis_and_vector_store(self) -> None:
        try:
            manager = _manager(self._settings)
            connection = await manager.main()
            await connection.ping(self.timeouts.connect)
        except Exception as error:
            logger.error("Failed to connect to Kenning: %s", error)
            self.redis_manager = self.aioredis_client = None
            return
        self.redis_manager, self.aioredis_client = manager, connection
        self._redis_initialized = True

    async def _client(self) -> AsyncKenning:
        await self._ensure_redis_initialized()
        if self.aioredis_client is None:
            raise StorageUnavailable(
                "Redis not available", code="storage_unavailable", retryable=True
            )
        return self.aioredis_client.client

    async def _within(self, seconds: float, call: Coroutine[Any, Any, T]) -> T:
        """The call's result, connecting included, or a `Timeout` when the time is over."""
        try:
            return await asyncio.wait_for(call, seconds)
        except asyncio.TimeoutError as error:
            if isinstance(error, Timeout):
                raise
            raise Timeout("Redis operation timeout", code="timeout", retryable=True) from error

    def _failed(self, error: Exception, what: str) -> dict[str, Any]:
        """What a call answers that failed, or raises, as the service's callers expect it."""
        logger.error("%s: %s", what, error)
        if self._on_error == "raise":
            raise error
        if isinstance(error, Timeout):
            message = "Redis operation timeout"
        elif isinstance(error, (StorageUnavailable, ConnectionFailed)):
            message = "Redis not available"
        else:
            message = f"{what}: {error}"
        return {"status": "error", "message": message}

    # Facts.

    async def store_fact(
        self,
        text: str,
        metadata: Mapping[str, Any] | None = None,
        fact_id: str | None = None,
    ) -> dict[str, Any]:
        """Stores a fact.

        Returns:
            `{"status": "success", "message", "fact_id"}` or `{"status": "error", "message"}`.
        """

        async def store() -> str:
            client = await self._client()
            stored = await client.store(text, metadata, id=fact_id, timeout=self.timeouts.store)
            return stored.id

        try:
            stored_id = await self._within(self.timeouts.store, store())
        except Exception as error:
            return self._failed(error, "Failed to store fact")
        return {
            "status": "success",
            "message": "Fact stored successfully",
            "fact_id": stored_id,
        }

    async def get_fact(
        self, fact_id: str | None = None, query: str | None = None
    ) -> list[dict[str, Any]]:
        """Reads the fact with this id, or those whose content contains `query`, ignoring case;
        without either, the newest 100.

        Returns:
            `{"id", "content", "metadata", "timestamp"}` of each; `[]` if there are none, or the
            call failed.
        """

        async def get() -> list[Fact]:
            client = await self._client()
            if fact_id:
                return [await client.get(fact_id, timeout=self.timeouts.get)]
            if query:
                facts = client.list(query=query, limit=1000, timeout=self.timeouts.get)
                return [fact async for fact in facts]
            page = await client.list_page(limit=_LISTED, timeout=self.timeouts.get)
            return page.facts

        try:
            return [_row(fact) for fact in await self._within(self.timeouts.get, get())]
        except NotFound:
            return []
        except Exception as error:
            self._failed(error, "Error retrieving facts")
            return []

    async def get_all_facts(self, collection: str | None = None) -> list[dict[str, Any]]:
        """Every fact, or every fact of a collection, which its metadata names.

        Returns:
            The rows of `get_fact` with `key` and `collection` (`general` where none is named).
        """

        async def get() -> list[dict[str, Any]]:
            client = await self._client()
            rows = []
            async for fact in client.list(limit=1000, timeout=self.timeouts.export):
                named = str(fact.metadata.get("collection") or "general")
                if collection is None or named == collection:
                    rows.append({"key": f"fact:{fact.id}", "collection": named, **_row(fact)})
            return rows

        try:
            return await self._within(self.timeouts.export, get())
        except Exception as error:
            self._failed(error, "Error retrieving facts")
            return []

    async def export_all_data(self) -> list[dict[str, Any]]:
        """Every fact as `{"type": "fact", "id", "content", "metadata", "timestamp"}`."""

        async def export() -> list[dict[str, Any]]:
            client = await self._client()
            return [{"type": "fact", **_row(fact)} async for fact in client.export()]

        try:
            return await self._within(self.timeouts.export, export())
        except Exception as error:
            self._failed(error, "Error exporting data")
            return []

    # Search.

    async def search(
        self,
        query: str,
        similarity_top_k: int = 10,
        filters: Mapping[str, Any] | None = None,
        mode: str = "auto",
    ) -> list[dict[str, Any]]:
        """Finds facts, best first. `mode` is `auto`, `vector` or `text`; `filters` is a filter of
        Kenning, which the service took and ignored.

        Returns:
            `{"content", "metadata", "score", "doc_id"}` of each; `[]` for a blank query. For a
            search that failed, see `on_error`.
        """
        if not query.strip():
            return []
        modes: dict[str, Literal["hybrid", "vector", "text"]] = {
            "auto": "hybrid",
            "vector": "vector",
            "text": "text",
        }

        async def search() -> list[dict[str, Any]]:
            client = await self._client()
            found = await client.search(
                query,
                top_k=similarity_top_k,
                mode=modes.get(mode, "hybrid"),
                filter=filters,
                timeout=self.timeouts.search,
            )
            return [
                {
                    "content": hit.content,
                    "metadata": hit.metadata,
                    "score": hit.score,
                    "doc_id": hit.id,
                }
                for hit in found
            ]

        try:
            return await self._within(self.timeouts.search, search())
        except Exception as error:
            self._failed(error, "Search error")
            if self._on_error == "empty":
                return []
            is_late = isinstance(error, Timeout)
            content = (
                f"Search timed out for query: {query[:100]}"
                if is_late
                else f"Search failed: {error}"
            )
            told = {"error": "timeout" if is_late else "search_failed", "query": query}
            return [{"content": content, "metadata": told, "score": 0.0}]

    async def add_document(
        self,
        content: str,
        metadata: Mapping[str, Any] | None = None,
        doc_id: str | None = None,
    ) -> dict[str, Any]:
        """Stores a document, which search finds by every part of it.

        Returns:
            `{"status": "success", "message", "doc_id", "content_length"}`, or `status` `error` or
            `timeout` with a `message`.
        """
        if not content.strip():
            return {"status": "error", "message": "Empty content provided"}

        async def add() -> str:
            client = await self._client()
            # The id is in the metadata, too, so it is made here.
            made = doc_id or new_id()
            described = {
                **(metadata or {}),
                "doc_id": made,
                "added_at": datetime.now().astimezone().isoformat(),
                "content_length": len(content),
            }
            stored = await client.upsert(
                content, described, id=made, timeout=self.timeouts.add_document
            )
            return stored.id

        try:
            added = await self._within(self.timeouts.add_document, add())
        except Exception as error:
            failed = self._failed(error, "Failed to add document")
            if isinstance(error, Timeout):
                return {"status": "timeout", "message": "Document addition timed out"}
            return failed
        return {
            "status": "success",
            "message": "Document added to vector store",
            "doc_id": added,
            "content_length": len(content),
        }

    async def rebuild_search_index(self) -> dict[str, Any]:
        """Says how many vectors there are. Kenning keeps its index in step by itself, so there is
        nothing to rebuild; `partial` means that some vectors are still being made."""

        async def look() -> dict[str, Any]:
            client = await self._client()
            return (await client.stats(timeout=self.timeouts.stats)).body

        try:
            stats = await self._within(self.timeouts.stats, look())
        except Exception as error:
            return self._failed(error, "Vector store not available")
        if not stats["facts"]:
            return {"status": "info", "message": "No vectors to index"}
        return {
            "status": "success",
            "message": "Search index rebuilt successfully",
            "vectors_found": stats["index"]["windows"],
            "indexed_documents": stats["indexed"],
            "sync_status": "synced" if not stats["pending"] else "partial",
        }

    # Figures.

    async def get_stats(self) -> dict[str, Any]:
        """`total_documents`, `total_chunks`, `categories`, `total_facts`, `status`,
        `indexed_documents` and `vector_index_sync`."""

        async def look() -> dict[str, Any]:
            client = await self._client()
            stats = (await client.stats(timeout=self.timeouts.stats)).body
            return {
                "total_documents": stats["facts"],
                "total_chunks": stats["index"]["windows"],
                "categories": await self._categories(client),
                "total_facts": stats["facts"],
                "status": "live_data",
                "indexed_documents": stats["indexed"],
                "vector_index_sync": not stats["pending"],
            }

        try:
            return await self._within(self.timeouts.stats, look())
        except Exception as error:
            self._failed(error, "Error getting stats")
            is_away = isinstance(error, (StorageUnavailable, ConnectionFailed, Timeout))
            return {
                "total_documents": 0,
                "total_chunks": 0,
                "categories": list(_CATEGORIES),
                "total_facts": 0,
                "status": "redis_unavailable" if is_away else "error",
                "indexed_documents": 0,
                "vector_index_sync": False,
            }

    async def get_detailed_stats(self) -> dict[str, Any]:
        """`get_stats` and `memory_usage_mb`, `peak_memory_mb`, `recent_activity`,
        `vector_store_health`, `health_recommendation`, `detailed_stats` and `generated_at`.

        The memory is that of the tenant's index."""
        stats = await self.get_stats()
        if stats["status"] != "live_data":
            message = "Redis not available for detailed analysis"
            return {**stats, "detailed_stats": False, "message": message}

        async def look() -> tuple[dict[str, Any], list[Fact]]:
            client = await self._client()
            body = (await client.stats(timeout=self.timeouts.stats)).body
            page = await client.list_page(limit=5, timeout=self.timeouts.stats)
            return body, page.facts

        try:
            body, newest = await self._within(self.timeouts.stats, look())
        except Exception as error:
            self._failed(error, "Error getting detailed stats")
            return {**stats, "detailed_stats": False, "message": str(error)}
        megabytes = round(body["index"]["bytes"] / 1024 / 1024, 2)
        is_in_step = not body["pending"]
        return {
            **stats,
            "memory_usage_mb": megabytes,
            "peak_memory_mb": megabytes,
            "recent_activity": {
                "total_facts": body["facts"],
                "sample_timestamps": [fact.timestamp for fact in newest],
            },
            "vector_store_health": "healthy" if is_in_step else "index_out_of_sync",
            "health_recommendation": (
                "Nothing to do" if is_in_step else "Wait: missing vectors are made by themselves"
            ),
            "detailed_stats": True,
            "generated_at": datetime.now().astimezone().isoformat(),
        }

    async def _categories(self, client: AsyncKenning) -> list[str]:
        """The values of `category` in the metadata."""
        found = await client.search(
            "category", top_k=1, mode="text", facets=["category"], timeout=self.timeouts.stats
        )
        values = found.facets["category"].values if "category" in found.facets else []
        return sorted(str(one.value) for one in values if one.value is not None) or list(
            _CATEGORIES
        )

    # What programs reached into.

    async def _scan_redis_keys_async(self, pattern: str) -> list[str]:
        """The keys `fact:<id>` that match a pattern with `*` and `?`; `[]` on failure."""

        async def scan() -> list[str]:
            client = await self._client()
            facts = client.list(limit=1000, timeout=self.timeouts.export)
            keys = [_EVERY_FACT + fact.id async for fact in facts]
            return [key for key in keys if fnmatch.fnmatchcase(key, pattern)]

        try:
            return await self._within(self.timeouts.export, scan())
        except Exception as error:
            self._failed(error, "Error scanning keys")
            return []


def _row(fact: Fact) -> dict[str, Any]:
    return {
        "id": fact.id,
        "content": fact.content,
        "metadata": fact.metadata,
        "timestamp": fact.timestamp,
    }
