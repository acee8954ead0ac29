import json
import pickle
from typing import Any

import pytest

from pcrgate.twin.kms.interface import Caller, Prepared
from pcrgate.twin.kms.request_shape import SHOWN_MAX_CHARACTERS, service_model
from pcrgate.twin.kms.service import OPERATIONS, KmsService
from pcrgate.twin.kms.service_errors import AwsCode, AwsError
from pcrgate.twin.kms.wire_json import parse_request, render_error, render_response
from tests.unit.twin.kms.kit import ACCOUNT, REGION, Twin

CALLER = Caller(account=ACCOUNT, region=REGION, arn=f"arn:aws:iam::{ACCOUNT}:root")
KEM = "ML_KEM"
STORE: dict[str, Any] = {"CustomKeyStoreId": "cks-0123456789abcdef0"}
REFUSED: dict[str, dict[str, Any]] = {
    "ConnectCustomKeyStore": STORE,
    "CreateCustomKeyStore": {"CustomKeyStoreName": "store"},
    "Decapsulate": {"EncapsulationAlgorithm": KEM, "SharedSecretCiphertextBlob": b"x"},
    "DeleteCustomKeyStore": STORE,
    "DescribeCustomKeyStores": {},
    "DisconnectCustomKeyStore": STORE,
    "Encapsulate": {"EncapsulationAlgorithm": KEM},
    "UpdateCustomKeyStore": STORE,
}


def test_every_operation_of_the_model_is_done_or_refused_on_purpose() -> None:
    assert set(service_model().operation_names) == set(OPERATIONS) | set(REFUSED)
    assert not set(OPERATIONS) & set(REFUSED)


@pytest.mark.parametrize("operation", sorted(REFUSED))
def test_what_the_twin_does_not_do_is_said_plainly(operation: str) -> None:
    twin, named = Twin(), dict[str, Any]()
    if operation.endswith("capsulate"):
        named["KeyId"] = twin.key()
    assert operation in twin.refused(AwsCode.UNSUPPORTED_OPERATION, operation, **named, **REFUSED[operation])


def test_what_the_twin_does_not_do_is_authorised_too() -> None:
    for operation, members in REFUSED.items():
        request = members | ({"KeyId": "alias/none"} if operation.endswith("capsulate") else {})
        if operation.endswith("capsulate"):
            with pytest.raises(AwsError) as caught:  # there is no key whose policy could be asked
                KmsService().prepare(operation, request, CALLER)
            assert caught.value.code is AwsCode.NOT_FOUND
        else:
            assert [check.action for check in KmsService().prepare(operation, request, CALLER).checks] == [
                f"kms:{operation}"
            ]


def test_an_operation_that_does_not_exist() -> None:
    for attempt in (
        lambda: KmsService().prepare("Explode" * 100, {}, CALLER),
        lambda: parse_request("Explode", b"{}"),
    ):
        with pytest.raises(AwsError) as caught:
            attempt()
        assert caught.value.code is AwsCode.UNKNOWN_OPERATION
        assert len(caught.value.message) < SHOWN_MAX_CHARACTERS + 100


