"""Frame messages between parent and enclave: length, version, type, payload; bounded before anything is allocated.

A frame is six bytes of head (length of the payload as u32, big endian; version; type) and the payload. A connection
carries one request at a time and its answer; whoever wants more at once opens more connections, so no request waits
behind another one's bytes.
Spec: docs/enclave.md, "The wire".
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pcrgate.errors import ErrorCode, WireError

FRAME_VERSION: Final = 1
"""Version of framing and messages between a parent and its enclave; agents never see it."""

HEAD_BYTES: Final = 6
"""Length of a frame's head."""

CONTROL_MAX_BYTES: Final = 64 << 10
"""Longest payload of most messages: a document of 16 KiB, an identity statement and room."""

SEALED_MAX_BYTES: Final = (1 << 20) + (5 << 10)
"""Longest payload with sealed content: a record of 1 MiB, a receipt of 4 KiB, and their map."""

MANIFEST_FRAME_MAX_BYTES: Final = (1 << 20) + (4 << 10)
"""Longest payload with a manifest: 1 MiB, far above any real one, and its frame's fields."""

_HEAD: Final = struct.Struct(">IBB")


class FrameType(IntEnum):
    """Number the messages: below 0x20 the parent asks, from 0x20 the enclave asks, 0x80 marks the answer."""

    STATUS = 0x01
    EVIDENCE = 0x02
    SESSION_OPEN = 0x03
    SESSION_CONFIRM = 0x04
    SESSION_RESUME = 0x05
    SESSION_END = 0x06
    INVOKE = 0x07
    RECEIPTS = 0x08
    DRAIN = 0x09

    BLOB = 0x21
    CREDENTIALS = 0x22
    MANIFEST = 0x23

    STATUS_ANSWER = 0x81
    EVIDENCE_ANSWER = 0x82
    SESSION_OPEN_ANSWER = 0x83
    SESSION_CONFIRM_ANSWER = 0x84
    SESSION_RESUME_ANSWER = 0x85
    SESSION_END_ANSWER = 0x86
    INVOKE_ANSWER = 0x87
    RECEIPTS_ANSWER = 0x88
    DRAIN_ANSWER = 0x89

    BLOB_ANSWER = 0xA1
    CREDENTIALS_ANSWER = 0xA2
    MANIFEST_ANSWER = 0xA3

    PROBLEM = 0xFF


_SEALED: Final = frozenset(
    {
        FrameType.INVOKE,
        FrameType.INVOKE_ANSWER,
        FrameType.RECEIPTS_ANSWER,
    }
)

PAYLOAD_MAX_BYTES: Final = {
    kind: MANIFEST_FRAME_MAX_BYTES
    if kind is FrameType.MANIFEST_ANSWER
    else SEALED_MAX_BYTES
    if kind in _SEALED
    else CONTROL_MAX_BYTES
    for kind in FrameType
}
"""Longest payload of each type, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHead:
    """Hold a head that was checked.

    Attributes:
        kind: what the payload is.
        payload_bytes: its length, within the limit of its type.
    """

    kind: FrameType
    payload_bytes: int


def parse_head(head: bytes) -> FrameHead:
    """Return a frame's head, before its payload is read or memory is reserved for it.

    Args:
        head: exactly 6 bytes.

    Raises:
        WireError: ``wire-frame`` for another length of head, version or type, or a payload beyond the type's limit.
    """
    if len(head) != HEAD_BYTES:
        raise WireError(ErrorCode.WIRE_FRAME, f"a head of {len(head)} bytes, expected {HEAD_BYTES}")
    length, version, number = _HEAD.unpack(head)
    if version != FRAME_VERSION:
        raise WireError(ErrorCode.WIRE_FRAME, f"frame version {version}, expected {FRAME_VERSION}")
    try:
        kind = FrameType(number)
    except ValueError:
        raise WireError(ErrorCode.WIRE_FRAME, f"frame type {number:#04x} is unknown") from None
    if length > PAYLOAD_MAX_BYTES[kind]:
        raise WireError(
            ErrorCode.WIRE_FRAME, f"a payload of {length} bytes, limit {PAYLOAD_MAX_BYTES[kind]} for this type"
        )
    return FrameHead(kind=kind, payload_bytes=length)


def encode_frame(kind: FrameType, payload: bytes) -> bytes:
    """Return head and payload.

    Raises:
        WireError: ``wire-frame`` for a payload beyond the type's limit.
    """
    if len(payload) > PAYLOAD_MAX_BYTES[kind]:
        raise WireError(ErrorCode.WIRE_FRAME, f"a payload of {len(payload)} bytes, limit {PAYLOAD_MAX_BYTES[kind]}")
    return _HEAD.pack(len(payload), FRAME_VERSION, kind) + payload
