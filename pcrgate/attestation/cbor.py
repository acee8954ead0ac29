"""Decode CBOR strictly and encode it deterministically: the subset that evidence and our own messages use.

What is refused: trailing bytes, integers and lengths that are not in shortest form, reserved additional information,
indefinite strings, indefinite containers below the top level, duplicate keys, tags, floats, undefined and other simple
values, keys that are neither text nor integers, nesting and sizes beyond the limits. One value has one encoding.

Spec: RFC 8949, 3 and 4.2.1.
"""

from typing import Final, Never

from pcrgate.errors import CborError, ErrorCode

CborValue = int | str | bytes | bool | None | list["CborValue"] | dict[int | str, "CborValue"]
"""What decodes: integers, text, byte strings, booleans, null, arrays, and maps with integer or text keys."""

MAX_DEPTH: Final = 8
"""Deepest nesting of containers: evidence needs 3, our own messages 5."""

MAX_ITEMS: Final = 65_536
"""Most entries of one container: above any message of ours, below what exhausts memory."""

_BREAK: Final = 0xFF
_SHORTEST: Final = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
"""Least value that may use each width of argument. Spec: RFC 8949, 4.2.1."""

_HEADS: Final = [
    [bytes((major << 5 | n,)) if n < 24 else bytes((major << 5 | 24, n)) for n in range(256)] for major in range(6)
]
"""The heads of arguments up to 255, by major type: nearly all that we write, and costly to make each time."""


def decode(data: bytes, *, indefinite_top: bool = False) -> CborValue:
    """Decode exactly one CBOR item and refuse everything that has a second encoding.

    Args:
        data: the whole item; the caller has bounded its length.
        indefinite_top: whether the outermost item may be an indefinite-length map or array, as the payload of
            documents since mid 2025 is.

    Raises:
        CborError: with the code of the first fault.

    Spec: RFC 8949, 3; facts checklist 5.
    """
    value, end = _item(data, 0, 1, indefinite_top)
    if end != len(data):
        raise CborError(ErrorCode.CBOR_TRAILING_BYTES, f"{len(data) - end} bytes follow the item, expected none")
    return value


def _fail(code: ErrorCode, position: int, fact: str) -> Never:
    raise CborError(code, f"at byte {position}: {fact}")


def _argument(data: bytes, position: int) -> tuple[int, int]:
    """Return the argument of the head at ``position`` and the position after the head."""
    info = data[position] & 0x1F
    if info < 24:
        return info, position + 1
    if info > 27:
        if info == 31:
            _fail(ErrorCode.CBOR_BREAK, position, "a break or indefinite length stands where none may")
        _fail(ErrorCode.CBOR_RESERVED, position, f"additional information {info} is reserved")
    end = position + 1 + (1 << (info - 24))
    if end > len(data):
        _fail(ErrorCode.CBOR_TRUNCATED, position, "the head is cut off")
    value = int.from_bytes(data[position + 1 : end], "big")
    if value < _SHORTEST[info]:
        _fail(ErrorCode.CBOR_NOT_SHORTEST, position, f"{value} is not in its shortest form")
    return value, end


def _item(data: bytes, position: int, depth: int, indefinite: bool) -> tuple[CborValue, int]:
    if position >= len(data):
        _fail(ErrorCode.CBOR_TRUNCATED, position, "an item is missing")
    first = data[position]
    major, info = first >> 5, first & 0x1F
    if major in (2, 3):
        if info == 31:
            _fail(ErrorCode.CBOR_INDEFINITE_STRING, position, "a string has indefinite length, expected a definite one")
        if info == 24 and position + 1 < len(data) and data[position + 1] >= 24:  # a measurement: no call for those
            length, start = data[position + 1], position + 2
        else:
            length, start = (info, position + 1) if info < 24 else _argument(data, position)
        end = start + length
        if end > len(data):
            _fail(ErrorCode.CBOR_TRUNCATED, position, f"a string of {length} bytes is cut off")
        if major == 2:
            return data[start:end], end
        try:
            return data[start:end].decode(), end
        except UnicodeDecodeError:
            _fail(ErrorCode.CBOR_UTF8, position, "a text string is not UTF-8")
    if major == 0:
        return (info, position + 1) if info < 24 else _argument(data, position)
    if major == 1:
        value, end = _argument(data, position)
        return -1 - value, end
    if major in (4, 5):
        if depth > MAX_DEPTH:
            _fail(ErrorCode.CBOR_DEPTH, position, f"containers are nested deeper than {MAX_DEPTH}")
        count: int | None = None
        start = position + 1
        if info != 31 or not indefinite:
            count, start = _argument(data, position)
            if count > MAX_ITEMS:
                _fail(ErrorCode.CBOR_TOO_MANY_ITEMS, position, f"a container of {count} entries, limit {MAX_ITEMS}")
        return _array(data, start, depth, count) if major == 4 else _map(data, start, depth, count)
    if first == 0xF6:
        return None, position + 1
    if first in (0xF4, 0xF5):
        return first == 0xF5, position + 1
    if first == _BREAK:
        _fail(ErrorCode.CBOR_BREAK, position, "a break marker stands where an item must")
    _fail(ErrorCode.CBOR_TYPE, position, "a tag, float or simple value has no place here")


