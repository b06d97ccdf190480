"""The revision that a client's reads wait for."""

from __future__ import annotations

import threading

from ._flows import Request
from .errors import KenningError

_POINTER = "/headers/x-kenning-min-revision"


class Revision:
    """The last revision that a client has written; threads may share it."""

    def __init__(self, is_sent: bool) -> None:
        self.last: int | None = None
        self._is_sent = is_sent
        self._lock = threading.Lock()

    def see(self, revision: int | None) -> None:
        if revision is None:
            return
        with self._lock:
            if self.last is None or revision > self.last:
                self.last = revision

    def wanted(self, request: Request) -> int | None:
        """What the request is to wait for."""
        if not request.reads:
            return None
        own = self.last if self._is_sent else None
        named = request.min_revision
        return max((one for one in (own, named) if one is not None), default=None)

    def correct(self, error: KenningError) -> None:
        """After the tenant was deleted or restored, its revisions began anew: no read can see
        one that is no longer there."""
        details = error.details
        if details.get("pointer") != _POINTER:
            return
        stored = details.get("stored")
        with self._lock:
            if isinstance(stored, int) and self.last is not None and stored < self.last:
                self.last = stored
