"""What both clients read from the wire: answers, lines and events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from ._flows import Answer, Request
from .errors import ConnectionFailed, KenningError, Timeout, UnexpectedAnswer, from_answer
from .types import Change, Fact

# A stream that is silent for longer has broken: the server says something every 15 seconds.
STREAM_SILENCE = 60.0


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None


def read_answer(
    status: int, headers: Mapping[str, str], content: bytes, *, writes: bool = False
) -> Answer:
    """An answer of a server.

    Raises:
        KenningError: It is an error, or not a server's.
    """
    try:
        body: Any = json.loads(content)
    except ValueError:
        body = None
    if 200 <= status < 300 and body is not None:
        return Answer(body, _number(headers.get("x-kenning-revision")) if writes else None)
    raise error_of(status, headers, body)


def error_of(status: int, headers: Mapping[str, str], body: Any) -> KenningError:
    return from_answer(
        body,
        status=status,
        request_id=headers.get("x-request-id"),
        retry_after=_seconds(headers.get("retry-after")),
    )


def failure(error: httpx.TransportError, request: Request, timed_out: Timeout) -> KenningError:
    """What a failed exchange means to the caller."""
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return ConnectionFailed(
            f"the server cannot be reached: {error or type(error).__name__}; start one with "
            "`kenning serve`, or name another with base_url or KENNING_SERVER",
            code="connection_failed",
            retryable=True,
        )
    if isinstance(error, httpx.PoolTimeout):
        return Timeout(
            "all connections of this client were busy until the deadline; "
            "raise `connections`, or make fewer calls at once",
            code="timeout",
            retryable=True,
            blame="caller",
        )
    if isinstance(error, httpx.TimeoutException):
        return timed_out
    return ConnectionFailed(
        f"the connection broke before the answer: {error or type(error).__name__}",
        code="connection_failed",
        retryable=True,
        details={"outcome": "unknown"} if request.writes else None,
    )


def broke_off(what: str, error: Exception) -> ConnectionFailed:
    return ConnectionFailed(
        f"{what} broke off, and what was read is not all: {error or type(error).__name__}",
        code="connection_failed",
        retryable=True,
    )


class Lines:
    """Splits pieces of bytes into lines. Only a line feed ends one."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> Iterator[bytes]:
        first, *others = piece.split(b"\n")
        self._pieces.append(first)
        for other in others:
            yield b"".join(self._pieces)
            self._pieces = [other]

    def rest(self) -> bytes:
        """What stands behind the last line feed."""
        return b"".join(self._pieces)


def read_export_line(line: bytes) -> Fact | int:
    """A fact; or how many facts were withheld.

    Raises:
        UnexpectedAnswer: It is neither.
    """
    try:
        body = json.loads(line)
        return int(body["withheld"]) if "withheld" in body else Fact.read(body)
    except (ValueError, KeyError, TypeError) as error:
        raise UnexpectedAnswer(
            f"a line of the export is no fact: {line[:80]!r}", code="unexpected_answer"
        ) from error


class Events:
    """Reads changes from the lines of server-sent events."""

    def __init__(self, position: int | None) -> None:
        self.position = position
        self._data: list[str] = []
        self._id = position

    def add(self, line: bytes) -> Change | None:
        """The change that this line ends, if it does. `position` is kept up."""
        text = line.decode("utf-8", "replace").rstrip("\r")
        if not text:
            # Only its end makes an event, and its id the position.
            self.position = self._id
            data, self._data = "\n".join(self._data), []
            return self._read(data) if data else None
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id" and value.isdecimal():
            self._id = int(value)
        return None

    def forget_partial(self) -> None:
        """After the connection broke: an event without its end never was."""
        self._data, self._id = [], self.position

    def _read(self, data: str) -> Change | None:
        try:
            body = json.loads(data)
            kind = body["kind"]
            if kind == "gap":
                return Change(kind, body["to"], after=body["from"])
            if kind in ("stored", "changed", "deleted"):
                return Change(kind, body["revision"], body["id"])
        except (ValueError, KeyError, TypeError) as error:
            raise UnexpectedAnswer(
                f"an event is no change: {data[:80]!r}", code="unexpected_answer"
            ) from error
        # A kind of change that a later server has.
        return None
