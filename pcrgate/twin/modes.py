"""The behaviour that can be changed while the twin runs: replay, propagation, throttling, outages, latency."""

import dataclasses
import hashlib
import threading
import time
from collections.abc import Callable
from typing import Final

from pcrgate.twin.faults import DroppedConnectionError, FaultCode, FrontDoorError
from pcrgate.twin.settings import ModeSettings, Outage, OutageKind, ReplayMode, Throttle

MAX_REMEMBERED_DOCUMENTS: Final = 100_000
"""Documents remembered for replay detection; the oldest go first. 32 bytes and a time each, so some 15 MB at most."""

MAX_LATENCY_MS: Final = 60_000
"""Longest injected latency: a minute, botocore's own read timeout, so more shows nothing new."""

_OUTAGE_FAULTS: Final = {
    OutageKind.INTERNAL: (
        FaultCode.INTERNAL,
        "The request was rejected because an internal exception occurred. The request can be retried.",
    ),
    OutageKind.DEPENDENCY_TIMEOUT: (
        FaultCode.DEPENDENCY_TIMEOUT,
        "The system timed out while trying to fulfill the request. You can retry the request.",
    ),
}


class Modes:
    """Hold the settings in force and the little memory that they need; safe to share between threads."""

    def __init__(
        self, settings: ModeSettings, *, clock_ms: Callable[[], int], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._lock = threading.Lock()
        self._settings = settings
        self._clock_ms = clock_ms
        self._sleep = sleep
        self._buckets: dict[tuple[str, str], tuple[float, int]] = {}
        self._seen: dict[bytes, int] = {}

    @property
    def settings(self) -> ModeSettings:
        """The settings in force."""
        with self._lock:
            return self._settings

    def change(self, settings: ModeSettings) -> None:
        """Put other settings in force; quotas start with full buckets, seen documents stay remembered."""
        with self._lock:
            self._settings = settings
            self._buckets.clear()

    def before(self, operation: str) -> None:
        """Inject latency, then an outage if one is in force.

        Raises:
            FrontDoorError: ``KMSInternalException`` or ``DependencyTimeoutException``.
            DroppedConnectionError: the connection is to end without an answer.
        """
        settings = self.settings
        if settings.latency_ms:
            self._sleep(min(settings.latency_ms, MAX_LATENCY_MS) / 1000)
        kind = self._take_outage(operation)
        if kind is OutageKind.DROP:
            raise DroppedConnectionError
        if kind is not None:
            raise FrontDoorError(*_OUTAGE_FAULTS[kind])

    def charge(self, account: str, region: str) -> None:
        """Take one request from the account's quota in the Region.

        Raises:
            FrontDoorError: ``ThrottlingException`` when the bucket is empty.
        """
        with self._lock:
            throttle = self._settings.throttle
            if throttle is None:
                return
            level = self._refill(throttle, (account, region))
            now_ms = self._clock_ms()
            if level < 1:
                self._buckets[account, region] = (level, now_ms)
                message = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
                raise FrontDoorError(FaultCode.THROTTLING, message)
            self._buckets[account, region] = (level - 1, now_ms)

    def admit_document(self, document: bytes) -> None:
        """Remember a verified document; refuse it when it came before and replays are refused.

        Raises:
            FrontDoorError: ``ValidationException`` in the mode :attr:`ReplayMode.REFUSED`.
        """
        digest = hashlib.sha256(document).digest()
        with self._lock:
            seen = digest in self._seen
            self._seen[digest] = self._clock_ms()
            while len(self._seen) > MAX_REMEMBERED_DOCUMENTS:
                del self._seen[next(iter(self._seen))]
            if seen and self._settings.replay is ReplayMode.REFUSED:
                raise FrontDoorError(FaultCode.VALIDATION, "The attestation document has been used before.")

    def _take_outage(self, operation: str) -> OutageKind | None:
        with self._lock:
            outage = self._settings.outage
            if outage is None or (outage.operations and operation not in outage.operations):
                return None
            if outage.remaining is not None:
                left: Outage | None = dataclasses.replace(outage, remaining=outage.remaining - 1)
                self._settings = dataclasses.replace(self._settings, outage=left if outage.remaining > 1 else None)
            return outage.kind

    def _refill(self, throttle: Throttle, bucket: tuple[str, str]) -> float:
        now_ms = self._clock_ms()
        level, at_ms = self._buckets.get(bucket, (float(throttle.burst), now_ms))
        return min(float(throttle.burst), level + (now_ms - at_ms) / 1000 * throttle.rate_per_s)
