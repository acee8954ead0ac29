"""Measurements files: read strictly, signed over their bytes, verified before they are read."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kms_policies.measurements import (
    FILE_MAX_BYTES,
    MEASUREMENTS_MAX,
    measurements_of_rollover,
    parse_measurements_file,
    serialize_measurements,
)
from kms_policies.measurements_signature import (
    DOMAIN,
    SIGNATURE_TEXT_MAX_BYTES,
    VerifiedMeasurements,
    sign_measurements,
    verify_measurements,
)
from kms_policies.rollover_files import parse_rollover
from pcrgate.errors import ErrorCode, KeyPolicyError
from tests.unit.kms_policies.rollover_documents import raw_document, text_document
from tests.unit.kms_policies.template_inputs import PCR0, PCR0_NEXT, PCR1, PCR4, PCR7, PCR8

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
END = datetime(2027, 6, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def entry(**fields: object) -> dict[str, object]:
    """Return one measurement with fields changed or, where None, left out."""
    made = {"name": "v1", "pcr0": PCR0, "expires": "2027-06-01T00:00:00Z"} | fields
    return {name: value for name, value in made.items() if value is not None}


def text(*entries: dict[str, object], **changed: Any) -> str:
    return json.dumps({"version": "1", "measurements": list(entries or [entry()])} | changed)


def test_a_file_is_read_and_written_again() -> None:
    found = parse_measurements_file(
        text(entry(pcr1=PCR1, pcr8=PCR8), entry(name="v2", pcr0=PCR0_NEXT, pcr1=PCR1, pcr8=PCR8))
    )
    first, second = found.measurements
    assert (first.name, first.expires, list(first.pcrs)) == ("v1", END, ["pcr0", "pcr1", "pcr8"])
    assert second.pcrs["pcr0"].hex() == PCR0_NEXT
    written = serialize_measurements(found)
    assert parse_measurements_file(written.encode()) == found
    assert serialize_measurements(parse_measurements_file(written)) == written


def test_a_nitrotpm_has_all_three_and_may_have_a_zero_pcr12() -> None:
    (one,) = parse_measurements_file(text(entry(pcr0=None, pcr4=PCR4, pcr7=PCR7, pcr12="0" * 96))).measurements
    assert list(one.pcrs) == ["pcr4", "pcr7", "pcr12"]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("{", "policy-json"),
        ("[]", "measurements-file"),
        (text(more=1), "measurements-file"),
        (text(version="2"), "measurements-file"),
        (text(measurements={}), "measurements-file"),
        (text(measurements=[]), "measurements-file"),
        (text(measurements=[1]), "measurements-file"),
        (text(entry(name=None)), "measurements-file"),
        (text(entry(name="V 1")), "measurements-file"),
        (text(entry(name="v" * 65)), "measurements-file"),
        (text(entry(pcr0=None)), "measurements-file"),
        (text(entry(pcr9=PCR1)), "measurements-file"),
        (text(entry(pcr0=None, pcr4=PCR4, pcr7=PCR7)), "measurements-file"),
        (text(entry(expires=None)), "measurements-file"),
        (text(entry(expires=1)), "measurements-file"),
        (text(entry(expires="2027-06-01")), "measurements-file"),
        (text(entry(expires="2027-06-31T00:00:00Z")), "measurements-file"),
        (text(entry(expires="2027-06-01T00:00:00+00:00")), "measurements-file"),
        (text(entry(), entry(pcr0=PCR0_NEXT)), "measurements-file"),
        (text(entry(), entry(name="v2")), "measurements-file"),
        (text(entry(), entry(name="v2", pcr0=PCR0_NEXT, pcr1=PCR1)), "measurements-file"),
        (text(entry(pcr0="0" * 96)), "policy-input-pcr"),
        (text(entry(pcr0=PCR0[:-1])), "policy-input-pcr"),
        (text(entry(pcr0=PCR0.upper())), "policy-input-pcr"),
        ('{"version": "1", "version": "1", "measurements": []}', "policy-duplicate-key"),
    ],
)  # fmt: skip
def test_what_is_refused(source: str, code: str) -> None:
    with pytest.raises(KeyPolicyError) as caught:
        parse_measurements_file(source)
    assert caught.value.code.code == code


def test_limits_at_the_bound_and_one_past() -> None:
    many = [entry(name=f"v{number}", pcr0=f"{number + 1:096x}") for number in range(MEASUREMENTS_MAX + 1)]
    assert len(parse_measurements_file(text(*many[:-1])).measurements) == MEASUREMENTS_MAX
    with pytest.raises(KeyPolicyError, match="1 to 256"):
        parse_measurements_file(text(*many))
    assert parse_measurements_file(text().ljust(FILE_MAX_BYTES)).measurements
    with pytest.raises(KeyPolicyError) as caught:
        parse_measurements_file(text().ljust(FILE_MAX_BYTES + 1))
    assert caught.value.code is ErrorCode.POLICY_TOO_LARGE


def test_a_rollover_document_gives_what_its_policies_list() -> None:
    document = parse_rollover(text_document())
    found = measurements_of_rollover(document)
    assert [one.name for one in found.measurements] == ["v1"]
    assert parse_measurements_file(serialize_measurements(found)) == found
    nothing = raw_document()
    nothing["measurements"][0]["state"] = "removed"
    with pytest.raises(KeyPolicyError, match="no measurement is admitted or draining"):
        measurements_of_rollover(parse_rollover(json.dumps(nothing)))


def verified(data: bytes, signature_text: bytes, now: datetime = NOW) -> VerifiedMeasurements:
    return verify_measurements(data, signature_text=signature_text, public_key=KEY.public_key(), now=now)


def test_what_is_signed_is_verified_until_it_ends() -> None:
    data = text().encode()
    signature = sign_measurements(data, KEY)
    assert signature.endswith(b"=\n")
    assert verified(data, signature).measurements == parse_measurements_file(data).measurements
    assert verified(data, signature.strip() + b"\r\n", END - timedelta(seconds=1)).measurements
    with pytest.raises(KeyPolicyError) as caught:
        verified(data, signature, END)
    assert caught.value.code is ErrorCode.MEASUREMENTS_EXPIRED
    assert "v1" in caught.value.message


def encoded(signature: bytes) -> bytes:
    return base64.b64encode(signature)


@pytest.mark.parametrize(
    ("data", "signature_text"),
    [
        (text(entry(pcr0=PCR0_NEXT)).encode(), sign_measurements(text().encode(), KEY)),
        (text().encode() + b" ", sign_measurements(text().encode(), KEY)),
        (text().encode(), sign_measurements(text().encode(), Ed25519PrivateKey.generate())),
        (text().encode(), encoded(KEY.sign(text().encode()))),  # another protocol's signature by the same key
        (text().encode(), encoded(KEY.sign(DOMAIN + text().encode())[:-1])),
        (text().encode(), encoded(KEY.sign(DOMAIN + text().encode()) + b"\0")),
        (text().encode(), b""),
        (text().encode(), b"not base64!"),
        (text().encode(), sign_measurements(text().encode(), KEY).ljust(SIGNATURE_TEXT_MAX_BYTES + 1, b"\n")),
        (b"not even JSON", sign_measurements(text().encode(), KEY)),
    ],
    ids=["other", "longer", "other key", "other domain", "short", "long", "none", "no base64", "long text", "no JSON"],
)
def test_what_is_not_signed_is_refused_before_it_is_read(data: bytes, signature_text: bytes) -> None:
    with pytest.raises(KeyPolicyError) as caught:
        verified(data, signature_text)
    assert caught.value.code is ErrorCode.MEASUREMENTS_SIGNATURE


def test_a_signature_file_of_the_largest_size_is_read() -> None:
    data = text().encode()
    assert verified(data, sign_measurements(data, KEY).ljust(SIGNATURE_TEXT_MAX_BYTES, b"\n")).measurements


def test_what_cannot_be_read_is_not_signed() -> None:
    with pytest.raises(KeyPolicyError):
        sign_measurements(text(entry(pcr0="0" * 96)).encode(), KEY)
