"""The attested client against a KMS over TLS: what is released, what is refused, and that nothing is mixed up."""

import gc
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import Algorithm
from aws_encryption_sdk.key_providers.kms import KMSMasterKey, KMSMasterKeyConfig
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pcrgate.attestation.cose import parse_sign1
from pcrgate.attestation.document import parse_payload
from pcrgate.errors import ErrorCode, NsmError, PcrgateError, ReleaseError
from pcrgate.kms import hooks
from pcrgate.kms.client import attested_kms_client
from pcrgate.kms.commitment import request_commitment
from pcrgate.kms.expectation import ReleaseExpectation, expecting
from pcrgate.kms.key_pool import RecipientKeyPool
from pcrgate.kms.nsm_messages import NsmClient
from tests.attacks.mutants import mutant
from tests.unit.envelope.envelope_writer import Parts
from tests.unit.kms.scripted_kms import (
    BLOB,
    CONTEXT,
    DATA_KEY,
    KEY_ARN,
    OTHER_ARN,
    ROOTS,
    Answer,
    KmsRequest,
    ScriptedKms,
    StaticCredentials,
    honest,
    nsm_client,
    software_nsm,
)

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

DECRYPT: dict[str, Any] = {"CiphertextBlob": BLOB, "KeyId": str(KEY_ARN), "EncryptionContext": CONTEXT}
PEER_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
PEER_DER = PEER_KEY.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
PRIVATE_KEY = ec.generate_private_key(ec.SECP384R1())
PRIVATE_DER = PRIVATE_KEY.private_bytes(
    serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
PUBLIC_DER = PRIVATE_KEY.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)


@pytest.fixture
def kms() -> Iterator[ScriptedKms]:
    with ScriptedKms() as running:
        yield running


@pytest.fixture
def client(kms: ScriptedKms) -> Iterator["KMSClient"]:
    made = make(kms)
    yield made
    made.close()


def make(kms: ScriptedKms, **changes: Any) -> "KMSClient":
    return attested_kms_client(
        kms.configuration(**changes), nsm=nsm_client(), dialer=kms.dialer, credentials=StaticCredentials()
    )


def refusal(action: Callable[[], object]) -> PcrgateError:
    with pytest.raises(PcrgateError) as caught:
        action()
    return caught.value


def test_decrypt_is_attested_and_looks_as_without_recipient(kms: ScriptedKms, client: "KMSClient") -> None:
    response = client.decrypt(**DECRYPT)
    assert response["Plaintext"] == DATA_KEY
    assert "CiphertextForRecipient" not in dict(response)
    request = kms.requests[0]
    assert request.operation == "Decrypt"
    assert request.evidence.user_data == request_commitment("Decrypt", DECRYPT)
    assert request.evidence.nonce is not None
    assert len(request.evidence.nonce) == 32
    assert "AWS4-HMAC-SHA256" in request.headers["Authorization"]


def test_every_operation_with_a_recipient_releases(kms: ScriptedKms, client: "KMSClient") -> None:
    key: dict[str, Any] = {"KeyId": str(KEY_ARN), "EncryptionContext": CONTEXT}
    assert client.generate_data_key(**key, KeySpec="AES_256")["Plaintext"] == DATA_KEY
    assert client.generate_data_key(**key, NumberOfBytes=64)["Plaintext"] == DATA_KEY.ljust(64, b"\x00")
    assert client.generate_random(NumberOfBytes=24)["Plaintext"] == b"\x07" * 24
    shared = client.derive_shared_secret(KeyId=str(KEY_ARN), KeyAgreementAlgorithm="ECDH", PublicKey=PEER_DER)
    assert shared["SharedSecret"] == DATA_KEY
    kms.answer = pair_answer
    pair = client.generate_data_key_pair(**key, KeyPairSpec="ECC_NIST_P384")
    assert pair["PrivateKeyPlaintext"] == PRIVATE_DER
    documents = {request.document for request in kms.requests}
    keys = [request.evidence.public_key for request in kms.requests]
    nonces = [request.evidence.nonce for request in kms.requests]
    assert None not in documents
    assert len(documents) == len(set(keys)) == len(set(nonces)) == 5


