"""The checks on answers, one by one, without a wire; and the gate on what was not attested."""

import io
from typing import Any

import pytest
from aws_encryption_sdk.key_providers.kms import KMSMasterKey, KMSMasterKeyConfig
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pcrgate.envelope.recipient import RecipientKey
from pcrgate.envelope.weights_header import parse_header
from pcrgate.errors import ErrorCode, ReleaseError
from pcrgate.kms.answers import ExpectedAnswer, open_answer, requested_length
from pcrgate.kms.hooks import AttestedHooks
from pcrgate.kms.key_pool import FreshKeys
from pcrgate.kms.operations import RECIPIENT_OPERATIONS
from pcrgate.kms.weights_key import SdkHeaderOpener
from pcrgate.units import KeyArn
from tests.unit.envelope.envelope_writer import Parts
from tests.unit.envelope.sealed import SUITE, keys, sdk
from tests.unit.kms.scripted_kms import KEY_ARN, ScriptedKms, nsm_client

RSA_KEY = rsa.generate_private_key(65537, 2048)
DER = serialization.Encoding.DER
EC_KEY = ec.generate_private_key(ec.SECP256R1())
EC_PRIVATE = EC_KEY.private_bytes(DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
EC_PUBLIC = EC_KEY.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
OTHER_PUBLIC = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
)
RSA_PUBLIC = RSA_KEY.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def answered(operation: str, plaintext: bytes, **fields: Any) -> bytes:
    expected = ExpectedAnswer(operation=RECIPIENT_OPERATIONS[operation], key_id=str(KEY_ARN), plaintext_bytes=None)
    envelope = Parts(public_key=RSA_KEY.public_key(), plaintext=plaintext).write()
    parsed = {"KeyId": str(KEY_ARN), "CiphertextForRecipient": envelope} | fields
    key = RecipientKey(RSA_KEY)
    try:
        return open_answer(parsed, expected, key).reveal()
    finally:
        assert not key.usable


def test_a_pair_that_belongs_together_is_taken() -> None:
    assert answered("GenerateDataKeyPair", EC_PRIVATE, PublicKey=EC_PUBLIC) == EC_PRIVATE


@pytest.mark.parametrize(
    ("private_key", "public_key"),
    [
        (EC_PRIVATE, OTHER_PUBLIC),
        (EC_PRIVATE, None),
        (EC_PRIVATE, EC_PUBLIC + b"\x00"),
        (b"not a key", EC_PUBLIC),
        (b"", EC_PUBLIC),
        (EC_PUBLIC, EC_PUBLIC),
    ],
    ids=["another", "missing", "trailing byte", "no key", "empty", "public"],
)
def test_a_pair_that_does_not_is_refused(private_key: bytes, public_key: bytes | None) -> None:
    with pytest.raises(ReleaseError) as caught:
        answered("GenerateDataKeyPair", private_key, PublicKey=public_key)
    assert caught.value.code is ErrorCode.KMS_RESPONSE


@pytest.mark.parametrize("blob", [None, b""])
def test_a_new_data_key_without_its_wrapped_form_is_refused(blob: bytes | None) -> None:
    assert answered("GenerateDataKey", bytes(32), CiphertextBlob=b"wrapped") == bytes(32)
    with pytest.raises(ReleaseError) as caught:
        answered("GenerateDataKey", bytes(32), CiphertextBlob=blob)
    assert caught.value.code is ErrorCode.KMS_RESPONSE


@pytest.mark.parametrize(("curve", "length"), [(ec.SECP256R1(), 32), (ec.SECP384R1(), 48), (ec.SECP521R1(), 66)])
def test_a_shared_secret_has_the_length_of_the_field(curve: ec.EllipticCurve, length: int) -> None:
    public = ec.generate_private_key(curve).public_key()
    encoded = public.public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert requested_length(RECIPIENT_OPERATIONS["DeriveSharedSecret"], {"PublicKey": encoded}, None) == length


@pytest.mark.parametrize("public_key", [RSA_PUBLIC, "text", None], ids=["rsa", "text", "none"])
def test_another_public_key_yields_no_shared_secret(public_key: object) -> None:
    with pytest.raises(ReleaseError) as caught:
        requested_length(RECIPIENT_OPERATIONS["DeriveSharedSecret"], {"PublicKey": public_key}, None)
    assert caught.value.code is ErrorCode.KMS_REQUEST


def hooks(kms: ScriptedKms) -> AttestedHooks:
    class Nobody:
        def send(self, request: Any) -> Any:
            raise AssertionError(f"{request} was sent")

    return AttestedHooks(kms.configuration(), nsm_client(), FreshKeys(), Nobody())


