"""What can go wrong, as exceptions.

Every one is a `KenningError` with the members of the server's errors. Which class it is follows
from its `code`, so that callers catch what they can handle:

    try:
        fact = kb.get("mia-pets")
    except NotFound:
        ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class KenningError(Exception):
    """A call that failed.

    Attributes:
        code: For programs, such as `not_found`. `connection_failed` and `unexpected_answer` are
            this client's own; all others are the server's.
        message: For people: what is wrong and what to do.
        status: The HTTP status; 0 if there was no answer.
        retryable: Whether the same request may succeed later.
        blame: Who caused it: `caller`, `guest`, `backend` or `host`.
        details: What the server says besides, such as `pointer`, `limit` or `outcome`.
        request_id: The request's name in the server's log, or None.
        retry_after: Seconds that the server asks to wait, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int = 0,
        retryable: bool = False,
        blame: str = "host",
        details: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.retryable = retryable
        self.blame = blame
        self.details: dict[str, Any] = dict(details or {})
        self.request_id = request_id
        self.retry_after = retry_after
        # The whole answer: that of an import has counts, too.
        self._body: Mapping[str, Any] = {}

    def __str__(self) -> str:
        named = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.code}: {self.message}{named}"

    @property
    def may_have_happened(self) -> bool:
        """Whether a write may have been done although it failed."""
        return self.details.get("outcome") == "unknown"


class InvalidRequest(KenningError):
    """The request is malformed; `details["pointer"]` is a JSON pointer to the place."""


class InvalidFilter(InvalidRequest):
    """The filter is malformed."""


class Unauthorized(KenningError):
    """The key is missing or unknown."""


class Forbidden(KenningError):
    """The key does not allow this."""


class NotFound(KenningError):
    """There is no such fact, tenant or import."""


class Conflict(KenningError):
    """The id or the idempotency key exists with other content."""


class DimensionMismatch(Conflict):
    """Vectors of two models met, or a vector has the wrong length."""


class TooLarge(KenningError):
    """The request exceeds a size limit, which `details` names."""


class Rejected(KenningError):
    """An extension of the tenant refused the fact or the query."""


class QuotaExceeded(KenningError):
    """The tenant has used up a quota."""


class Overloaded(KenningError):
    """The server is overloaded or stopping."""


class GuestFailed(KenningError):
    """The logic or an extension failed, or reached one of its limits."""


class StorageUnavailable(KenningError):
    """Storage refused or cannot be reached; nothing was changed."""


class StorageFull(KenningError):
    """The disk or the storage's own limit is full; nothing was changed."""


class EmbeddingUnavailable(KenningError):
    """The embedder refused or cannot be reached."""


class Timeout(KenningError, TimeoutError):
    """The deadline passed, here or in the server. See `may_have_happened` for writes."""


class ConnectionFailed(KenningError, ConnectionError):
    """The server cannot be reached, or the connection broke before its answer."""


class ImportFailed(KenningError):
    """An import of which not every line was taken, or that ended early.

    What was taken is stored. `summary` (an `ImportSummary`) says how much that is, which lines
    were refused and why, and after which line to continue.
    """

    summary: Any


class UnexpectedAnswer(KenningError):
    """Something answered that is not a Kenning server, or of a version that is too different."""


_BY_CODE: dict[str, type[KenningError]] = {
    "invalid_request": InvalidRequest,
    "invalid_filter": InvalidFilter,
    "unauthorized": Unauthorized,
    "forbidden": Forbidden,
    "not_found": NotFound,
    "conflict": Conflict,
    "dimension_mismatch": DimensionMismatch,
    "too_large": TooLarge,
    "rejected": Rejected,
    "quota_exceeded": QuotaExceeded,
    "overloaded": Overloaded,
    "guest_trapped": GuestFailed,
    "guest_out_of_fuel": GuestFailed,
    "guest_out_of_memory": GuestFailed,
    "guest_limit": GuestFailed,
    "guest_invalid": GuestFailed,
    "storage_unavailable": StorageUnavailable,
    "storage_full": StorageFull,
    "embedding_unavailable": EmbeddingUnavailable,
    "timeout": Timeout,
}


def from_answer(
    body: Any,
    *,
    status: int,
    request_id: str | None = None,
    retry_after: float | None = None,
) -> KenningError:
    """The exception for an error's body: the JSON value, or None if it is no JSON."""
    if not isinstance(body, dict) or not isinstance(body.get("code"), str):
        return UnexpectedAnswer(
            f"the answer with status {status} is not one of a Kenning server; "
            "check the server's address, and what is between it and this program",
            code="unexpected_answer",
            status=status,
            # What stands in front of a server that restarts.
            retryable=status in (502, 503, 504),
            request_id=request_id,
            retry_after=retry_after,
        )
    code = body["code"]
    details = body.get("details")
    error = _BY_CODE.get(code, KenningError)(
        str(body.get("message", "")),
        code=code,
        status=status,
        retryable=bool(body.get("retryable", False)),
        blame=str(body.get("blame", "host")),
        details=details if isinstance(details, dict) else None,
        request_id=request_id,
        retry_after=retry_after,
    )
    error._body = body
    return error
