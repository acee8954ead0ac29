"""Narrow what a decoded answer of the NSM holds: the one place where its fields get their types."""

from typing import Final

from pcrgate.attestation.cbor import CborValue
from pcrgate.errors import ErrorCode, NsmError
from pcrgate.units import SHA384_BYTES, Sha384

DEVICE_ERRORS: Final = frozenset(
    {
        "Success",
        "InvalidArgument",
        "InvalidIndex",
        "InvalidResponse",
        "ReadOnlyIndex",
        "InvalidOperation",
        "BufferTooSmall",
        "InputTooLarge",
        "InternalError",
    }
)
"""Every error the device can name. Spec: nsm-api, ErrorCode."""

U16_MAX: Final = 0xFFFF
"""Highest number in an answer. Spec: nsm-api, Response, u16."""


def malformed(fact: str) -> NsmError:
    """Return the refusal of an answer that is not as specified."""
    return NsmError(ErrorCode.NSM_RESPONSE, f"the module's answer is not as specified: {fact}")


def u16(value: CborValue) -> int:
    """Return a number of 16 bits, or refuse."""
    if type(value) is not int or not 0 <= value <= U16_MAX:
        raise malformed("a number is not of 16 bits")
    return value


def text(value: CborValue) -> str:
    """Return a text, or refuse."""
    if type(value) is not str:
        raise malformed("a text is not text")
    return value


def byte_string(value: CborValue) -> bytes:
    """Return a byte string, or refuse."""
    if type(value) is not bytes:
        raise malformed("a byte string is not one")
    return value


def digest(value: CborValue) -> Sha384:
    """Return a PCR's value, or refuse."""
    raw = byte_string(value)
    if len(raw) != SHA384_BYTES:
        raise malformed(f"a PCR has {len(raw)} bytes")
    return Sha384(raw)
