"""Take the header off sealed weights: measured against the manifest before KMS is asked, then opened by the stock SDK.

Our part finds the header's end, with bounds, and compares its digest. Meaning is the SDK's part, behind a seam
(``pcrgate.kms.weights_key``): it has the data key unwrapped, checks the key commitment and authenticates the header.
From there on frames are ours (``weights_frames``).
Spec: AWS Encryption SDK message format, header version 2.
"""

import hashlib
import hmac
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pcrgate.errors import ErrorCode, ReleaseError
from pcrgate.units import Sha384

HEADER_MAX_BYTES: Final = 16_384
"""Longest header: KMS takes 8 KiB of context, and a wrapped data key has a few hundred bytes."""

DATA_KEYS_MAX: Final = 4
"""Most encrypted data keys in one header: ours have one; a message may be sealed for a second Region."""

FRAME_MIN_BYTES: Final = 1024
"""Shortest frame: below it the work for each frame outweighs its bytes. The SDK's default is 4096."""

FRAME_MAX_BYTES: Final = 16 << 20
"""Longest frame: those in flight stay within the memory that loading may take beside the plaintext."""

SUITE: Final = 0x0478
"""AES-256-GCM, HKDF-SHA-512, key commitment, no signature: a signature in a trailer would only be checked at the end,
and the manifest is signed. Spec: AWS Encryption SDK algorithm suites reference."""

_VERSION: Final = 2
_MESSAGE_ID_BYTES: Final = 32
_COMMITMENT_BYTES: Final = 32
_TAG_BYTES: Final = 16
_FRAMED: Final = 2

Take = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedHeader:
    """Hold what stands in a header before anything of it is authenticated.

    Attributes:
        raw: the header and its authentication tag, as they stand in the message.
        frame_bytes: plaintext length of every frame but the last.
        message_id: 32 bytes.
    """

    raw: bytes
    frame_bytes: int
    message_id: bytes

    @property
    def sha384(self) -> Sha384:
        """The digest that a manifest signs: SHA-384 over ``raw``."""
        return Sha384(hashlib.sha384(self.raw).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameKey:
    """Hold what opens the frames of one message.

    Attributes:
        cipher: AES-256-GCM under the message's derived key.
        message_id: 32 bytes, in every frame's associated data.
        frame_bytes: plaintext length of every frame but the last.
    """

    cipher: AESGCM
    message_id: bytes
    frame_bytes: int

    def __repr__(self) -> str:
        return f"FrameKey(message_id={self.message_id.hex()}, frame_bytes={self.frame_bytes})"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedHeader:
    """Hold what the SDK found in a header after it unwrapped, committed and authenticated.

    Attributes:
        derived_key: 32 bytes, the key of the frames; hidden.
        encryption_context: what the header carries.
    """

    derived_key: bytes = field(repr=False)
    encryption_context: Mapping[str, str]


class HeaderOpener(Protocol):
    """Have a header's data key released, check its commitment, authenticate the header."""

    def open_header(self, raw: bytes) -> OpenedHeader:
        """Return what the frames open with.

        Args:
            raw: the header and its authentication tag.

        Raises:
            ReleaseError: ``weights-header``, or whatever the attested client refuses with.
        """
        ...


def parse_header(take: Take) -> UnverifiedHeader:
    """Return the header, taking exactly its bytes.

    Args:
        take: returns the next so many bytes, or raises.

    Raises:
        ReleaseError: ``weights-header`` for another version, suite or content type, or lengths out of bounds.
    """
    raw = bytearray()

    def next_bytes(length: int) -> bytes:
        if len(raw) + length > HEADER_MAX_BYTES:
            raise _refused(f"the header is longer than {HEADER_MAX_BYTES} bytes")
        piece = take(length)
        raw.extend(piece)
        return piece

    def next_number(layout: str) -> int:
        return int(struct.unpack(layout, next_bytes(struct.calcsize(layout)))[0])

    # 1. Version and suite decide how the rest reads.
    if next_number(">B") != _VERSION:
        raise _refused("the message is not of format version 2, which key commitment needs")
    if next_number(">H") != SUITE:
        raise _refused("the algorithm suite is not the unsigned committing one (0478)")
    # 2. Message id, encryption context, encrypted data keys: lengths only.
    message_id = next_bytes(_MESSAGE_ID_BYTES)
    next_bytes(next_number(">H"))
    data_keys = next_number(">H")
    if not 1 <= data_keys <= DATA_KEYS_MAX:
        raise _refused(f"the header has {data_keys} encrypted data keys, expected 1 to {DATA_KEYS_MAX}")
    for _ in range(3 * data_keys):  # provider id, provider information, encrypted data key
        next_bytes(next_number(">H"))
    # 3. Frames of a bounded length.
    if next_number(">B") != _FRAMED:
        raise _refused("the content is not framed, expected frames")
    frame_bytes = next_number(">I")
    if not FRAME_MIN_BYTES <= frame_bytes <= FRAME_MAX_BYTES:
        raise _refused(f"frames of {frame_bytes} bytes, expected {FRAME_MIN_BYTES} to {FRAME_MAX_BYTES}")
    # 4. Commitment and authentication tag.
    next_bytes(_COMMITMENT_BYTES + _TAG_BYTES)
    return UnverifiedHeader(raw=bytes(raw), frame_bytes=frame_bytes, message_id=message_id)


def open_header(
    header: UnverifiedHeader, *, expected: Sha384, encryption_context: Mapping[str, str], opener: HeaderOpener
) -> FrameKey:
    """Return what opens the frames, after the manifest's digest, KMS and the SDK agreed.

    Args:
        header: as parsed.
        expected: SHA-384 of the header, from the manifest; compared before KMS is asked.
        encryption_context: exactly what the header must carry.
        opener: the SDK on an attested client.

    Raises:
        ReleaseError: ``weights-digest`` for another header, ``weights-header`` when no data key fits or the header
            is not authentic; whatever the attested client refuses with.
    """
    if not hmac.compare_digest(header.sha384.digest, expected.digest):
        raise ReleaseError(ErrorCode.WEIGHTS_DIGEST, "the header is not the one that was signed for")
    opened = opener.open_header(header.raw)
    if opened.encryption_context != dict(encryption_context):
        raise _refused("the encryption context is another than the manifest's")
    return FrameKey(cipher=AESGCM(opened.derived_key), message_id=header.message_id, frame_bytes=header.frame_bytes)


def _refused(fact: str) -> ReleaseError:
    return ReleaseError(ErrorCode.WEIGHTS_HEADER, fact)
