"""Write the fields of session messages so that they have one reading: every field with its length in front.

A message is its label and its fields, each as a length of four bytes, big endian, and the bytes. The label comes
first, so the same bytes serve as message, as what is hashed, and as what is signed: no two messages, and no two lists
of fields, have the same encoding. None of them starts like CBOR of ours, which begins with a map or array of some
entries: the first byte here is always zero.

Spec: docs/protocol.md, "Fields and labels".
"""

import hashlib
from typing import Final

from pcrgate.errors import ErrorCode, SessionError
from pcrgate.units import Sha384

LENGTH_BYTES: Final = 4
"""Width of the length in front of every field."""

NUMBER_BYTES: Final = 8
"""Width of a number in a field: unsigned, big endian, no shorter form."""

NUMBER_MAX: Final = (1 << 63) - 1
"""Largest number in a field: what a signed 64-bit integer of any language holds."""

MESSAGE_MAX_BYTES: Final = 24_576
"""Longest handshake message or ticket: a wrapped blob of 6144 bytes and two hybrid keys fit twice over. The wire
carries as much, and hello and ticket together in one frame."""


def pack(label: bytes, *fields: bytes | int) -> bytes:
    """Return the label and the fields, each with its length in front; numbers take eight bytes.

    Raises:
        SessionError: ``session-message`` for a number out of range.
    """
    parts = [len(label).to_bytes(LENGTH_BYTES, "big"), label]
    for field in fields:
        if isinstance(field, int):
            if not 0 <= field <= NUMBER_MAX:
                raise SessionError(ErrorCode.SESSION_MESSAGE, f"a number is outside its range, 0 to {NUMBER_MAX}")
            parts += [NUMBER_BYTES.to_bytes(LENGTH_BYTES, "big"), field.to_bytes(NUMBER_BYTES, "big")]
        else:
            parts += [len(field).to_bytes(LENGTH_BYTES, "big"), field]
    return b"".join(parts)


def unpack(data: bytes, label: bytes, count: int) -> tuple[bytes, ...]:
    """Return the fields after the label.

    Args:
        data: the whole message, at most ``MESSAGE_MAX_BYTES``.
        label: what it must begin with.
        count: how many fields there must be.

    Raises:
        SessionError: ``session-message`` for another label, another number of fields, or bytes too few or too many.
    """
    if len(data) > MESSAGE_MAX_BYTES:
        raise SessionError(
            ErrorCode.SESSION_MESSAGE, f"a message has {len(data)} bytes, expected at most {MESSAGE_MAX_BYTES}"
        )
    found: list[bytes] = []
    position = 0
    while position < len(data) and len(found) <= count:
        start = position + LENGTH_BYTES
        end = start + int.from_bytes(data[position:start], "big")
        if end > len(data):
            raise SessionError(ErrorCode.SESSION_MESSAGE, "a message is cut off, expected the field it announces")
        found.append(data[start:end])
        position = end
    if position != len(data) or len(found) != count + 1 or found[0] != label:
        raise SessionError(
            ErrorCode.SESSION_MESSAGE, f"a message is not {count} fields under its label, expected exactly that"
        )
    return tuple(found[1:])


def number(field: bytes) -> int:
    """Return the number in a field of eight bytes.

    Raises:
        SessionError: ``session-message`` for another width, or a number above ``NUMBER_MAX``.
    """
    value = int.from_bytes(field, "big")
    if len(field) != NUMBER_BYTES or value > NUMBER_MAX:
        raise SessionError(ErrorCode.SESSION_MESSAGE, "a number is not eight bytes within its range, expected that")
    return value


def sized(field: bytes, length: int) -> bytes:
    """Return the field once it has the one length it may have.

    Raises:
        SessionError: ``session-message``.
    """
    if len(field) != length:
        raise SessionError(ErrorCode.SESSION_MESSAGE, f"a field has {len(field)} bytes, expected {length}")
    return field


def digest(message: bytes) -> Sha384:
    """Return the SHA-384 of a packed message."""
    return Sha384(hashlib.sha384(message).digest())
