"""The client for asyncio, with the same calls as `Kenning`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

import anyio
import httpx

from . import _flows
from ._attempts import FIRST_PAUSE, LONGEST_PAUSE, Attempts
from ._flows import Answer, Flow, Line, Pause, Request
from ._revision import Revision
from ._settings import Settings
from ._wire import (
    STREAM_SILENCE,
    Events,
    Lines,
    broke_off,
    error_of,
    failure,
    read_answer,
    read_export_line,
)
from .errors import KenningError, NotFound
from .types import (
    Change,
    Draft,
    Fact,
    FactsDeleted,
    Filter,
    Fusion,
    ImportSummary,
    Mode,
    Page,
    Recency,
    Search,
    SearchResult,
    Stats,
    Stored,
    StoreMode,
    Updated,
)

T = TypeVar("T")

# By names, because the clients have a method `list`.
StoreResults = list[Stored | KenningError]
SearchResults = list[SearchResult | KenningError]


class AsyncKenning:
    """A client of one tenant, for asyncio. Tasks of one event loop may share it.

    Args:
        base_url: The server; without it `KENNING_SERVER`, or http://127.0.0.1:7171.
        key: The tenant's key; without it `KENNING_KEY`.
        tenant: The tenant, on a server without keys; without it `KENNING_TENANT`, or `default`.
        timeout: Seconds that a call may take, with all its attempts.
        retries: Further attempts after one that failed in a way that may pass.
        connections: Connections that are open at once.
        ca: A file with the certificates to trust, in PEM.
        read_your_writes: Reads wait until they see what this client has written, on any host.

    Raises:
        ValueError: An argument makes no sense.
    """

    def __init__(
        self,
        base_url: str | None = None,
        key: str | None = None,
        *,
        tenant: str | None = None,
        timeout: float = 30.0,
        retries: int = 5,
        connections: int = 64,
        ca: str | None = None,
        read_your_writes: bool = True,
    ) -> None:
        self._settings = Settings.of(
            base_url, key, tenant, timeout, retries, connections, ca, read_your_writes
        )
        self._http = httpx.AsyncClient(**self._settings.http())
        self._revision = Revision(read_your_writes)

    async def __aenter__(self) -> AsyncKenning:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections. The client cannot be used any more."""
        await self._http.aclose()

    @property
    def revision(self) -> int | None:
        """The revision of this client's last write; another process may wait for it."""
        return self._revision.last

    def wait_for(self, revision: int | None) -> None:
        """Makes this client's reads see the changes up to `revision`, as they see its own."""
        self._revision.see(revision)

    # One fact.

    async def store(
        self,
        text: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        vector: Sequence[float] | None = None,
        mode: StoreMode | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Stored:
        """Stores a fact. It is durable when this returns.

        A repeat after a failure stores nothing twice: each call has an idempotency key, which
        `idempotency_key` replaces, to be safe also across processes.

        Args:
            id: The fact's id; the server makes one if it is left out.
            vector: The fact's vector, where callers give the vectors.
            mode: What to do if there is a fact with this id: `insert` (the default) raises
                `Conflict` unless it has the same content, `upsert` takes its place, and `update`
                takes its place and raises `NotFound` if there is none.

        Raises:
            Conflict: The id or the key exists with other content.
        """
        draft = Draft(text, metadata, id, vector, mode)
        return await self._run(_flows.store(draft, idempotency_key), timeout)

    async def upsert(
        self,
        text: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        id: str,
        vector: Sequence[float] | None = None,
        timeout: float | None = None,
    ) -> Stored:
        """Stores a fact under `id`, in place of the one that is there, if there is one."""
        return await self._run(
            _flows.store(Draft(text, metadata, id, vector, "upsert"), None), timeout
        )

    async def store_batch(
        self, drafts: Iterable[Draft], *, timeout: float | None = None
    ) -> StoreResults:
        """Stores facts, each on its own; gives what became of each, in their order.

        Requests have up to 100 facts. Facts that failed in a way that may pass are sent again.

        Raises:
            KenningError: A request failed as a whole, and no fact is stored. If some are, its
                facts have the error instead.
        """
        return await self._run(_flows.store_batch(list(drafts)), timeout)

    async def get(
        self, id: str, *, min_revision: int | None = None, timeout: float | None = None
    ) -> Fact:
        """Reads a fact.

        Raises:
            NotFound: There is none with this id.
        """
        return await self._run(_flows.get(id, min_revision), timeout)

    async def update(
        self,
        id: str,
        *,
        text: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        vector: Sequence[float] | None = None,
        merge: bool = False,
        timeout: float | None = None,
    ) -> Updated:
        """Changes a fact's text, its whole metadata, or both.

        With `merge`, `metadata` is merged into the fact's: what is not named stays, and what is
        None is removed (RFC 7396).

        Raises:
            NotFound: There is none with this id.
        """
        return await self._run(_flows.update(id, text, metadata, vector, merge), timeout)

    async def delete(self, id: str, *, timeout: float | None = None) -> None:
        """Deletes a fact.

        Raises:
            NotFound: There is none with this id.
        """
        await self._run(_flows.delete(id), timeout)

    # Many facts.

    async def list_page(
        self,
        *,
        query: str | None = None,
        filter: Filter | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> Page:
        """One page of facts, newest first. A page may be empty and still have a `next_cursor`.

        Args:
            query: Only facts whose content contains this, ignoring case.
            filter: Only facts that match.
            limit: Facts on the page, 1 to 1,000; the server's default is 100.
            cursor: `next_cursor` of the page before.
        """
        flow = _flows.list_page(query, filter, limit, cursor, min_revision)
        return await self._run(flow, timeout)

    async def pages(
        self,
        *,
        query: str | None = None,
        filter: Filter | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Page]:
        """All pages of a listing. `timeout` is for each page."""
        cursor: str | None = None
        while True:
            page = await self.list_page(
                query=query, filter=filter, limit=limit, cursor=cursor, timeout=timeout
            )
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return

    async def list(
        self,
        *,
        query: str | None = None,
        filter: Filter | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Fact]:
        """All facts of a listing, newest first, read page by page as they are asked for.

        A fact that exists from the first page to the last is given exactly once. Facts that an
        extension returned spoilt are left out; the pages of `pages` count them in `withheld`.

        Args:
            limit: Facts of one request, 1 to 1,000.
        """
        async for page in self.pages(query=query, filter=filter, limit=limit, timeout=timeout):
            for fact in page.facts:
                yield fact

    async def count(
        self,
        filter: Filter | None = None,
        *,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> int:
        """How many facts match, or how many there are."""
        return await self._run(_flows.count(filter, min_revision), timeout)

    async def delete_matching(
        self, filter: Filter, *, timeout: float | None = None
    ) -> FactsDeleted:
        """Deletes the facts that match, in as many requests as that takes.

        The empty filter is refused; for every fact, say `{"$timestamp": {"exists": True}}`.
        """
        return await self._run(_flows.delete_matching(filter), timeout)

    # Search.

    async def search(
        self,
        query: str | None = None,
        *,
        vector: Sequence[float] | None = None,
        top_k: int | None = None,
        mode: Mode | None = None,
        fusion: Fusion | None = None,
        filter: Filter | None = None,
        explain: bool = False,
        min_relevance: float | None = None,
        diversity: float | None = None,
        recency: Recency | Mapping[str, Any] | None = None,
        facets: Sequence[str] | None = None,
        highlights: bool = False,
        cursor: str | None = None,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> SearchResult:
        """Finds facts by meaning and by words, best first.

        Args:
            query: What is searched for, in words.
            vector: What is searched for, as a vector, where callers give the vectors.
            top_k: How many hits at most, 1 to 1,000; the server's default is 10.
            mode: `hybrid` (the default), `vector` or `text`.
            fusion: How a hybrid search becomes one order: `score` (the default) or `rank`.
            filter: Only facts that match.
            explain: Each hit says what the two halves of the search made of it.
            min_relevance: Leaves out hits of a lower relevance, 0 to 1.
            diversity: How much a hit loses that repeats a better one, 0 to 1.
            recency: How much older facts lose.
            facets: Metadata fields whose values are counted over all facts that match `filter`.
            highlights: Each hit has the passages with words of the query.
            cursor: `next_cursor` of the page before, of the same search.
            min_revision: The answer has seen the changes up to this one.
        """
        search = Search(
            query, vector, top_k, mode, fusion, filter, explain, min_relevance, diversity,
            recency, facets, highlights, cursor,
        )  # fmt: skip
        return await self._run(_flows.search(search, min_revision), timeout)

    async def search_batch(
        self,
        searches: Iterable[Search],
        *,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> SearchResults:
        """Runs searches, up to 20 in a request; gives what each found, or its error."""
        return await self._run(_flows.search_batch(list(searches), min_revision), timeout)

    # Bulk.

    async def import_facts(
        self,
        lines: Iterable[Line] | AsyncIterable[Line],
        *,
        allow_refused: bool = False,
        timeout: float = 120.0,
    ) -> ImportSummary:
        """Stores facts, of any number, as they are read; `lines` may be asynchronous, too.

        Up to 1,000 facts are in memory and in one request at a time. A request whose connection
        breaks is sent again: facts without an id are given one, so that none is stored twice.

        Args:
            lines: Drafts, facts, objects such as `{"text": …}`, or lines of JSON Lines: an open
                file will do.
            allow_refused: Returns also if lines were refused; the summary names them.
            timeout: Seconds for each request with its repeats.

        Raises:
            ImportFailed: Some lines were refused, or the import ended early. Its `summary` says
                what was stored and where to continue.
        """
        parts, summary = _flows.Parts(), ImportSummary()
        async for line in _each(lines):
            full = parts.add(line)
            if full is not None:
                await self._run(_flows.import_part(full, summary), timeout)
        await self._run(_flows.import_part(parts.rest(), summary), timeout)
        if summary.failed and not allow_refused:
            raise _flows.refused(summary)
        return summary

    async def export_lines(self, *, filter: Filter | None = None) -> AsyncIterator[bytes]:
        """Every fact as a line of JSON Lines, without its end, as the server streams them.

        Raises:
            ConnectionFailed: The export broke off; what was read is not all.
        """
        request = Request("GET", "/v1/export", params=_flows._filter(filter), reads=True)
        async for line in self._stream(request, "the export"):
            if line:
                yield line

    async def export(self, *, filter: Filter | None = None) -> AsyncIterator[Fact]:
        """Every fact, newest first, as the server streams them.

        Raises:
            ConnectionFailed: The export broke off; what was read is not all.
            GuestFailed: At the end, if facts were left out because an extension spoilt them.
        """
        async for line in self.export_lines(filter=filter):
            fact = read_export_line(line)
            if isinstance(fact, Fact):
                yield fact
            else:
                raise _flows.withheld(fact)

    async def changes(
        self, *, after: int | None = None, follow: bool = True, give_up_after: float = 60.0
    ) -> AsyncIterator[Change]:
        """What was stored, changed and deleted, in order; goes on where a connection broke.

        Args:
            after: The revision after which to begin, such as that of the last change that was
                seen; without it, with what happens from now on.
            follow: Waits for further changes; otherwise ends with what there is.
            give_up_after: Seconds of failed attempts to connect after which it fails.

        Raises:
            KenningError: The server refuses, or cannot be reached for that long.
        """
        events = Events(after)
        failures, failing_since = 0, 0.0
        while True:
            headers = {"accept": "text/event-stream"}
            if events.position is not None:
                headers["last-event-id"] = str(events.position)
            params = {} if follow else {"follow": "false"}
            request = Request("GET", "/v1/changes", params=params, headers=headers)
            try:
                async for line in self._stream(request, "the stream of changes"):
                    failures = 0
                    change = events.add(line)
                    if change is not None:
                        yield change
                if not follow:
                    return
            except KenningError as error:
                now = time.monotonic()
                failing_since = failing_since if failures else now
                if not error.retryable or now - failing_since > give_up_after:
                    raise
                wait = error.retry_after or 0.0
            else:
                wait = 0.0
            events.forget_partial()
            await anyio.sleep(max(wait, min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**failures)))
            failures = min(failures + 1, 8)

    async def stats(self, *, timeout: float | None = None) -> Stats:
        """Figures of the tenant and of the server."""
        return await self._run(_flows.stats(), timeout)

    # How calls are made.

    async def _run(self, flow: Flow[T], timeout: float | None = None) -> T:
        attempts = Attempts(timeout or self._settings.timeout, self._settings.retries)
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._step(step, attempts)
                except KenningError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _step(self, step: Request | Pause, attempts: Attempts) -> Answer:
        if isinstance(step, Pause):
            await anyio.sleep(attempts.pause_after(step.error, is_repeatable=True))
            return Answer(None)
        while True:
            try:
                answer = await self._attempt(step, attempts)
                self._revision.see(answer.revision)
                return answer
            except KenningError as error:
                if step.gone_is_done and attempts.is_in_doubt and isinstance(error, NotFound):
                    return Answer(None)
                if step.tells_progress and "imported" in error._body:
                    raise
                self._revision.correct(error)
                pause = attempts.pause_after(error, is_repeatable=step.is_repeatable)
            await anyio.sleep(pause)

    async def _attempt(self, request: Request, attempts: Attempts) -> Answer:
        remaining = attempts.remaining()
        headers = self._headers(request, attempts.server_timeout_ms(remaining))
        sent = self._settings.request(request, headers, remaining, remaining)
        timed_out = attempts.timed_out(may_have_happened=request.writes)
        try:
            # A bound on the whole answer; the library bounds only each piece.
            with anyio.fail_after(remaining):
                response = await self._http.send(sent)
        except TimeoutError as error:
            raise timed_out from error
        except httpx.TransportError as error:
            raise failure(error, request, timed_out) from error
        content, status = response.content, response.status_code
        return read_answer(status, response.headers, content, writes=request.writes)

    def _headers(self, request: Request, timeout_ms: int | None) -> dict[str, str]:
        headers = {**self._settings.headers, **(request.headers or {})}
        if request.content is not None:
            headers["content-type"] = request.content_type
        if timeout_ms is not None:
            headers["x-kenning-timeout-ms"] = str(timeout_ms)
        revision = self._revision.wanted(request)
        if revision is not None:
            headers["x-kenning-min-revision"] = str(revision)
        return headers

    async def _stream(self, request: Request, what: str) -> AsyncIterator[bytes]:
        """The lines of an answer; the attempts are those until it begins."""
        attempts = Attempts(self._settings.timeout, self._settings.retries)
        response = await self._begin(request, attempts)
        try:
            lines = Lines()
            async for piece in response.aiter_bytes():
                for line in lines.add(piece):
                    yield line
            rest = lines.rest()
            if rest:
                yield rest
        except httpx.TransportError as error:
            raise broke_off(what, error) from error
        finally:
            await response.aclose()

    async def _begin(self, request: Request, attempts: Attempts) -> httpx.Response:
        while True:
            remaining = attempts.remaining()
            headers, silence = self._headers(request, None), max(remaining, STREAM_SILENCE)
            sent = self._settings.request(request, headers, remaining, silence)
            try:
                try:
                    response = await self._http.send(sent, stream=True)
                    if response.status_code == 200:
                        return response
                    await response.aread()
                    await response.aclose()
                except httpx.TransportError as error:
                    timed_out = attempts.timed_out(may_have_happened=False)
                    raise failure(error, request, timed_out) from error
                read_answer(response.status_code, response.headers, response.content)
                raise error_of(response.status_code, response.headers, None)
            except KenningError as error:
                self._revision.correct(error)
                pause = attempts.pause_after(error, is_repeatable=True)
            await anyio.sleep(pause)


async def _each(lines: Iterable[Line] | AsyncIterable[Line]) -> AsyncIterator[Line]:
    if isinstance(lines, AsyncIterable):
        async for line in lines:
            yield line
    else:
        for line in lines:
            yield line