def pair_answer(request: KmsRequest) -> Answer:
    import base64

    return 200, {
        "KeyId": str(KEY_ARN),
        "PublicKey": base64.b64encode(PUBLIC_DER).decode(),
        "PrivateKeyCiphertextBlob": "AA==",
        "KeyPairSpec": "ECC_NIST_P384",
        "CiphertextForRecipient": request.sealed(PRIVATE_DER),
    }


def test_reading_a_pinned_key_needs_no_recipient(kms: ScriptedKms, client: "KMSClient") -> None:
    assert client.describe_key(KeyId=str(KEY_ARN))["KeyMetadata"]["Arn"] == str(KEY_ARN)
    assert client.get_key_policy(KeyId=str(KEY_ARN), PolicyName="default")["Policy"] == "{}"
    assert [request.document for request in kms.requests] == [None, None]
    assert refusal(lambda: client.describe_key(KeyId=str(OTHER_ARN))).code is ErrorCode.KMS_KEY_NOT_PINNED
    kms.answer = lambda _: (200, {"KeyMetadata": {"Arn": str(OTHER_ARN), "KeyId": OTHER_ARN.key_id}})
    assert refusal(lambda: client.describe_key(KeyId=str(KEY_ARN))).code is ErrorCode.KMS_RESPONSE


OTHER_CALLS: dict[str, Callable[["KMSClient"], object]] = {
    "Encrypt": lambda kms: kms.encrypt(KeyId=str(KEY_ARN), Plaintext=b"x"),
    "ReEncrypt": lambda kms: kms.re_encrypt(CiphertextBlob=BLOB, DestinationKeyId=str(KEY_ARN)),
    "GenerateDataKeyWithoutPlaintext": lambda kms: kms.generate_data_key_without_plaintext(
        KeyId=str(KEY_ARN), KeySpec="AES_256"
    ),
    "Sign": lambda kms: kms.sign(KeyId=str(KEY_ARN), Message=b"x", SigningAlgorithm="ECDSA_SHA_256"),
    "GenerateMac": lambda kms: kms.generate_mac(KeyId=str(KEY_ARN), Message=b"x", MacAlgorithm="HMAC_SHA_256"),
    "PutKeyPolicy": lambda kms: kms.put_key_policy(KeyId=str(KEY_ARN), Policy="{}"),
    "CreateGrant": lambda kms: kms.create_grant(KeyId=str(KEY_ARN), GranteePrincipal="p", Operations=["Decrypt"]),
    "ListKeys": lambda kms: kms.list_keys(),
    "ListKeys, paginated": lambda kms: list(kms.get_paginator("list_keys").paginate()),
    "presigned": lambda kms: kms.generate_presigned_url("decrypt", Params=DECRYPT),
}


@pytest.mark.parametrize("name", OTHER_CALLS)
def test_other_operations_do_not_leave(kms: ScriptedKms, client: "KMSClient", name: str) -> None:
    assert refusal(lambda: OTHER_CALLS[name](client)).code is ErrorCode.KMS_OPERATION
    assert kms.requests == []


def test_every_operation_botocore_knows_is_sorted(client: "KMSClient") -> None:
    from pcrgate.kms.operations import READ_ONLY_OPERATIONS, RECIPIENT_OPERATIONS

    model = client.meta.service_model
    with_recipient = {
        name
        for name in model.operation_names
        if "Recipient" in (model.operation_model(name).input_shape or _None).members
    }
    assert with_recipient == set(RECIPIENT_OPERATIONS)
    assert set(model.operation_names) >= READ_ONLY_OPERATIONS


class _None:
    members: tuple[str, ...] = ()