@pytest.mark.parametrize(
    ("operation", "members", "words"),
    [
        ("Encrypt", {"KeyId": "k"}, "Value null at 'plaintext' failed to satisfy constraint: Member must not be null"),
        ("Encrypt", {"KeyId": None, "Plaintext": b"a"}, "Value null at 'keyId'"),
        (
            "Encrypt",
            {"KeyId": "", "Plaintext": b"a"},
            "at 'keyId' failed to satisfy constraint: Member must have length",
        ),
        (
            "GenerateDataKey",
            {"KeyId": "k", "KeySpec": "AES_512"},
            "Member must satisfy enum value set: [AES_256, AES_128]",
        ),
        ("GenerateRandom", {"NumberOfBytes": 0}, "Member must have value greater than or equal to 1"),
        ("GenerateRandom", {"NumberOfBytes": 1025}, "Member must have value less than or equal to 1024"),
        ("CreateAlias", {"AliasName": "alias/!", "TargetKeyId": "k"}, "Member must satisfy regular expression pattern"),
        ("TagResource", {"KeyId": "k", "Tags": [{"TagKey": "a"}]}, "Value null at 'tags.1.member.tagValue'"),
        ("DescribeKey", {"KeyId": "k", "GrantTokens": ["t"] * 11}, "at 'grantTokens' failed"),
        ("Encrypt", {"KeyId": "x" * 9000, "Plaintext": b"a"}, "less than or equal to 2048"),
        (
            "GenerateRandom",
            {"Recipient": {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": bytes(262_145)}},
            "at 'recipient.attestationDocument' failed to satisfy constraint: Member must have length less than",
        ),
    ],
)
def test_violations_are_worded_as_aws_words_them(operation: str, members: dict[str, object], words: str) -> None:
    with pytest.raises(AwsError) as caught:
        KmsService().prepare(operation, members, CALLER)
    assert caught.value.code is AwsCode.VALIDATION
    assert caught.value.message.startswith("1 validation error detected: Value ")
    assert words in caught.value.message
    assert len(caught.value.message) < 2 * SHOWN_MAX_CHARACTERS + 300


def test_a_document_at_the_bound_is_let_through() -> None:
    recipient = {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": bytes(262_144)}
    prepared = KmsService().prepare("GenerateRandom", {"NumberOfBytes": 1, "Recipient": recipient}, CALLER)
    assert prepared.recipient_document == bytes(262_144)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("Encrypt", b'{"KeyId": 1, "Plaintext": "YQ=="}'),
        ("Encrypt", b'{"KeyId": "k", "Plaintext": 1}'),
        ("Encrypt", b'{"KeyId": "k", "Plaintext": "no base64"}'),
        ("Encrypt", b'{"KeyId": "k", "Plaintext": "YQ=="}x'),
        ("Encrypt", b'{"KeyId": "k", "Plaintext": "YQ==", "EncryptionContext": []}'),
        ("Encrypt", b'{"KeyId": "k", "Plaintext": "YQ==", "EncryptionContext": {"a": 1}}'),
        ("Encrypt", b'{"KeyId": "k", "Plaintext": "YQ==", "EncryptionContext": {"a": "\\ud800"}}'),
        ("Encrypt", b'{"KeyId": "k", "Plaintext": "YQ==", "DryRun": "true"}'),
        ("Encrypt", b'{"KeyId": "k", "Plaintext": "YQ==", "GrantTokens": "t"}'),
        ("GenerateRandom", b'{"NumberOfBytes": 1.5}'),
        ("GenerateRandom", b'{"NumberOfBytes": true}'),
        ("GenerateRandom", b'{"NumberOfBytes": 1, "Recipient": "x"}'),
        ("GenerateRandom", b"[]"),
        ("GenerateRandom", b"\xff"),
        ("GenerateRandom", b"[" * 100_000),
        ("GenerateRandom", b'{"NumberOfBytes": ' + b"1" * 5000 + b"}"),
    ],
)
def test_wrong_json_types(operation: str, body: bytes) -> None:
    with pytest.raises(AwsError) as caught:
        KmsService().prepare(operation, parse_request(operation, body), CALLER)
    assert caught.value.code is AwsCode.SERIALIZATION


def test_unknown_members_are_ignored_and_null_is_absent() -> None:
    request = parse_request("GenerateRandom", b'{"NumberOfBytes": 3, "Recipient": null, "New": {"x": 1}}')
    assert "Recipient" not in request
    answer = KmsService().prepare("GenerateRandom", request, CALLER).execute()
    plaintext = answer["Plaintext"]
    assert isinstance(plaintext, bytes)
    assert len(plaintext) == 3
    assert parse_request("ListKeys", b"") == {}


def test_bodies_hold_base64_and_errors_a_type() -> None:
    assert json.loads(render_response({"Plaintext": b"\xff", "Number": 1.5})) == {"Plaintext": "/w==", "Number": 1.5}
    error = AwsError(AwsCode.DISABLED, "it is disabled.")
    assert json.loads(render_error(error)) == {"__type": "DisabledException", "message": "it is disabled."}
    assert str(error) == "DisabledException: it is disabled."
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - ours
    assert (copy.code, copy.message) == (error.code, error.message)
    with pytest.raises(TypeError):
        render_response({"Odd": object()})


def test_errors_have_the_status_aws_gives_them() -> None:
    assert AwsCode.INTERNAL.status == 500
    assert {code.status for code in AwsCode if code is not AwsCode.INTERNAL} == {400}
    known = set(service_model().shape_names)
    outside_the_model = {
        AwsCode.ACCESS_DENIED,
        AwsCode.NOT_AUTHORIZED,
        AwsCode.SERIALIZATION,
        AwsCode.UNKNOWN_OPERATION,
        AwsCode.VALIDATION,
    }
    assert {code for code in AwsCode if code.code not in known} == outside_the_model


def test_one_key_arn_even_when_asked_twice() -> None:
    twin = Twin()
    arn = twin.key()
    blob = twin.call("Encrypt", KeyId=arn, Plaintext=b"a")["CiphertextBlob"]
    prepared = twin.prepare("ReEncrypt", members={"CiphertextBlob": blob, "DestinationKeyId": arn})
    assert (prepared.operation, len(prepared.checks), prepared.key_arns) == ("ReEncrypt", 2, (arn,))


def test_an_operation_that_asks_for_no_authorisation_is_not_prepared() -> None:
    twin = Twin()
    checks = twin.checks("GenerateRandom", NumberOfBytes=1)
    with pytest.raises(AwsError) as caught:
        Prepared(operation="GenerateRandom", checks=(), execute=lambda **_: {})
    assert caught.value.code is AwsCode.INTERNAL
    assert Prepared(operation="GenerateRandom", checks=checks, execute=lambda **_: {}).checks == checks
