"""Read base64 and hex out of requests, in their one form."""

import base64
import binascii
import re
from typing import Any, Final

from pcrgate.errors import ErrorCode, ServiceError
from pcrgate.units import SHA384_BYTES, Sha384

_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+")


def hex_pattern(least: int, most: int | None = None) -> dict[str, Any]:
    """Return what the OpenAPI document says of a parameter that :func:`from_hex` reads.

    Args:
        least: fewest bytes.
        most: most bytes; as many as ``least`` when None.
    """
    return {"pattern": f"^([0-9a-f]{{2}}){{{least},{most or least}}}$"}


def from_base64(text: str, name: str) -> bytes:
    """Return the bytes of strict base64 with its padding.

    Raises:
        ServiceError: ``service-request``.
    """
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not found or base64.b64encode(found).decode() != text:
        raise ServiceError(ErrorCode.SERVICE_REQUEST, f"{name} is not base64 of one byte or more, expected that")
    return found


def to_base64(data: bytes) -> str:
    """Return base64 with padding."""
    return base64.b64encode(data).decode()


def from_hex(text: str, name: str, *, least: int, most: int) -> bytes:
    """Return the bytes of lower-case hex.

    Args:
        text: the digits.
        name: of the parameter, for the message.
        least: fewest bytes.
        most: most bytes.

    Raises:
        ServiceError: ``service-request``.
    """
    if len(text) > 2 * most or not _HEX.fullmatch(text) or len(text) < 2 * least:
        expected = f"{least}" if least == most else f"{least} to {most}"
        raise ServiceError(ErrorCode.SERVICE_REQUEST, f"{name} is not lower-case hex, expected {expected} bytes of it")
    return bytes.fromhex(text)


def sha384_from_hex(text: str, name: str) -> Sha384:
    """Return the digest.

    Raises:
        ServiceError: ``service-request``.
    """
    return Sha384(from_hex(text, name, least=SHA384_BYTES, most=SHA384_BYTES))
