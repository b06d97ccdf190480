"""Every call, without its input and output.

A flow is a generator: it yields the requests that it needs, is sent their answers, and returns
what the caller gets. Both clients run the same flows; only how they send and wait differs.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import quote

from .errors import (
    GuestFailed,
    ImportFailed,
    InvalidRequest,
    KenningError,
    from_answer,
)
from .types import (
    Draft,
    Fact,
    FactsDeleted,
    Filter,
    ImportSummary,
    Page,
    RefusedLine,
    Search,
    SearchResult,
    Stats,
    Stored,
    Updated,
)

T = TypeVar("T")

# The server's bounds on one request.
BATCH = 100
SEARCHES = 20

# One request of an import: what is sent again if its connection breaks.
IMPORT_LINES = 1000
IMPORT_BYTES = 4 * 1024 * 1024

# How many refused lines a summary has.
REFUSED = 1000

Line = Draft | Fact | Mapping[str, Any] | str | bytes
"""A line of an import; text is taken as it is."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        reads: The answer shall have seen this client's own writes.
        writes: If the connection breaks, the outcome is unknown.
        is_repeatable: Doing it twice is the same as doing it once.
        gone_is_done: After an attempt of unknown outcome, 404 means that it was done.
        tells_progress: Its errors may say how far it came; then the flow goes on from there.
    """

    method: str
    path: str
    params: Mapping[str, str] | None = None
    content: bytes | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] | None = None
    reads: bool = False
    writes: bool = False
    is_repeatable: bool = True
    gone_is_done: bool = False
    tells_progress: bool = False
    min_revision: int | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Waits, in seconds, as after `error`; raises it if there is no time for that."""

    error: KenningError


@dataclass(frozen=True, slots=True)
class Answer:
    body: Any
    revision: int | None = None


Flow = Generator[Request | Pause, Answer, T]


