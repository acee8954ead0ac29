"""Write CBOR, and on purpose things that no sane encoder writes."""

from collections.abc import Mapping, Sequence

UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG = range(7)
NULL, TRUE, FALSE, UNDEFINED, BREAK = b"\xf6", b"\xf5", b"\xf4", b"\xf7", b"\xff"
HALF_FLOAT_ONE = b"\xf9\x3c\x00"
INDEFINITE_MAP, INDEFINITE_ARRAY = b"\xbf", b"\x9f"


def head(major: int, argument: int, *, width: int | None = None) -> bytes:
    """A head in shortest form, or with an argument of that many bytes."""
    if width is None:
        if argument < 24:
            return bytes([major << 5 | argument])
        width = next(w for w in (1, 2, 4, 8) if argument < 1 << (8 * w))
    return bytes([major << 5 | {1: 24, 2: 25, 4: 26, 8: 27}[width]]) + argument.to_bytes(width, "big")


def uint(number: int) -> bytes:
    return head(UNSIGNED, number)


def negative(number: int) -> bytes:
    return head(NEGATIVE, -1 - number)


def bstr(content: bytes) -> bytes:
    return head(BYTES, len(content)) + content


def tstr(text: str) -> bytes:
    return head(TEXT, len(text.encode())) + text.encode()


def array(items: Sequence[bytes]) -> bytes:
    """An array of items that are encoded already."""
    return head(ARRAY, len(items)) + b"".join(items)


def mapping(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A definite map of entries that are encoded already, in their order."""
    return head(MAP, len(entries)) + b"".join(key + value for key, value in entries)


def indefinite_mapping(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    return INDEFINITE_MAP + b"".join(key + value for key, value in entries) + BREAK


def registers(values: Mapping[int, bytes]) -> bytes:
    """A map of PCRs."""
    return mapping([(uint(index), bstr(value)) for index, value in values.items()])
