"""Open frames of an Encryption SDK message straight into place, many at a time, in any order.

Every frame's number, length and kind stand in its associated data, and its IV is its number: a frame opens only where
it belongs, under the one key of its message. Spec: AWS Encryption SDK message format, framed data; body AAD reference.
"""

import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag

from pcrgate.envelope.weights_header import FrameKey
from pcrgate.errors import ErrorCode, ReleaseError

IV_BYTES: Final = 12
TAG_BYTES: Final = 16
REGULAR_OVERHEAD_BYTES: Final = 4 + IV_BYTES + TAG_BYTES
"""What a frame adds to its plaintext: sequence number, IV, tag."""

FINAL_OVERHEAD_BYTES: Final = 4 + REGULAR_OVERHEAD_BYTES + 4
"""What the final frame adds: also its marker and its length."""

FINAL_MARKER: Final = 0xFFFF_FFFF
"""Stands where a sequence number would, before the final frame."""

FRAMES_MAX: Final = FINAL_MARKER - 1
"""Most frames in a message. Spec: AWS Encryption SDK message format, sequence number."""

_REGULAR_LABEL: Final = b"AWSKMSEncryptionClient Frame"
_FINAL_LABEL: Final = b"AWSKMSEncryptionClient Final Frame"
_REGULAR_HEAD: Final = struct.Struct(">I12s")
_FINAL_HEAD: Final = struct.Struct(">II12sI")
_NUMBERS: Final = struct.Struct(">IQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Say where frames lie, as plaintext length and frame length determine it.

    Attributes:
        plaintext_bytes: of the whole message, at least 1.
        frame_bytes: of every frame but the last.
    """

    plaintext_bytes: int
    frame_bytes: int

    @property
    def regular_frames(self) -> int:
        """How many frames surely are regular ones: all with plaintext after them."""
        return (self.plaintext_bytes - 1) // self.frame_bytes

    @property
    def stored_frame_bytes(self) -> int:
        """Length of a regular frame in the message."""
        return self.frame_bytes + REGULAR_OVERHEAD_BYTES

    @property
    def tail_plaintext_bytes(self) -> int:
        """Plaintext after the regular frames: 1 to ``frame_bytes``."""
        return self.plaintext_bytes - self.regular_frames * self.frame_bytes

    @property
    def tail_bytes(self) -> int:
        """Length of the message after the regular frames, when the final frame carries the tail."""
        return self.tail_plaintext_bytes + FINAL_OVERHEAD_BYTES

    @property
    def empty_final_bytes(self) -> int:
        """What follows the tail when the SDK closed a full last frame with an empty final one."""
        return REGULAR_OVERHEAD_BYTES

    def require_representable(self) -> None:
        """Refuse a length that needs more frames than sequence numbers.

        Raises:
            ReleaseError: ``weights-size``.
        """
        if self.plaintext_bytes < 1 or self.regular_frames + 2 > FRAMES_MAX:
            raise ReleaseError(ErrorCode.WEIGHTS_SIZE, "the plaintext length cannot be framed, expected 1 byte or more")


def open_regular_frames(key: FrameKey, first: int, stored: memoryview, plaintext: memoryview) -> bytes:
    """Decrypt consecutive regular frames into place and return their tags.

    Args:
        key: of the message.
        first: sequence number of the first frame, from 1.
        stored: whole frames as they lie in the message.
        plaintext: exactly as many bytes as they hold; garbage after a failure, so wipe it.

    Raises:
        ReleaseError: ``weights-frame`` when a frame is not the one that belongs here.
    """
    decrypt_into, length = key.cipher.decrypt_into, key.frame_bytes
    step = length + REGULAR_OVERHEAD_BYTES
    label = key.message_id + _REGULAR_LABEL
    tags = bytearray()
    for index in range(len(stored) // step):
        number, at, out = first + index, index * step, index * length
        head = _REGULAR_HEAD.pack(number, number.to_bytes(IV_BYTES, "big"))
        if stored[at : at + len(head)] != head:
            raise _refused(number)
        body = stored[at + len(head) : at + step]
        iv, aad = head[-IV_BYTES:], label + _NUMBERS.pack(number, length)
        try:
            decrypt_into(iv, body, aad, plaintext[out : out + length])
        except InvalidTag:
            raise _refused(number) from None
        tags += body[-TAG_BYTES:]
    return bytes(tags)


def is_final(stored: memoryview) -> bool:
    """Whether these bytes, at least 4, begin a final frame."""
    return int.from_bytes(stored[:4], "big") == FINAL_MARKER


def open_final_frame(key: FrameKey, number: int, stored: memoryview, plaintext: memoryview) -> bytes:
    """Decrypt the final frame into place and return its tag.

    Args:
        key: of the message.
        number: sequence number it must have.
        stored: exactly the frame.
        plaintext: exactly what it must hold, perhaps nothing; garbage after a failure.

    Raises:
        ReleaseError: ``weights-frame`` when it is not the final frame that belongs here.
    """
    marker, said, iv, length = _FINAL_HEAD.unpack_from(stored, 0)
    if (marker, said, int.from_bytes(iv, "big"), length) != (FINAL_MARKER, number, number, len(plaintext)):
        raise _refused(number)
    body = stored[_FINAL_HEAD.size :]
    aad = key.message_id + _FINAL_LABEL + _NUMBERS.pack(number, length)
    try:
        if length:
            key.cipher.decrypt_into(iv, body, aad, plaintext)
        else:
            key.cipher.decrypt(iv, body, aad)
    except InvalidTag:
        raise _refused(number) from None
    return bytes(body[-TAG_BYTES:])


def _refused(number: int) -> ReleaseError:
    return ReleaseError(ErrorCode.WEIGHTS_FRAME, f"frame {number} is not the one that belongs there")
