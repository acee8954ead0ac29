import pytest

from pcrgate.errors import ErrorCode, PcrgateError, UsageError
from pcrgate.units import FIELD_MAX_BYTES, NONCE_MIN_BYTES, KeyArn, Nonce, PcrIndex, Sha384, parse_hex

ARN = "arn:aws:kms:eu-central-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef"
REPLICA = "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef"


def code_of(make: object, *arguments: object) -> ErrorCode:
    with pytest.raises(UsageError) as caught:
        make(*arguments)  # type: ignore[operator]
    return caught.value.code


def test_hex_is_strict_and_of_either_case() -> None:
    assert parse_hex("00ffAB", "x") == b"\x00\xff\xab"
    assert parse_hex("", "x") == b""
    for text in ("0", "0g", "00 ff", "0x00", "٠٠"):
        assert code_of(parse_hex, text, "x") is ErrorCode.USAGE_HEX


def test_sha384_values() -> None:
    value = Sha384.from_hex("AB" * 48)
    assert value.hex() == str(value) == "ab" * 48
    assert not value.is_zero
    assert Sha384(bytes(48)).is_zero
    for bad in (bytes(47), bytes(49), bytearray(48), "0" * 48):
        assert code_of(Sha384, bad) is ErrorCode.USAGE_DIGEST


def test_register_indices() -> None:
    assert str(PcrIndex(0)) == "PCR0"
    assert PcrIndex(31).index == 31
    for bad in (-1, 32, True, "0"):
        assert code_of(PcrIndex, bad) is ErrorCode.USAGE_PCR_INDEX


def test_nonces_at_their_bounds_and_one_past() -> None:
    Nonce(b"n" * NONCE_MIN_BYTES)
    Nonce(b"n" * FIELD_MAX_BYTES)
    for bad in (b"n" * (NONCE_MIN_BYTES - 1), b"n" * (FIELD_MAX_BYTES + 1), "n" * 16):
        assert code_of(Nonce, bad) is ErrorCode.USAGE_NONCE


@pytest.mark.parametrize("text", [ARN, REPLICA])
def test_key_arns_round_trip(text: str) -> None:
    arn = KeyArn.parse(text)
    assert str(arn) == text
    assert arn.account == "111122223333"
    assert arn.is_multi_region is ("mrk-" in text)


@pytest.mark.parametrize(
    "text",
    [
        "01234567-89ab-cdef-0123-456789abcdef",
        "alias/weights",
        "arn:aws:kms:eu-central-1:111122223333:alias/weights",
        ARN.upper(),
        ARN + "\n",
        ARN.replace("111122223333", "1111"),
        ARN.replace("kms", "s3"),
        ARN.replace("111122223333", "11112222333\uff13"),
        ARN.replace("central-1", "central-\u0661"),
        "",
    ],
)
def test_anything_but_a_full_key_arn_is_refused(text: str) -> None:
    assert code_of(KeyArn.parse, text) is ErrorCode.USAGE_KEY_ARN


def test_codes_are_unique_and_written_in_one_style() -> None:
    codes = [entry.code for entry in ErrorCode]
    assert len(set(codes)) == len(codes)
    for entry in ErrorCode:
        assert entry.code == entry.name.lower().replace("_", "-")
        assert entry.meaning.endswith(".")
        assert entry.advice.endswith(".")


def test_an_error_carries_its_code_in_its_text() -> None:
    error = PcrgateError(ErrorCode.INPUT_EMPTY, "nothing there")
    assert str(error) == "input-empty: nothing there"
