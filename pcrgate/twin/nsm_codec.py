"""The device's side of the NSM's messages: requests decoded strictly, responses and documents encoded.

Written apart from the client's codec and from the verifier's decoder, so that a fault in one shows against the others.

Spec: RFC 8949; nsm-api ``src/api/mod.rs`` (the serde shapes of ``Request``, ``Response`` and ``ErrorCode``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

U16_MAX: Final = 0xFFFF
"""Highest index or range that a request can carry. Spec: nsm-api ``Request``, u16."""

_UNSIGNED, _BYTES, _TEXT, _ARRAY, _MAP = 0, 2, 3, 4, 5
_FALSE, _TRUE, _NULL, _BREAK = b"\xf4", b"\xf5", b"\xf6", b"\xff"
_INDEFINITE_MAP: Final = b"\xbf"

_UNIT_REQUESTS: Final = frozenset({"DescribeNSM", "GetRandom"})
_REQUIRED: Final[Mapping[str, Mapping[str, type]]] = {
    "DescribePCR": {"index": int},
    "ExtendPCR": {"index": int, "data": bytes},
    "LockPCR": {"index": int},
    "LockPCRs": {"range": int},
    "Attestation": {},
}
_OPTIONAL: Final = frozenset({"user_data", "nonce", "public_key"})


class DeviceError(StrEnum):
    """Name the errors that the software device answers with."""

    INVALID_ARGUMENT = "InvalidArgument"
    INVALID_INDEX = "InvalidIndex"
    READ_ONLY_INDEX = "ReadOnlyIndex"
    INVALID_OPERATION = "InvalidOperation"
    INPUT_TOO_LARGE = "InputTooLarge"


class RequestRefused(Exception):  # noqa: N818 - it is an answer of the device, not an error of ours
    """Carry the error that a request is answered with; it never leaves the software NSM."""

    def __init__(self, error: DeviceError) -> None:
        super().__init__(error.value)
        self.error: Final = error


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """Hold one decoded request.

    Attributes:
        name: the operation, for example ``ExtendPCR``.
        numbers: ``index`` or ``range``, each 0 to 65535.
        blobs: ``data``, ``user_data``, ``nonce`` and ``public_key``, as far as the operation has them; None for null.
    """

    name: str
    numbers: Mapping[str, int]
    blobs: Mapping[str, bytes | None]


def decode_request(data: bytes) -> DeviceRequest:
    """Return the request that the bytes hold.

    Raises:
        RequestRefused: ``InvalidOperation`` for an operation the device does not have, ``InvalidArgument`` for bytes
            that are not one CBOR item, or fields that are missing, unknown, given twice or of another type.
    """
    reader = _Reader(data)
    value = reader.item(depth=0)
    if reader.position != len(data):
        raise RequestRefused(DeviceError.INVALID_ARGUMENT)
    if isinstance(value, str) and value in _UNIT_REQUESTS:
        return DeviceRequest(name=value, numbers={}, blobs={})
    if not isinstance(value, dict) or len(value) != 1:
        raise RequestRefused(DeviceError.INVALID_OPERATION if isinstance(value, str) else DeviceError.INVALID_ARGUMENT)
    ((name, fields),) = value.items()
    if name not in _REQUIRED:
        raise RequestRefused(DeviceError.INVALID_OPERATION)
    if not isinstance(fields, dict):
        raise RequestRefused(DeviceError.INVALID_ARGUMENT)
    required, optional = _REQUIRED[name], _OPTIONAL if name == "Attestation" else frozenset[str]()
    if not required.keys() <= fields.keys() <= required.keys() | optional:
        raise RequestRefused(DeviceError.INVALID_ARGUMENT)
    numbers: dict[str, int] = {}
    blobs: dict[str, bytes | None] = dict.fromkeys(optional)
    for field, content in fields.items():
        if isinstance(content, int) and required.get(field) is int and content <= U16_MAX:
            numbers[field] = content
        elif isinstance(content, bytes) and required.get(field) is not int:
            blobs[field] = content
        elif content is not None or field not in optional:
            raise RequestRefused(DeviceError.INVALID_ARGUMENT)
    return DeviceRequest(name=name, numbers=numbers, blobs=blobs)


class _Reader:
    """Read the few CBOR types that requests are made of: unsigned, bytes, text, null and maps with text keys."""

    def __init__(self, data: bytes) -> None:
        self._data: Final = data
        self.position = 0

    def item(self, *, depth: int) -> object:
        initial = self._take(1)[0]
        if initial == _NULL[0]:
            return None
        major, information = initial >> 5, initial & 0x1F
        if major not in {_UNSIGNED, _BYTES, _TEXT, _MAP} or depth > 2:
            raise RequestRefused(DeviceError.INVALID_ARGUMENT)
        number = self._number(information)
        if major == _UNSIGNED:
            return number
        if major == _BYTES:
            return self._take(number)
        if major == _TEXT:
            return self._text(number)
        entries: dict[str, object] = {}
        for _ in range(number):
            key = self.item(depth=depth + 1)
            if not isinstance(key, str) or key in entries:
                raise RequestRefused(DeviceError.INVALID_ARGUMENT)
            entries[key] = self.item(depth=depth + 1)
        return entries

    def _number(self, information: int) -> int:
        if information < 24:
            return information
        if information > 27:
            raise RequestRefused(DeviceError.INVALID_ARGUMENT)
        width = 1 << (information - 24)
        number = int.from_bytes(self._take(width), "big")
        if number < (24 if width == 1 else 1 << (8 * width // 2)):  # not the shortest form
            raise RequestRefused(DeviceError.INVALID_ARGUMENT)
        return number

    def _text(self, length: int) -> str:
        try:
            return self._take(length).decode()
        except UnicodeDecodeError as error:
            raise RequestRefused(DeviceError.INVALID_ARGUMENT) from error

    def _take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self._data):
            raise RequestRefused(DeviceError.INVALID_ARGUMENT)
        taken, self.position = self._data[self.position : end], end
        return taken


def encode_item(value: object) -> bytes:
    """Return one CBOR item in shortest form; maps are definite and keep the order of their entries.

    Args:
        value: None, bool, unsigned int below 2**64, bytes, str, a sequence or a mapping of these.
    """
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, int):
        return _head(_UNSIGNED, value)
    if isinstance(value, bytes):
        return _head(_BYTES, len(value)) + value
    if isinstance(value, str):
        return _head(_TEXT, len(value.encode())) + value.encode()
    if isinstance(value, Mapping):
        return _head(_MAP, len(value)) + _entries(value)
    if isinstance(value, Sequence):
        return _head(_ARRAY, len(value)) + b"".join(map(encode_item, value))
    raise TypeError(f"a {type(value).__name__} has no place in the NSM's messages")


def encode_indefinite_map(entries: Mapping[str, object]) -> bytes:
    """Return a map of indefinite length, as the payload of documents is since mid 2025; what it holds is definite."""
    return _INDEFINITE_MAP + _entries(entries) + _BREAK


def encode_sign1(payload: bytes, signature: bytes) -> bytes:
    """Return the untagged COSE_Sign1 of a document: protected {1: -35}, no unprotected header.

    Spec: RFC 9052, 4.2; attestation_process.md, 3.1.
    """
    return _head(_ARRAY, 4) + encode_item(PROTECTED) + encode_item({}) + encode_item(payload) + encode_item(signature)


def encode_to_be_signed(payload: bytes) -> bytes:
    """Return the bytes that a document's signature is made over. Spec: RFC 9052, 4.4 (Sig_structure)."""
    return encode_item(["Signature1", PROTECTED, b"", payload])


PROTECTED: Final = b"\xa1\x01\x38\x22"
"""The protected header {1: -35}, which names ES384. Spec: RFC 9053, 2.1."""


def _entries(entries: Mapping[object, object] | Mapping[str, object]) -> bytes:
    return b"".join(encode_item(key) + encode_item(value) for key, value in entries.items())


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    width = next(width for width in (1, 2, 4, 8) if number < 1 << (8 * width))
    return bytes([major << 5 | 24 + width.bit_length() - 1]) + number.to_bytes(width, "big")