def encode(value: Any) -> bytes:
    """JSON text.

    Raises:
        InvalidRequest: It cannot be JSON: a value of another type, NaN, or half a character.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest(
            f"this cannot be sent as JSON: {error}", code="invalid_request", blame="caller"
        ) from error


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _fact_path(fact_id: str) -> str:
    # An empty id would be the list, and a dot the folder above.
    if not fact_id.strip("."):
        raise InvalidRequest(
            "a fact's id is 1 to 128 ASCII letters, digits, '.', '_' and '-'",
            code="invalid_request",
            blame="caller",
            details={"pointer": "/id"},
        )
    return f"/v1/facts/{quote(fact_id, safe='')}"


def _draft(draft: Draft) -> dict[str, Any]:
    vector = None if draft.vector is None else [float(x) for x in draft.vector]
    metadata = None if draft.metadata is None else dict(draft.metadata)
    return _given(
        text=draft.text, metadata=metadata, fact_id=draft.id, vector=vector, mode=draft.mode
    )


def _filter(filter: Filter | None) -> dict[str, str]:
    return {} if filter is None else {"filter": encode(filter).decode()}


def new_id() -> str:
    return str(uuid.uuid4())


def store(draft: Draft, idempotency_key: str | None) -> Flow[Stored]:
    answer = yield Request(
        "POST",
        "/v1/facts",
        content=encode(_draft(draft)),
        headers={"idempotency-key": idempotency_key or new_id()},
        writes=True,
    )
    return Stored.read(answer.body, answer.revision)


def get(fact_id: str, min_revision: int | None) -> Flow[Fact]:
    answer = yield Request("GET", _fact_path(fact_id), reads=True, min_revision=min_revision)
    return Fact.read(answer.body)


def update(
    fact_id: str,
    text: str | None,
    metadata: Mapping[str, Any] | None,
    vector: Sequence[float] | None,
    merge: bool,
) -> Flow[Updated]:
    members = _given(
        text=text,
        metadata=None if metadata is None else dict(metadata),
        vector=None if vector is None else [float(x) for x in vector],
    )
    answer = yield Request(
        "PATCH",
        _fact_path(fact_id),
        content=encode(members),
        content_type="application/merge-patch+json" if merge else "application/json",
        writes=True,
    )
    return Updated(answer.body["fact_id"], answer.body["indexed"], answer.revision)


def delete(fact_id: str) -> Flow[None]:
    yield Request("DELETE", _fact_path(fact_id), writes=True, gone_is_done=True)


def delete_matching(filter: Filter) -> Flow[FactsDeleted]:
    deleted, withheld, revision, cursor = 0, 0, None, None
    while True:
        params = _filter(filter) | _given(cursor=cursor)
        answer = yield Request("DELETE", "/v1/facts", params=params, writes=True)
        body = answer.body
        deleted += body["deleted"]
        withheld += body.get("withheld", 0)
        # A last answer that only found nothing more has none.
        revision = answer.revision or revision
        if body["complete"]:
            return FactsDeleted(deleted, withheld, revision)
        cursor = body["next_cursor"]
        if "error" in body:
            yield Pause(from_answer(body["error"], status=200))


def list_page(
    query: str | None,
    filter: Filter | None,
    limit: int | None,
    cursor: str | None,
    min_revision: int | None,
) -> Flow[Page]:
    params = _given(query=query, limit=None if limit is None else str(limit), cursor=cursor)
    request = Request("GET", "/v1/facts", params=params | _filter(filter), reads=True)
    answer = yield replace(request, min_revision=min_revision)
    return Page.read(answer.body)


def count(filter: Filter | None, min_revision: int | None) -> Flow[int]:
    request = Request("GET", "/v1/count", params=_filter(filter), reads=True)
    answer = yield replace(request, min_revision=min_revision)
    return int(answer.body["count"])


def search(search: Search, min_revision: int | None) -> Flow[SearchResult]:
    request = Request("POST", "/v1/search", content=encode(search.body()), reads=True)
    answer = yield replace(request, min_revision=min_revision)
    return SearchResult.read(answer.body)


def search_batch(
    searches: Sequence[Search], min_revision: int | None
) -> Flow[list[SearchResult | KenningError]]:
    results: list[SearchResult | KenningError] = []
    for begin in range(0, len(searches), SEARCHES):
        part = [search.body() for search in searches[begin : begin + SEARCHES]]
        request = Request("POST", "/v1/search/batch", content=encode({"searches": part}))
        answer = yield replace(request, reads=True, min_revision=min_revision)
        for body in answer.body["results"]:
            is_error = body.get("status") == "error"
            results.append(from_answer(body, status=200) if is_error else SearchResult.read(body))
    return results


def store_batch(drafts: Sequence[Draft]) -> Flow[list[Stored | KenningError]]:
    """Stores each; sends again those of which the error says that they may succeed later."""
    # With an id of its own, each can be sent again.
    named = [draft if draft.id else replace(draft, id=new_id()) for draft in drafts]
    results: dict[int, Stored | KenningError] = {}
    for begin in range(0, len(named), BATCH):
        waiting = list(range(begin, min(begin + BATCH, len(named))))
        while waiting:
            body = encode({"facts": [_draft(named[at]) for at in waiting]})
            request = Request("POST", "/v1/facts/batch", content=body, writes=True)
            try:
                answer = yield request
            except KenningError as error:
                if not any(isinstance(one, Stored) for one in results.values()):
                    raise
                # Some are stored, and the caller is to learn which.
                results.update((at, error) for at in waiting)
                break
            failed: KenningError | None = None
            again = []
            for at, result in zip(waiting, answer.body["results"], strict=True):
                if result["status"] == "success":
                    results[at] = Stored.read(result, answer.revision)
                    continue
                refusal = from_answer(result, status=200)
                results[at] = refusal
                if refusal.retryable:
                    failed = refusal
                    again.append(at)
            waiting = again
            if failed is not None:
                try:
                    yield Pause(failed)
                except KenningError:
                    # No time is left: the results say which failed.
                    break
    return [results[at] for at in range(len(named))]


def stats() -> Flow[Stats]:
    answer = yield Request("GET", "/v1/stats")
    return Stats.read(answer.body)


def import_line(line: Line) -> bytes:
    """The line as it is sent, without its end: with an id, so that it can be sent again."""
    if isinstance(line, Draft):
        return encode(_draft(line if line.id else replace(line, id=new_id())))
    if isinstance(line, Fact):
        members = _given(id=line.id, content=line.content, timestamp=line.timestamp or None)
        return encode({**members, "metadata": line.metadata})
    if isinstance(line, (str, bytes)):
        text = line.encode() if isinstance(line, str) else line
        text = text.strip(b" \t\r\n")
        try:
            value = json.loads(text)
        except ValueError:
            # Not ours to refuse: the server does, with the line's number.
            return text
        if not isinstance(value, dict) or "withheld" in value:
            return text
        has_id = value.get("id") is not None or value.get("fact_id") is not None
        return text if has_id else encode({**value, "fact_id": new_id()})
    members = dict(line)
    if members.get("id") is None and members.get("fact_id") is None:
        members["fact_id"] = new_id()
    return encode(members)


class Parts:
    """Gathers lines into requests."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._bytes = 0

    def add(self, line: Line) -> list[bytes] | None:
        """A full part, before this line is in it; None while there is room."""
        text = import_line(line)
        full = None
        is_full = self._bytes + len(text) > IMPORT_BYTES or len(self._lines) == IMPORT_LINES
        if self._lines and is_full:
            full = self.rest()
        self._lines.append(text)
        self._bytes += len(text) + 1
        return full

    def rest(self) -> list[bytes]:
        lines, self._lines, self._bytes = self._lines, [], 0
        return lines


