"""Know in which phase the enclave is: what may follow, what is answered meanwhile, and that failure is the end."""

import threading
from enum import Enum
from typing import Final

from pcrgate.errors import ErrorCode, PcrgateError
from pcrgate.wire.frames import FrameType


class Phase(Enum):
    """Name the phases of one boot."""

    BOOTING = "booting"
    ATTESTED = "attested"
    RELEASING = "releasing"
    LIVE = "live"
    DRAINING = "draining"
    FAILED = "failed"


FOLLOWS: Final = {
    Phase.BOOTING: frozenset({Phase.ATTESTED, Phase.FAILED}),
    Phase.ATTESTED: frozenset({Phase.RELEASING, Phase.FAILED}),
    Phase.RELEASING: frozenset({Phase.LIVE, Phase.FAILED}),
    Phase.LIVE: frozenset({Phase.DRAINING, Phase.FAILED}),
    Phase.DRAINING: frozenset({Phase.FAILED}),
    Phase.FAILED: frozenset[Phase](),
}
"""Which phases may follow each. Nothing leads back: a new manifest, or another try, is a new boot."""

_ALWAYS: Final = frozenset({FrameType.STATUS})
_ATTESTED: Final = _ALWAYS | {FrameType.EVIDENCE, FrameType.RECEIPTS}

ANSWERED: Final = {
    Phase.BOOTING: _ALWAYS,
    Phase.ATTESTED: _ATTESTED,
    Phase.RELEASING: _ATTESTED,
    Phase.LIVE: _ATTESTED
    | {
        FrameType.SESSION_OPEN,
        FrameType.SESSION_CONFIRM,
        FrameType.SESSION_RESUME,
        FrameType.SESSION_END,
        FrameType.INVOKE,
        FrameType.DRAIN,
    },
    Phase.DRAINING: _ATTESTED | {FrameType.SESSION_CONFIRM, FrameType.SESSION_END, FrameType.INVOKE, FrameType.DRAIN},
    Phase.FAILED: _ALWAYS,
}
"""Which requests are answered in each phase; all others are refused with ``enclave-phase``."""


class PhaseMachine:
    """Hold the phase of one boot. Safe to share between threads.

    Attributes:
        failure: code of the error that ended the boot; None before.
    """

    def __init__(self) -> None:
        """Begin to boot."""
        self._lock: Final = threading.Lock()
        self._phase = Phase.BOOTING
        self.failure: ErrorCode | None = None

    @property
    def phase(self) -> Phase:
        """The current phase."""
        with self._lock:
            return self._phase

    def advance(self, phase: Phase) -> None:
        """Enter a phase that may follow.

        Raises:
            PcrgateError: ``enclave-phase`` when it may not, and for failure, which has ``fail``.
        """
        with self._lock:
            if phase not in FOLLOWS[self._phase] or phase is Phase.FAILED:
                raise PcrgateError(
                    ErrorCode.ENCLAVE_PHASE, f"{phase.value} cannot follow {self._phase.value} by itself"
                )
            self._phase = phase

    def fail(self, code: ErrorCode) -> None:
        """Enter the last phase; the first failure is the one that is told."""
        with self._lock:
            if self._phase is not Phase.FAILED:
                self._phase = Phase.FAILED
                self.failure = code

    def require(self, request: FrameType) -> None:
        """Refuse a request that is not answered now.

        Raises:
            PcrgateError: ``enclave-phase``.
        """
        phase = self.phase
        if request not in ANSWERED[phase]:
            raise PcrgateError(
                ErrorCode.ENCLAVE_PHASE, f"a {request.name.lower()} while {phase.value}, expected another phase"
            )
