import cbor2
import pytest

from pcrgate.attestation.cbor import MAX_DEPTH, MAX_ITEMS, CborValue, decode, encode
from pcrgate.errors import CborError, ErrorCode

REFUSED = {
    "": ErrorCode.CBOR_TRUNCATED,
    "18": ErrorCode.CBOR_TRUNCATED,
    "19ff": ErrorCode.CBOR_TRUNCATED,
    "42ff": ErrorCode.CBOR_TRUNCATED,
    "8201": ErrorCode.CBOR_TRUNCATED,
    "a101": ErrorCode.CBOR_TRUNCATED,
    "bf0102": ErrorCode.CBOR_TRUNCATED,
    "9f01": ErrorCode.CBOR_TRUNCATED,
    "0101": ErrorCode.CBOR_TRAILING_BYTES,
    "1817": ErrorCode.CBOR_NOT_SHORTEST,
    "1900ff": ErrorCode.CBOR_NOT_SHORTEST,
    "1a0000ffff": ErrorCode.CBOR_NOT_SHORTEST,
    "1b00000000ffffffff": ErrorCode.CBOR_NOT_SHORTEST,
    "3817": ErrorCode.CBOR_NOT_SHORTEST,
    "5801ff": ErrorCode.CBOR_NOT_SHORTEST,
    "1c": ErrorCode.CBOR_RESERVED,
    "5e": ErrorCode.CBOR_RESERVED,
    "9d": ErrorCode.CBOR_RESERVED,
    "1f": ErrorCode.CBOR_BREAK,
    "ff": ErrorCode.CBOR_BREAK,
    "819f01ff": ErrorCode.CBOR_BREAK,
    "a101bf0102ff": ErrorCode.CBOR_BREAK,
    "bf01ff": ErrorCode.CBOR_BREAK,
    "a1bf0102ff01": ErrorCode.CBOR_DEPTH,
    "5f41ffff": ErrorCode.CBOR_INDEFINITE_STRING,
    "7f6161ff": ErrorCode.CBOR_INDEFINITE_STRING,
    "c001": ErrorCode.CBOR_TYPE,
    "f7": ErrorCode.CBOR_TYPE,
    "f0": ErrorCode.CBOR_TYPE,
    "f90000": ErrorCode.CBOR_TYPE,
    "fb0000000000000000": ErrorCode.CBOR_TYPE,
    "a201020103": ErrorCode.CBOR_DUPLICATE_KEY,
    "a1f600": ErrorCode.CBOR_KEY_TYPE,
    "a1f500": ErrorCode.CBOR_KEY_TYPE,
    "a1410000": ErrorCode.CBOR_KEY_TYPE,
    "a1800000": ErrorCode.CBOR_DEPTH,
    "61ff": ErrorCode.CBOR_UTF8,
    "9a00010001": ErrorCode.CBOR_TOO_MANY_ITEMS,
    "ba00010001": ErrorCode.CBOR_TOO_MANY_ITEMS,
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_second_encoding_or_a_foreign_type_is_refused(text: str) -> None:
    with pytest.raises(CborError) as caught:
        decode(bytes.fromhex(text), indefinite_top=True)
    assert caught.value.code is REFUSED[text]


VALUES: list[CborValue] = [
    0,
    23,
    24,
    255,
    256,
    65_535,
    65_536,
    2**32 - 1,
    2**32,
    2**64 - 1,
    -1,
    -24,
    -25,
    -(2**64),
    b"",
    b"\0" * 256,
    "",
    "text ä",
    True,
    False,
    None,
    [],
    [1, [2, b"3"]],
    {},
    {1: "a", "b": {2: [None]}},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_is_encoded_decodes_and_agrees_with_an_independent_encoder(value: CborValue) -> None:
    encoded = encode(value)
    assert decode(encoded) == value
    assert cbor2.dumps(value, canonical=True) == encoded


def test_map_keys_are_sorted_by_their_encoding_not_their_length() -> None:
    # RFC 8949, 4.2.1: bytewise, so 100 (1864) stands before -1 (20)
    assert encode({-1: 0, 100: 0, "a": 0, 10: 0}).hex() == "a4" + "0a00" + "186400" + "2000" + "616100"


def test_tuples_count_as_arrays() -> None:
    assert encode((1, "a")) == encode([1, "a"])


def test_indefinite_containers_are_legal_at_the_top_only_and_only_on_request() -> None:
    assert decode(bytes.fromhex("bf616101ff"), indefinite_top=True) == {"a": 1}
    assert decode(bytes.fromhex("9f0102ff"), indefinite_top=True) == [1, 2]
    assert decode(bytes.fromhex("bfff"), indefinite_top=True) == {}
    for text in ("bf616101ff", "9f0102ff"):
        with pytest.raises(CborError) as caught:
            decode(bytes.fromhex(text))
        assert caught.value.code is ErrorCode.CBOR_BREAK


def test_nesting_is_bounded_at_the_limit_and_one_past() -> None:
    assert decode(b"\x81" * MAX_DEPTH + b"\x00")
    with pytest.raises(CborError) as caught:
        decode(b"\x81" * (MAX_DEPTH + 1) + b"\x00")
    assert caught.value.code is ErrorCode.CBOR_DEPTH
    with pytest.raises(CborError):
        decode(b"\x81" * 10_000)


def test_item_counts_are_bounded_at_the_limit_and_one_past() -> None:
    assert len(decode(encode([0] * MAX_ITEMS))) == MAX_ITEMS  # type: ignore[arg-type]
    with pytest.raises(CborError) as caught:
        encode([0] * (MAX_ITEMS + 1))
    assert caught.value.code is ErrorCode.CBOR_TOO_MANY_ITEMS


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (1.5, ErrorCode.CBOR_TYPE),
        (2**64, ErrorCode.CBOR_TYPE),
        (-(2**64) - 1, ErrorCode.CBOR_TYPE),
        (bytearray(b"x"), ErrorCode.CBOR_TYPE),
        ({b"k": 1}, ErrorCode.CBOR_KEY_TYPE),
        ({True: 1}, ErrorCode.CBOR_KEY_TYPE),
    ],
)
def test_what_has_no_encoding_is_refused(value: CborValue, code: ErrorCode) -> None:
    with pytest.raises(CborError) as caught:
        encode(value)
    assert caught.value.code is code


def test_encoding_is_bounded_in_depth() -> None:
    value: CborValue = 0
    for _ in range(MAX_DEPTH):
        value = [value]
    encode(value)
    with pytest.raises(CborError) as caught:
        encode([value])
    assert caught.value.code is ErrorCode.CBOR_DEPTH
