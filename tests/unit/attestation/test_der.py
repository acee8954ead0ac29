import pytest

from pcrgate.attestation.der import BIT_STRING, INTEGER, OCTET_STRING, SEQUENCE, DerReader
from pcrgate.errors import ErrorCode, MalformedEvidenceError
from tests.vectors_evidence.der_writer import named_bits, tlv, unsigned


def refuse(call: object) -> None:
    with pytest.raises(MalformedEvidenceError) as caught:
        call()  # type: ignore[operator]
    assert caught.value.code is ErrorCode.DER


@pytest.mark.parametrize(
    "text", ["", "04", "0402ff", "048101", "04810100", "0480", "0483000001ff", "04820001ff", "0482ff"]
)
def test_lengths_are_definite_shortest_and_in_bounds(text: str) -> None:
    refuse(lambda: DerReader(bytes.fromhex(text)).content(OCTET_STRING))


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 1000])
def test_lengths_round_trip(size: int) -> None:
    reader = DerReader(tlv(OCTET_STRING, b"x" * size))
    assert reader.content(OCTET_STRING) == b"x" * size
    assert reader.at_end
    assert reader.peek() is None


def test_tags_are_as_expected_and_nothing_is_left() -> None:
    data = tlv(SEQUENCE, unsigned(5), unsigned(6))
    refuse(lambda: DerReader(data).content(OCTET_STRING))
    reader = DerReader(data).enter(SEQUENCE)
    assert reader.unsigned() == 5
    refuse(reader.finish)
    assert reader.whole(INTEGER) == unsigned(6)
    reader.finish()


@pytest.mark.parametrize("text", ["010101", "0100", "01020000"])
def test_booleans_are_canonical(text: str) -> None:
    refuse(lambda: DerReader(bytes.fromhex(text)).boolean())


@pytest.mark.parametrize("text", ["0600", "060180", "0602802a", "06032a8001", "06022a86"])
def test_identifiers_are_complete_and_shortest(text: str) -> None:
    refuse(lambda: DerReader(bytes.fromhex(text)).identifier())


def test_an_identifier_with_a_long_component() -> None:
    assert DerReader(bytes.fromhex("06062a8648ce3d02")).identifier() == bytes.fromhex("2a8648ce3d02")


def test_boolean_values() -> None:
    assert DerReader(b"\x01\x01\xff").boolean()
    assert not DerReader(b"\x01\x01\x00").boolean()


@pytest.mark.parametrize("text", ["0200", "0201ff", "02020001", "0202ff01"])
def test_integers_are_shortest_and_not_negative(text: str) -> None:
    refuse(lambda: DerReader(bytes.fromhex(text)).unsigned())


def test_integers_with_a_leading_zero_that_is_needed() -> None:
    assert DerReader(bytes.fromhex("02020080")).unsigned() == 128
    assert DerReader(bytes.fromhex("020100")).unsigned() == 0


@pytest.mark.parametrize("text", ["0300", "030101", "03020180"])
def test_bit_strings_of_whole_bytes(text: str) -> None:
    refuse(lambda: DerReader(bytes.fromhex(text)).bit_string())


@pytest.mark.parametrize("text", ["0300", "030208ff", "030107", "03020700", "030206c1"])
def test_named_bits_are_minimal(text: str) -> None:
    refuse(lambda: DerReader(bytes.fromhex(text)).named_bits())


@pytest.mark.parametrize("numbers", [(), (0,), (5,), (0, 1), (0, 5, 6), (8,), (0, 8)])
def test_named_bits_round_trip(numbers: tuple[int, ...]) -> None:
    reader = DerReader(named_bits(*numbers) if numbers else tlv(BIT_STRING, b"\x00"))
    assert reader.named_bits() == frozenset(numbers)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tlv(0x17, b"700101000000Z"), 0),
        (tlv(0x17, b"491231235959Z"), 2_524_607_999),
        (tlv(0x17, b"500101000000Z"), -631_152_000),
        (tlv(0x18, b"20500101000000Z"), 2_524_608_000),
        (tlv(0x17, b"240229120000Z"), 1_709_208_000),
    ],
)
def test_times(data: bytes, expected: int) -> None:
    assert DerReader(data).time_s() == expected


@pytest.mark.parametrize(
    "data",
    [
        tlv(0x17, b"230229120000Z"),
        tlv(0x17, b"240230120000Z"),
        tlv(0x17, b"240101240000Z"),
        tlv(0x17, b"240101000060Z"),
        tlv(0x17, b"2401010000Z"),
        tlv(0x17, b"240101000000+0000"),
        tlv(0x18, b"20490101000000Z"),
        tlv(0x18, b"20500101000000.5Z"),
        tlv(0x18, b"00000101000000Z"),
        tlv(0x04, b"240101000000Z"),
        b"",
    ],
)
def test_times_that_do_not_exist_or_have_a_second_form(data: bytes) -> None:
    refuse(lambda: DerReader(data).time_s())
