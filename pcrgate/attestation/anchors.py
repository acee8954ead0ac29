"""Pin the roots: a document's first certificate must hash to one of these, and is then the anchor.

Spec: facts checklist 10; Enclaves User Guide, "Verifying the root of trust"; EC2 User Guide for GovCloud.
"""

from dataclasses import dataclass
from typing import Final, Self

from pcrgate.errors import ErrorCode, UsageError

FINGERPRINT_BYTES: Final = 32
"""Length of a root fingerprint: SHA-256 over the DER certificate."""

ROOTS_MAX: Final = 16
"""Most roots in one set: there is one a partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """Hold the fingerprints of the roots a caller trusts; never empty, never changed after.

    Attributes:
        fingerprints: SHA-256 over each root's DER certificate, 32 bytes.
    """

    fingerprints: frozenset[bytes]

    def __post_init__(self) -> None:
        if not 1 <= len(self.fingerprints) <= ROOTS_MAX:
            raise UsageError(ErrorCode.USAGE_POLICY, f"1 to {ROOTS_MAX} roots must be pinned")
        if any(type(entry) is not bytes or len(entry) != FINGERPRINT_BYTES for entry in self.fingerprints):
            raise UsageError(ErrorCode.USAGE_POLICY, f"a root fingerprint has {FINGERPRINT_BYTES} bytes (SHA-256)")

    @classmethod
    def pinned(cls, *fingerprints: bytes) -> Self:
        """Return the set of exactly these roots.

        Raises:
            UsageError: ``usage-policy`` for none, too many, or one of another length.
        """
        return cls(fingerprints=frozenset(fingerprints))


AWS_COMMERCIAL_G1: Final = bytes.fromhex("641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b")
"""Root of the partition aws, 2019 to 2049. The hash AWS prints (8cf60e2b...) is the ZIP's, not the certificate's."""

AWS_GOVCLOUD: Final = bytes.fromhex("20bcd30a3e168ea03789e1c45912bc123c4de3c977b8a6e1c125c7929d668b3b")
"""Root of the partition aws-us-gov, 2020 to 2050."""

AWS_ROOTS: Final = Roots.pinned(AWS_COMMERCIAL_G1, AWS_GOVCLOUD)
"""Every root AWS has published. No root of the China partition is known."""