def import_part(lines: list[bytes], summary: ImportSummary) -> Flow[None]:
    """Sends some lines, goes on behind those that were taken, and adds to `summary`."""
    before = summary.lines
    while lines:
        body = b"".join(line + b"\n" for line in lines)
        request = Request("POST", "/v1/import", content=body, writes=True, tells_progress=True)
        ended: KenningError | None = None
        try:
            answer = yield replace(request, content_type="application/x-ndjson")
            counts = answer.body
            summary.revision = answer.revision or summary.revision
        except KenningError as error:
            if "imported" not in error._body:
                raise _stopped(error, summary) from error
            counts = error._body
            if error.code != "rejected" or counts["last_line"] < len(lines):
                ended = error
        done = counts["last_line"] if ended else len(lines)
        summary.imported += counts["imported"]
        refused = [RefusedLine.read(one, before) for one in counts["errors"]]
        # Those behind the last line are sent again.
        refused = [one for one in refused if one.line <= before + done]
        summary.failed += len(refused) if ended else counts["failed"]
        summary.errors += refused[: REFUSED - len(summary.errors)]
        before += done
        summary.lines = summary.last_line = before
        lines = lines[done:]
        if ended is not None:
            try:
                yield Pause(ended)
            except KenningError as error:
                raise _stopped(error, summary) from error


def _stopped(error: KenningError, summary: ImportSummary) -> ImportFailed:
    stopped = ImportFailed(
        f"the import ended after line {summary.last_line}: {error.message}",
        code=error.code,
        status=error.status,
        retryable=error.retryable,
        blame=error.blame,
        details=error.details,
        request_id=error.request_id,
        retry_after=error.retry_after,
    )
    stopped.summary = summary
    return stopped


def refused(summary: ImportSummary) -> ImportFailed:
    """The error of an import that came to its end without some lines."""
    first = summary.errors[0]
    error = ImportFailed(
        f"{summary.failed} of {summary.lines} lines were refused; the first is line "
        f"{first.line}: {first.error.message}",
        code="rejected",
        status=422,
        blame="caller",
    )
    error.summary = summary
    return error


def withheld(number: int) -> GuestFailed:
    """The error of an export that came to its end without some facts."""
    return GuestFailed(
        f"{number} facts are left out of the export, because an extension returned them spoilt; "
        "reading one of them says what is wrong",
        code="guest_invalid",
        blame="guest",
    )
