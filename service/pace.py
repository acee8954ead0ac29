"""Measure how long work takes, and say to whoever is sent away when to come again.

Callers that are told the same second come back together and are sent away together; so what they are told is spread.
"""

import math
import secrets
from typing import Final

from pcrgate.errors import ErrorCode, ServiceError

RETRY_LEAST_S: Final = 1
"""Shortest Retry-After: the header has whole seconds, and 0 would ask for a loop."""

RETRY_MOST_S: Final = 10
"""Longest Retry-After of a service that is busy: what our own client waits for, instead of giving up."""

RETRY_UNKNOWN_S: Final = 2.0
"""What is thought to pass where nothing was measured, such as an enclave that is started anew."""

WEIGHT: Final = 1 / 16
"""Share of the newest measurement in the mean: a burst counts after a few, one slow request does not."""

_THOUSAND: Final = 1000


class BusyError(ServiceError):
    """The service has too much to do.

    Attributes:
        retry_after_s: whole seconds until it is worth to come again.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        """Take the fact and when the caller may come again."""
        super().__init__(ErrorCode.SERVICE_BUSY, message)
        self.retry_after_s: Final = retry_after_s


class Pace:
    """Remember how long one of several places is taken. Its methods run on one event loop."""

    def __init__(self, places: int) -> None:
        """Take how many places there are; nothing is measured yet."""
        self._places: Final = places
        self._mean_s: float | None = None

    def took(self, seconds: float) -> None:
        """Count work that held a place for so long."""
        self._mean_s = seconds if self._mean_s is None else self._mean_s + WEIGHT * (seconds - self._mean_s)

    def retry_after_s(self, ahead: int) -> int:
        """Return when to come again: whole seconds from 1 to 10, beginning where those ahead are likely through.

        Args:
            ahead: how many have a place or wait for one.
        """
        return spread_s(RETRY_UNKNOWN_S if self._mean_s is None else (ahead + 1) * self._mean_s / self._places)


def spread_s(expected_s: float) -> int:
    """Return a whole number of seconds from the expected time to about twice that, by chance, within the bounds."""
    later_s = expected_s + (expected_s + 1) * secrets.randbelow(_THOUSAND) / _THOUSAND
    return min(max(math.ceil(later_s), RETRY_LEAST_S), RETRY_MOST_S)