BAD_REQUESTS: dict[str, tuple[dict[str, Any], ErrorCode]] = {
    "no key": ({"KeyId": None}, ErrorCode.KMS_KEY_NOT_PINNED),
    "bare id": ({"KeyId": KEY_ARN.key_id}, ErrorCode.KMS_KEY_NOT_PINNED),
    "alias": ({"KeyId": "alias/weights"}, ErrorCode.KMS_KEY_NOT_PINNED),
    "alias ARN": ({"KeyId": "arn:aws:kms:eu-central-1:123456789012:alias/weights"}, ErrorCode.KMS_KEY_NOT_PINNED),
    "other key": ({"KeyId": str(OTHER_ARN)}, ErrorCode.KMS_KEY_NOT_PINNED),
    "other Region": ({"KeyId": str(KEY_ARN).replace("eu-central-1", "us-east-1")}, ErrorCode.KMS_KEY_NOT_PINNED),
    "other account": ({"KeyId": str(KEY_ARN).replace("1234", "4321")}, ErrorCode.KMS_KEY_NOT_PINNED),
    "upper case": ({"KeyId": str(KEY_ARN).upper()}, ErrorCode.KMS_KEY_NOT_PINNED),
    "no context": ({"EncryptionContext": None}, ErrorCode.KMS_REQUEST),
    "empty context": ({"EncryptionContext": {}}, ErrorCode.KMS_CONTEXT),
    "other context": ({"EncryptionContext": {"class": "weights"}}, ErrorCode.KMS_CONTEXT),
    "own recipient": (
        {"Recipient": {"AttestationDocument": b"x", "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"}},
        ErrorCode.KMS_REQUEST,
    ),
    "grant token": ({"GrantTokens": ["token"]}, ErrorCode.KMS_REQUEST),
    "dry run": ({"DryRun": True}, ErrorCode.KMS_REQUEST),
    "asymmetric": ({"EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}, ErrorCode.KMS_REQUEST),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_requests_do_not_leave(kms: ScriptedKms, client: "KMSClient", name: str) -> None:
    changes, code = BAD_REQUESTS[name]
    request = {key: value for key, value in (DECRYPT | changes).items() if value is not None}
    assert refusal(lambda: client.decrypt(**request)).code is code
    assert kms.requests == []


@pytest.mark.parametrize(
    "length",
    [
        {},
        {"NumberOfBytes": 0},
        {"NumberOfBytes": 1025},
        {"KeySpec": "AES_256", "NumberOfBytes": 32},
        {"KeySpec": "AES"},
    ],
)
def test_a_data_key_needs_one_length(kms: ScriptedKms, client: "KMSClient", length: dict[str, Any]) -> None:
    key: dict[str, Any] = {"KeyId": str(KEY_ARN), "EncryptionContext": CONTEXT}
    assert refusal(lambda: client.generate_data_key(**key, **length)).code is ErrorCode.KMS_REQUEST
    assert kms.requests == []


def test_lengths_at_the_bounds_are_asked_for(client: "KMSClient") -> None:
    for length in (1, 1024):
        assert len(client.generate_random(NumberOfBytes=length)["Plaintext"]) == length


@pytest.mark.parametrize("public_key", [b"", b"\x30\x00", b"not der"])
def test_a_peer_key_that_is_none_does_not_leave(kms: ScriptedKms, client: "KMSClient", public_key: bytes) -> None:
    error = refusal(
        lambda: client.derive_shared_secret(KeyId=str(KEY_ARN), KeyAgreementAlgorithm="ECDH", PublicKey=public_key)
    )
    assert error.code is ErrorCode.KMS_REQUEST
    assert kms.requests == []


def test_a_scoped_expectation_opens_another_context(kms: ScriptedKms, client: "KMSClient") -> None:
    session = {"class": "session", "id": "7"}
    asked: dict[str, Any] = {"KeyId": str(KEY_ARN), "EncryptionContext": session, "KeySpec": "AES_256"}
    assert refusal(lambda: client.generate_data_key(**asked)).code is ErrorCode.KMS_CONTEXT
    scoped = ReleaseExpectation(operation="GenerateDataKey", key_arn=KEY_ARN, encryption_context=session)
    with expecting(scoped):
        assert client.generate_data_key(**asked)["Plaintext"] == DATA_KEY
    assert refusal(lambda: client.generate_data_key(**asked)).code is ErrorCode.KMS_CONTEXT
    assert len(kms.requests) == 1


def test_an_error_of_kms_stays_botocores(kms: ScriptedKms, client: "KMSClient") -> None:
    kms.answer = lambda _: (400, {"__type": "AccessDeniedException", "message": "no"})
    with pytest.raises(ClientError) as caught:
        client.decrypt(**DECRYPT)
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"


def test_an_error_that_carries_plaintext_yields_none(kms: ScriptedKms, client: "KMSClient") -> None:
    kms.answer = lambda _: (400, {"__type": "AccessDeniedException", "Plaintext": "AAAA"})
    with pytest.raises(ClientError) as caught:
        client.decrypt(**DECRYPT)
    assert "Plaintext" not in caught.value.response


def test_retries_send_the_same_document_and_open_once(kms: ScriptedKms) -> None:
    failures = iter([500, 503])

    def flaky(request: KmsRequest) -> Answer:
        status = next(failures, 200)
        return honest(request) if status == 200 else (status, {"__type": "InternalFailure"})

    kms.answer = flaky
    client = make(kms, attempts=3)
    assert client.decrypt(**DECRYPT)["Plaintext"] == DATA_KEY
    assert len(kms.requests) == 3
    assert len({request.document for request in kms.requests}) == 1
    client.close()


def test_a_lost_connection_is_retried(kms: ScriptedKms) -> None:
    calls = []

    def dropping(request: KmsRequest) -> Answer:
        calls.append(request)
        if len(calls) == 1:
            raise ConnectionResetError
        return honest(request)

    kms.answer = dropping
    client = make(kms, attempts=2)
    assert client.decrypt(**DECRYPT)["Plaintext"] == DATA_KEY
    assert len(calls) == 2
    client.close()


def test_a_refused_answer_is_not_retried(kms: ScriptedKms) -> None:
    kms.answer = lambda _: (200, {"KeyId": str(KEY_ARN), "Plaintext": "AAAA"})
    client = make(kms, attempts=3)
    assert refusal(lambda: client.decrypt(**DECRYPT)).code is ErrorCode.KMS_RESPONSE
    assert len(kms.requests) == 1
    client.close()


def test_an_answer_after_the_timeout_is_an_error_of_botocore(kms: ScriptedKms) -> None:
    released = threading.Event()

    def slow(request: KmsRequest) -> Answer:
        released.wait(30)
        return honest(request)

    kms.answer = slow
    client = make(kms, read_timeout_s=0.2)
    with pytest.raises(BotoCoreError):
        client.decrypt(**DECRYPT)
    released.set()
    client.close()


def test_no_document_no_request(kms: ScriptedKms) -> None:
    class Broken:
        def request(self, data: bytes) -> bytes:
            assert data
            return b"\x00"

    with RecipientKeyPool(capacity=1) as pool:
        client = attested_kms_client(
            kms.configuration(),
            nsm=NsmClient(Broken(), roots=ROOTS),
            dialer=kms.dialer,
            credentials=StaticCredentials(),
            recipient_keys=pool,
        )
        with pytest.raises(NsmError):
            client.decrypt(**DECRYPT)
        client.close()
    assert kms.requests == []


def test_an_own_document_that_does_not_verify_releases_nothing(kms: ScriptedKms) -> None:
    # The scripted KMS is one that does not verify: what stops the release is our own look at our own document.
    class BadSignature:
        honest = software_nsm()

        def request(self, data: bytes) -> bytes:
            answer = bytearray(self.honest.request(data))
            answer[-1] ^= 1
            return bytes(answer)

    client = attested_kms_client(
        kms.configuration(),
        nsm=NsmClient(BadSignature(), roots=ROOTS),
        dialer=kms.dialer,
        credentials=StaticCredentials(),
    )

    def sealed_for(request: KmsRequest) -> Answer:
        import base64

        payload = parse_payload(parse_sign1(request.document or b"").payload)
        public_key = serialization.load_der_public_key(payload.public_key or b"")
        assert isinstance(public_key, rsa.RSAPublicKey)
        envelope = base64.b64encode(Parts(public_key=public_key, plaintext=DATA_KEY).write()).decode()
        return 200, {"KeyId": str(KEY_ARN), "CiphertextForRecipient": envelope}

    kms.answer = sealed_for
    assert refusal(lambda: client.decrypt(**DECRYPT)).code is ErrorCode.NSM_DOCUMENT
    with mutant(hooks, "            pending.verification.result()\n", "\n"):
        assert client.decrypt(**DECRYPT)["Plaintext"] == DATA_KEY
    client.close()


def test_the_stock_encryption_sdk_works_on_top(kms: ScriptedKms, client: "KMSClient") -> None:
    provider = KMSMasterKey(config=KMSMasterKeyConfig(key_id=str(KEY_ARN), client=client))
    sdk = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    sealed, _ = sdk.encrypt(
        source=b"weights",
        key_provider=provider,
        encryption_context=CONTEXT,
        algorithm=Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
    )
    opened, header = sdk.decrypt(source=sealed, key_provider=provider)
    assert opened == b"weights"
    assert header.encryption_context == CONTEXT
    assert [request.operation for request in kms.requests] == ["GenerateDataKey", "Decrypt"]
    assert None not in [request.document for request in kms.requests]


def test_200_interleaved_calls_with_shuffled_answers_are_not_mixed_up(kms: ScriptedKms) -> None:
    # Attack B14: every answer waits for a random other one, so answers come in another order than requests.
    order = random.Random(14)
    waits = {number.to_bytes(2, "big"): order.random() / 20 for number in range(200)}

    def shuffled(request: KmsRequest) -> Answer:
        import base64

        blob = base64.b64decode(request.fields["CiphertextBlob"])
        time.sleep(waits[blob[:2]])
        answer = {"KeyId": str(KEY_ARN), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}
        return 200, answer | {"CiphertextForRecipient": request.sealed(blob[:2] * 16)}

    kms.answer = shuffled
    client = make(kms, connect_timeout_s=60.0, read_timeout_s=60.0)
    results: dict[int, bytes] = {}
    numbers = iter(range(200))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            blob = number.to_bytes(2, "big") + os.urandom(20)
            results[number] = client.decrypt(**DECRYPT | {"CiphertextBlob": blob})["Plaintext"]

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: number.to_bytes(2, "big") * 16 for number in range(200)}
    assert len({request.evidence.nonce for request in kms.requests}) == 200
    client.close()


REGISTERED = {
    "sending": '            ("before-send.kms", self.send_what_was_attested),\n',
    "recipient": '            ("provide-client-params.kms", self.provide_recipient),\n',
}


def test_without_the_hook_that_sends_botocore_sends_through_the_same_gate(kms: ScriptedKms) -> None:
    # Attack B15: code in reach of the client takes hooks off its events.
    with mutant(hooks, REGISTERED["sending"], ""):
        client = make(kms)
    assert client.decrypt(**DECRYPT)["Plaintext"] == DATA_KEY
    assert kms.requests[0].document is not None
    client.close()
    with mutant(hooks, REGISTERED["sending"], "", (REGISTERED["recipient"], "")):
        bare = make(kms)
    assert refusal(lambda: bare.decrypt(**DECRYPT)).code is ErrorCode.KMS_OPERATION
    assert refusal(lambda: bare.sign(KeyId=str(KEY_ARN), Message=b"x", SigningAlgorithm="ECDSA_SHA_256")).code is (
        ErrorCode.KMS_OPERATION
    )
    assert len(kms.requests) == 1
    bare.close()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(kms: ScriptedKms, client: "KMSClient", status: int) -> None:
    kms.answer_headers = {"Location": "https://kms.us-east-1.amazonaws.com/"}
    kms.answer = lambda _: (status, {"__type": "PermanentRedirect", "Plaintext": "AAAA"})
    with pytest.raises(ClientError) as caught:
        client.decrypt(**DECRYPT)
    assert "Plaintext" not in caught.value.response
    assert len(kms.requests) == 1


def test_a_dropped_client_closes_its_connections(kms: ScriptedKms) -> None:
    client = make(kms)
    client.decrypt(**DECRYPT)
    client.close()
    del client
    gc.collect()  # an unclosed socket would warn, and warnings are errors


def test_release_errors_are_of_the_family() -> None:
    assert issubclass(ReleaseError, PcrgateError)
