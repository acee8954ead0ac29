"""Read a document that came as raw bytes, base64 or hex, strictly.

Spec: RFC 4648, 3.2, 3.3 and 3.5 (no foreign characters, right padding, canonical last character).
"""

import base64
import binascii
import re
from typing import Final

from pcrgate.attestation.cose import DOCUMENT_MAX_BYTES
from pcrgate.errors import ErrorCode, MalformedEvidenceError

TEXT_MAX_BYTES: Final = 2 * DOCUMENT_MAX_BYTES + DOCUMENT_MAX_BYTES // 16
"""Longest text: hex of the longest document, with room for line ends."""

_LINE_ENDS: Final = re.compile(rb"[\r\n]+")
_HEX: Final = re.compile(rb"(?:[0-9a-fA-F]{2})+")


def read_document_text(data: bytes) -> bytes:
    """Return the raw document.

    Bytes that are not ASCII are raw already: a document starts with 0x84 or 0xd2. ASCII is hex if every character is a
    hex digit, else base64 of the standard alphabet; line ends are the only other characters allowed, since the usual
    tools write them.

    Args:
        data: the content of a file, at most ``TEXT_MAX_BYTES``.

    Raises:
        MalformedEvidenceError: ``input-empty``, ``input-too-large`` or ``input-encoding``.
    """
    if not data:
        raise MalformedEvidenceError(ErrorCode.INPUT_EMPTY, "the input is empty")
    if len(data) > TEXT_MAX_BYTES:
        raise MalformedEvidenceError(
            ErrorCode.INPUT_TOO_LARGE, f"the input has {len(data)} bytes, limit {TEXT_MAX_BYTES}"
        )
    if not data.isascii():
        return data
    text = _LINE_ENDS.sub(b"", data)
    if _HEX.fullmatch(text):
        return bytes.fromhex(text.decode())
    try:
        document = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise MalformedEvidenceError(
            ErrorCode.INPUT_ENCODING, "the text is neither hex nor base64 with right padding"
        ) from error
    if not document or base64.b64encode(document) != text:
        raise MalformedEvidenceError(ErrorCode.INPUT_ENCODING, "the base64 is empty or not in its one form")
    return document