def _at_break(data: bytes, position: int) -> bool:
    if position >= len(data):
        _fail(ErrorCode.CBOR_TRUNCATED, position, "the break marker is missing")
    return data[position] == _BREAK


def _array(data: bytes, position: int, depth: int, count: int | None) -> tuple[list[CborValue], int]:
    items: list[CborValue] = []
    while len(items) != count:
        if count is None and _at_break(data, position):
            return items, position + 1
        value, position = _item(data, position, depth + 1, False)
        items.append(value)
    return items, position


def _map(data: bytes, position: int, depth: int, count: int | None) -> tuple[dict[int | str, CborValue], int]:
    entries: dict[int | str, CborValue] = {}
    while len(entries) != count:
        if count is None and _at_break(data, position):
            return entries, position + 1
        start = position
        key: CborValue
        if position < len(data) and data[position] < 24:  # most keys are register indices: no call for those
            key, position = data[position], position + 1
        else:
            key, position = _item(data, position, MAX_DEPTH + 1, False)
        # bool is not int; containers are refused by the depth, null and bytes here
        if type(key) is not str and type(key) is not int:
            _fail(ErrorCode.CBOR_KEY_TYPE, start, "a map key is neither text nor an integer")
        if key in entries:
            _fail(ErrorCode.CBOR_DUPLICATE_KEY, start, "a map key stands twice")
        value, position = _item(data, position, depth + 1, False)
        entries[key] = value
    return entries, position


def encode(value: CborValue | tuple[CborValue, ...]) -> bytes:
    """Encode deterministically: shortest forms, definite lengths, keys in the order of their encodings.

    Args:
        value: what :func:`decode` returns; tuples count as arrays.

    Raises:
        CborError: ``cbor-type`` for other types, ``cbor-depth`` for deep nesting, ``cbor-too-many-items``.

    Spec: RFC 8949, 4.2.1 (bytewise lexicographic order).
    """
    return _encoded(value, 1)


def _head(major: int, argument: int) -> bytes:
    if argument < 256:
        return _HEADS[major][argument]
    for info, width in ((25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * width):
            return bytes((major << 5 | info,)) + argument.to_bytes(width, "big")
    raise CborError(ErrorCode.CBOR_TYPE, "an integer needs more than 64 bits")


def _encoded(value: object, depth: int) -> bytes:
    if type(value) is bytes:
        return _head(2, len(value)) + value
    if type(value) is str:
        text = value.encode()
        return _head(3, len(text)) + text
    if type(value) is int:
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if value is None:
        return b"\xf6"
    if type(value) is bool:
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, (list, tuple, dict)):
        if depth > MAX_DEPTH:
            raise CborError(ErrorCode.CBOR_DEPTH, f"containers are nested deeper than {MAX_DEPTH}")
        if len(value) > MAX_ITEMS:
            raise CborError(ErrorCode.CBOR_TOO_MANY_ITEMS, f"a container of {len(value)} entries, limit {MAX_ITEMS}")
        if isinstance(value, dict):
            entries = [(_key(key), _encoded(entry, depth + 1)) for key, entry in value.items()]
            entries.sort()
            return _head(5, len(entries)) + b"".join([part for entry in entries for part in entry])
        return _head(4, len(value)) + b"".join([_encoded(entry, depth + 1) for entry in value])
    raise CborError(ErrorCode.CBOR_TYPE, f"a {type(value).__name__} cannot be encoded")


def _key(key: object) -> bytes:
    if type(key) is not str and type(key) is not int:
        raise CborError(ErrorCode.CBOR_KEY_TYPE, "a map key is neither text nor an integer")
    return _encoded(key, 1)