def test_a_request_without_a_document_is_not_sent() -> None:
    request = AWSRequest(method="POST", url="https://kms.eu-central-1.amazonaws.com/", data=b"{}").prepare()
    with ScriptedKms() as kms, pytest.raises(ReleaseError) as caught:
        hooks(kms).send_what_was_attested(request)
    assert caught.value.code is ErrorCode.KMS_OPERATION


class Answered:
    """A response of a status that KMS does not use."""

    status_code = 202


def test_an_answer_to_no_question_and_an_odd_status_are_refused() -> None:
    with ScriptedKms() as kms:
        made = hooks(kms)
        response: Any = Answered()
        with pytest.raises(ReleaseError) as caught:
            made.open_answer(response, {"Plaintext": b"x"}, {})
        assert caught.value.code is ErrorCode.KMS_RESPONSE
        context: dict[str, Any] = {}
        model: Any = type("Model", (), {"name": "DescribeKey"})
        made.provide_recipient({"KeyId": str(KEY_ARN)}, model, context)
        with pytest.raises(ReleaseError) as caught:
            made.open_answer(response, {}, context)
        assert caught.value.code is ErrorCode.KMS_RESPONSE
        made.forget({})


def test_the_header_opener_bounds_its_input_and_lets_the_networks_errors_pass() -> None:
    with pytest.raises(ReleaseError) as caught:
        SdkHeaderOpener(keys()).open_header(bytes(16_385))
    assert caught.value.code is ErrorCode.WEIGHTS_HEADER
    with pytest.raises(ReleaseError) as caught:
        SdkHeaderOpener(keys()).open_header(b"\x02\x04\x78" + bytes(16_381))
    assert caught.value.code is ErrorCode.WEIGHTS_HEADER

    class Unreachable(type(keys())):  # type: ignore[misc]  # the SDK ships no types
        def decrypt_data_key_from_list(self, *_: Any, **__: Any) -> Any:
            raise EndpointConnectionError(endpoint_url="https://kms.eu-central-1.amazonaws.com/")

    from tests.unit.envelope.test_weights import HEADER_BYTES, SEALED

    with pytest.raises(BotoCoreError):
        SdkHeaderOpener(Unreachable(bytes(32))).open_header(SEALED[:HEADER_BYTES])


def test_the_opener_on_kms_names_exactly_its_key() -> None:
    from pcrgate.kms.client import attested_kms_client
    from tests.unit.kms.scripted_kms import StaticCredentials

    with ScriptedKms() as kms:
        client = attested_kms_client(
            kms.configuration(), nsm=nsm_client(), dialer=kms.dialer, credentials=StaticCredentials()
        )
        opener = SdkHeaderOpener.on_kms(client, KeyArn.parse(str(KEY_ARN)))
        from tests.unit.envelope.test_weights import HEADER_BYTES, SEALED

        with pytest.raises(ReleaseError) as caught:  # sealed under a raw key: nobody at KMS is asked for it
            opener.open_header(SEALED[:HEADER_BYTES])
        assert caught.value.code is ErrorCode.WEIGHTS_HEADER
        assert kms.requests == []
        client.close()


def test_the_opener_on_kms_tells_what_kms_answered() -> None:
    # The SDK drops KMS's error for one of its own without a cause, as if the header were wrong.
    from pcrgate.kms.client import attested_kms_client
    from tests.unit.kms.scripted_kms import CONTEXT, StaticCredentials, honest

    with ScriptedKms() as kms:
        client = attested_kms_client(
            kms.configuration(), nsm=nsm_client(), dialer=kms.dialer, credentials=StaticCredentials()
        )
        stock = KMSMasterKey(config=KMSMasterKeyConfig(key_id=str(KEY_ARN), client=client))
        sealed, _ = sdk().encrypt(source=b"x", key_provider=stock, encryption_context=CONTEXT, algorithm=SUITE)
        raw = parse_header(io.BytesIO(sealed).read).raw
        opener = SdkHeaderOpener.on_kms(client, KEY_ARN)
        assert opener.open_header(raw).encryption_context == CONTEXT
        kms.answer = lambda _: (400, {"__type": "AccessDeniedException", "message": "no"})
        with pytest.raises(ClientError) as refused:
            opener.open_header(raw)
        assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
        kms.answer = honest
        changed = bytearray(raw)
        changed[-1] ^= 1
        with pytest.raises(ReleaseError) as caught:
            opener.open_header(bytes(changed))
        assert caught.value.code is ErrorCode.WEIGHTS_HEADER
        client.close()
