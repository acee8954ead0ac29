"""Say how long and how far a session may go, and who may have one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from pcrgate.errors import ErrorCode, UsageError

LIFETIME_MAX_S: Final = 86_400
"""Longest session: a day, so that a grant taken out of the manifest does not live on."""

RECORDS_MAX: Final = 1 << 24
"""Most records a direction and key: AES-GCM's margin of 2^-57 is reached near 2^24.5 (RFC 8446, 5.5)."""

BYTES_MAX: Final = 1 << 38
"""Most plaintext bytes a direction and key, 256 GiB: 2^34 blocks, an advantage of 2^-60 in GCM's bound."""

AGENT_ID_MAX_BYTES: Final = 128
"""Longest agent id in UTF-8: a KMS encryption context value has room for it beside the digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """Hold the limits of one session.

    Attributes:
        lifetime_s: seconds from the enclave's answer to the end.
        max_records: records in each direction.
        max_bytes: plaintext bytes in each direction.

    Raises:
        UsageError: ``usage-session`` for a limit below one or above its bound.
    """

    lifetime_s: int = 3_600
    max_records: int = RECORDS_MAX
    max_bytes: int = BYTES_MAX

    def __post_init__(self) -> None:
        bounds = ((self.lifetime_s, LIFETIME_MAX_S), (self.max_records, RECORDS_MAX), (self.max_bytes, BYTES_MAX))
        if any(type(value) is not int or not 1 <= value <= bound for value, bound in bounds):
            raise UsageError(
                ErrorCode.USAGE_SESSION,
                f"a session limit is out of range, expected 1 to {LIFETIME_MAX_S} s, {RECORDS_MAX} records, "
                f"{BYTES_MAX} bytes",
            )

    def within(self, other: Self) -> Self:
        """Return the smaller of each limit."""
        return type(self)(
            lifetime_s=min(self.lifetime_s, other.lifetime_s),
            max_records=min(self.max_records, other.max_records),
            max_bytes=min(self.max_bytes, other.max_bytes),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionGrant:
    """Hold what the manifest says of an agent, as far as a session needs it.

    Attributes:
        agent_id: the agent's name in the manifest.
        public_key: raw Ed25519 public key of its grant key, 32 bytes.
        expires_ms: first millisecond since the epoch at which the grant no longer counts.
        limits: the most it may ask for.
    """

    agent_id: str
    public_key: bytes
    expires_ms: int
    limits: SessionLimits


GrantLookup = Callable[[str], SessionGrant | None]
"""Returns the grant of the agent with this id in the live manifest, or None."""
