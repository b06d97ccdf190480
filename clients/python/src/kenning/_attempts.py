"""When a call is tried again: within one deadline, and only where that is safe."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from .errors import KenningError, Timeout

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0

# A request this close to the deadline would not be answered.
_LEAST_SHARE = 0.05

# By how much the server's deadline comes before ours, so that its answer arrives.
_GRACE_SHARE = 0.1
_GRACE = 0.25


@dataclass(slots=True)
class Attempts:
    """The attempts of one call. `timeout` is for all of them together, in seconds."""

    timeout: float
    retries: int
    is_in_doubt: bool = False
    _made: int = 0
    _deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.timeout

    def remaining(self) -> float:
        """Seconds until the deadline.

        Raises:
            Timeout: It has passed.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self.timed_out(may_have_happened=self.is_in_doubt)
        return left

    def timed_out(self, *, may_have_happened: bool) -> Timeout:
        return Timeout(
            f"no answer within {self.timeout:g} s",
            code="timeout",
            retryable=True,
            details={"outcome": "unknown"} if may_have_happened else None,
        )

    def server_timeout_ms(self, remaining: float) -> int:
        """The deadline that the server is given."""
        return max(1, int((remaining - min(_GRACE, remaining * _GRACE_SHARE)) * 1000))

    def pause_after(self, error: KenningError, *, is_repeatable: bool) -> float:
        """How long to wait before the next attempt, in seconds.

        Raises:
            KenningError: `error`, if there is to be no further attempt.
        """
        is_safe = is_repeatable or not error.may_have_happened
        if not (error.retryable and is_safe) or self._made >= self.retries:
            raise error
        back_off = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**self._made) * random.uniform(0.5, 1.0)
        pause = max(back_off, error.retry_after or 0.0)
        left = self._deadline - time.monotonic() - pause
        if left < self.timeout * _LEAST_SHARE:
            raise error
        self._made += 1
        self.is_in_doubt = self.is_in_doubt or error.may_have_happened
        return pause
