"""The commitment in ``user_data``: injective over operation and parameters, and read back from the wire."""

import base64
import hashlib
import json
from typing import Any

import cbor2
import pytest

from pcrgate.errors import ErrorCode, ReleaseError
from pcrgate.kms.commitment import COMMITMENT_LABEL, request_commitment, wire_commitment

PARAMETERS: dict[str, Any] = {
    "KeyId": "arn",
    "CiphertextBlob": b"\x00\xff" * 8,
    "EncryptionContext": {"b": "2", "a": "1"},
}


def test_it_is_the_digest_of_the_documented_preimage() -> None:
    preimage = cbor2.dumps([COMMITMENT_LABEL, "Decrypt", PARAMETERS], canonical=True)
    assert request_commitment("Decrypt", PARAMETERS) == hashlib.sha384(preimage).digest()


def test_the_order_of_parameters_does_not_matter() -> None:
    reordered = {name: PARAMETERS[name] for name in reversed(PARAMETERS)}
    reordered["EncryptionContext"] = {"a": "1", "b": "2"}
    assert request_commitment("Decrypt", reordered) == request_commitment("Decrypt", PARAMETERS)


@pytest.mark.parametrize(
    ("operation", "changes"),
    [
        ("GenerateDataKey", {}),
        ("Decrypt", {"KeyId": "other"}),
        ("Decrypt", {"CiphertextBlob": b"\x00\xff" * 7}),
        ("Decrypt", {"EncryptionContext": {"a": "12", "b": ""}}),
        ("Decrypt", {"EncryptionContext": {"a1": "", "b2": ""}}),
        ("Decrypt", {"More": 1}),
    ],
)
def test_every_change_shows(operation: str, changes: dict[str, Any]) -> None:
    assert request_commitment(operation, PARAMETERS | changes) != request_commitment("Decrypt", PARAMETERS)


@pytest.mark.parametrize("value", [1.5, None, True, bytearray(b"x"), [1], {"a": 1}, {1: "a"}, object(), 1 << 64])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(ReleaseError) as caught:
        request_commitment("Decrypt", {"KeyId": value})
    assert caught.value.code is ErrorCode.KMS_REQUEST


def body(**changes: Any) -> bytes:
    fields: dict[str, Any] = PARAMETERS | {"CiphertextBlob": base64.b64encode(PARAMETERS["CiphertextBlob"]).decode()}
    return json.dumps(fields | changes).encode()


def test_the_wire_gives_the_same_commitment_and_the_document() -> None:
    recipient = {"AttestationDocument": base64.b64encode(b"document").decode(), "KeyEncryptionAlgorithm": "x"}
    expected = request_commitment("Decrypt", PARAMETERS)
    assert wire_commitment("Decrypt", body()) == (expected, None)
    assert wire_commitment("Decrypt", body(Recipient=recipient)) == (expected, b"document")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"1",
        b"\xff",
        b'{"CiphertextBlob": "!"}',
        b'{"CiphertextBlob": 1}',
        b'{"Recipient": {}}',
        b'{"Recipient": 1}',
        b'{"Recipient": {"AttestationDocument": "*"}}',
        b'{"KeyId": 1.5}',
    ],
)
def test_what_is_not_a_request_is_refused(raw: bytes) -> None:
    with pytest.raises(ReleaseError) as caught:
        wire_commitment("Decrypt", raw)
    assert caught.value.code is ErrorCode.KMS_REQUEST
