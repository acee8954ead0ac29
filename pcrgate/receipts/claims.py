"""Say what a receipt says: every field under the label of how the enclave came to know it.

Spec: docs/protocol.md, "Receipts"; RFC 8392, 3.1 and RFC 9711, 4 for registered claims.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from pcrgate.envelope.session_identity import BOOT_ID_BYTES
from pcrgate.envelope.session_messages import SESSION_ID_BYTES
from pcrgate.errors import ErrorCode, UsageError
from pcrgate.units import Sha384

EPOCHS_MAX: Final = 16
"""Most secrets named in one receipt: a workload uses those of its own class, a handful; all fit a receipt."""

NAME_MAX_BYTES: Final = 128
"""Longest name in a receipt, in UTF-8: of an agent, workload, secret, error code or of the host's request."""

NUMBER_MAX: Final = (1 << 53) - 1
"""Largest number in a receipt: what every JSON reader keeps exactly."""


class Decision(Enum):
    """Say what became of a request."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """Hold what the boot's evidence vouches for.

    Attributes:
        boot_id: 32 bytes, in the identity statement that the evidence commits to.
        identity: digest of that statement, the evidence's ``user_data``.
        manifest_digest: SHA-384 of the live manifest, which PCR16 was extended with.
        secret_epochs: epoch of each secret that took part, by its name in that manifest; read-only.
    """

    boot_id: bytes
    identity: Sha384
    manifest_digest: Sha384
    secret_epochs: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        _require(len(self.boot_id) == BOOT_ID_BYTES, f"a boot id has {BOOT_ID_BYTES} bytes")
        _require(len(self.secret_epochs) <= EPOCHS_MAX, f"a receipt names at most {EPOCHS_MAX} secrets")
        for name, epoch in self.secret_epochs.items():
            _require_name(name)
            _require_number(epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Hold what the enclave itself saw, decided or counted.

    Attributes:
        issued_s: the enclave's own time, seconds since the epoch.
        sequence: number of the receipt in its boot; the first is 1.
        previous: SHA-384 of the receipt before it; of the identity statement for the first.
        request_digest: of the request: keyed by its session, or plain SHA-384 of what came when no session opened it.
        result_digest: of the result, keyed likewise; None without one.
        decision: what became of it.
        code: the error code of a refusal; None when accepted.
        agent_id: whose grant key spoke; None when nobody's was verified.
        session_id: 16 bytes; None outside a session.
        workload: which workload was asked; None before that was known.
        policy_hash: SHA-384 of the live key policy as KMS told it; None where it may not be read.
    """

    issued_s: int
    sequence: int
    previous: Sha384
    request_digest: Sha384
    result_digest: Sha384 | None = None
    decision: Decision
    code: str | None = None
    agent_id: str | None = None
    session_id: bytes | None = None
    workload: str | None = None
    policy_hash: Sha384 | None = None

    def __post_init__(self) -> None:
        _require_number(self.issued_s)
        _require_number(self.sequence)
        _require(self.sequence >= 1, "the first receipt has number 1")
        refused = self.decision is Decision.REFUSED
        _require((self.code is not None) == refused, "a refusal has an error code, and nothing else has")
        _require(not refused or self.result_digest is None, "a refusal has no result")
        _require(
            self.session_id is None or len(self.session_id) == SESSION_ID_BYTES,
            f"a session id has {SESSION_ID_BYTES} bytes",
        )
        for name in (self.code, self.agent_id, self.workload):
            if name is not None:
                _require_name(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostClaimed:
    """Hold what the parent said; signed as its claim, true or not.

    Attributes:
        request_id: the parent's name for the request.
        received_ms: when the parent says that it came, milliseconds since the epoch.
    """

    request_id: str | None = None
    received_ms: int | None = None

    def __post_init__(self) -> None:
        if self.request_id is not None:
            _require_name(self.request_id)
        if self.received_ms is not None:
            _require_number(self.received_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Hold everything a receipt says; whether anybody signed it is another matter.

    Attributes:
        attested: what evidence vouches for.
        observed: what the enclave saw.
        host_claimed: what the parent said.
    """

    attested: Attested
    observed: Observed
    host_claimed: HostClaimed = field(default_factory=HostClaimed)


def _require(holds: bool, expectation: str) -> None:
    if not holds:
        raise UsageError(ErrorCode.USAGE_RECEIPT, f"a receipt field cannot be meant: {expectation}")


def _require_name(name: str) -> None:
    fits = type(name) is str and name.isprintable() and 1 <= len(name.encode()) <= NAME_MAX_BYTES
    _require(fits, f"a name has 1 to {NAME_MAX_BYTES} bytes of printable text")


def _require_number(value: int) -> None:
    _require(type(value) is int and 0 <= value <= NUMBER_MAX, f"a number is 0 to {NUMBER_MAX}")
