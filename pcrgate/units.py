"""Value types: one class a kind of value, checked where it is made, so that bytes never stand for hex."""

import re
from dataclasses import dataclass
from typing import Final, Self

from pcrgate.errors import ErrorCode, UsageError

SHA384_BYTES: Final = 48
"""Length of a PCR value: the NSM's digest is SHA-384. Spec: nsm-api attestation_process.md, 3.1."""

NONCE_MIN_BYTES: Final = 16
"""Shortest nonce we make or expect: 128 bits make a repeat by chance negligible."""

FIELD_MAX_BYTES: Final = 1024
"""Longest public_key, user_data or nonce: what AWS-signed documents carry. Spec: User Guide, CDDL."""

PCR_MAX_INDEX: Final = 31
"""Highest index in a document. Spec: nsm-api attestation_process.md, 3.2.2.2 (key in [0, 32))."""

_KEY_ARN: Final = re.compile(
    r"arn:(aws|aws-us-gov|aws-cn):kms:([a-z]{2}(?:-[a-z]+)+-\d):(\d{12}):key/"
    r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|mrk-[0-9a-f]{32})",
    re.ASCII,  # digits of other scripts would pass for others
)
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*")


def parse_hex(text: str, what: str) -> bytes:
    """Return the bytes of strict hex, upper or lower case, no separators.

    Args:
        text: the hex digits.
        what: what the value is, for the message.

    Raises:
        UsageError: ``usage-hex`` when it is not an even number of hex digits.
    """
    if not _HEX.fullmatch(text):
        raise UsageError(ErrorCode.USAGE_HEX, f"{what} is not hex, expected an even number of hex digits")
    return bytes.fromhex(text)


@dataclass(frozen=True, slots=True)
class Sha384:
    """Hold one SHA-384 digest: a PCR value, or a digest of ours.

    Attributes:
        digest: 48 bytes.
    """

    digest: bytes

    def __post_init__(self) -> None:
        if type(self.digest) is not bytes or len(self.digest) != SHA384_BYTES:
            raise UsageError(ErrorCode.USAGE_DIGEST, f"a SHA-384 value has {SHA384_BYTES} bytes")

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Read 96 hex digits, upper or lower case.

        Raises:
            UsageError: ``usage-hex`` or ``usage-digest``.
        """
        return cls(parse_hex(text, "the SHA-384 value"))

    def hex(self) -> str:
        """Return 96 lower-case hex digits, the form KMS condition keys use."""
        return self.digest.hex()

    @property
    def is_zero(self) -> bool:
        """Whether all 48 bytes are zero, as PCR0 to PCR2 of a debug enclave are."""
        return not any(self.digest)

    def __str__(self) -> str:
        return self.digest.hex()


@dataclass(frozen=True, slots=True)
class PcrIndex:
    """Hold the index of a platform configuration register, 0 to 31."""

    index: int

    def __post_init__(self) -> None:
        if type(self.index) is not int or not 0 <= self.index <= PCR_MAX_INDEX:
            raise UsageError(ErrorCode.USAGE_PCR_INDEX, f"a PCR index is 0 to {PCR_MAX_INDEX}")

    def __str__(self) -> str:
        return f"PCR{self.index}"


@dataclass(frozen=True, slots=True)
class Nonce:
    """Hold a caller's nonce, 16 to 1024 bytes.

    Attributes:
        value: the bytes, as they appear in the document.
    """

    value: bytes

    def __post_init__(self) -> None:
        if type(self.value) is not bytes or not NONCE_MIN_BYTES <= len(self.value) <= FIELD_MAX_BYTES:
            raise UsageError(ErrorCode.USAGE_NONCE, f"a nonce has {NONCE_MIN_BYTES} to {FIELD_MAX_BYTES} bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyArn:
    """Hold a full KMS key ARN: never an alias, never a bare id.

    Attributes:
        partition: ``aws``, ``aws-us-gov`` or ``aws-cn``.
        region: for example ``eu-central-1``.
        account: twelve digits.
        key_id: a UUID, or ``mrk-`` and 32 hex digits for a multi-Region key.
    """

    partition: str
    region: str
    account: str
    key_id: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a full key ARN.

        Raises:
            UsageError: ``usage-key-arn`` for aliases, bare ids and anything else.
        """
        match = _KEY_ARN.fullmatch(text)
        if match is None:
            raise UsageError(ErrorCode.USAGE_KEY_ARN, "not a full KMS key ARN (arn:aws:kms:REGION:ACCOUNT:key/ID)")
        partition, region, account, key_id = match.groups()
        return cls(partition=partition, region=region, account=account, key_id=key_id)

    @property
    def is_multi_region(self) -> bool:
        """Whether replicas of the key may exist in other Regions, each with its own policy."""
        return self.key_id.startswith("mrk-")

    def __str__(self) -> str:
        return f"arn:{self.partition}:kms:{self.region}:{self.account}:key/{self.key_id}"
