"""Attested requests over the wire: the five operations, what is refused, and the client that an enclave uses."""

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from pcrgate.attestation.anchors import AWS_ROOTS, Roots
from pcrgate.errors import ErrorCode, ReleaseError
from pcrgate.kms.client import attested_kms_client
from pcrgate.kms.configuration import AttestedKmsConfiguration
from pcrgate.kms.expectation import ReleaseExpectation
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.twin.clients import LoopbackDialer, StaticCredentials, attested_client, boto_client, root_credentials
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from pcrgate.twin.tls import TlsFiles
from pcrgate.units import KeyArn, Sha384
from tests.support.plain_moto import plain_moto
from tests.support.recordings import load_index
from tests.support.twin_stage import (
    CONTEXT,
    PLAINTEXT,
    Stage,
    assume,
    document,
    make_role,
    opened,
    recipient,
    refusal,
    root_client,
    rsa_key,
    set_stage,
    spki_der,
)

pytestmark = pytest.mark.network

SECRETS = {"Plaintext", "PrivateKeyPlaintext", "SharedSecret"}


@pytest.fixture
def stage(kms_twin: Twin, nsm_pcrs: Mapping[int, Sha384]) -> Stage:
    return set_stage(kms_twin, nsm_pcrs[0])


def test_all_five_operations_answer_the_recipient_alone(kms_twin: Twin, nsm: SoftwareNsm) -> None:
    kms = root_client(kms_twin, "kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    agreement = kms.create_key(KeySpec="ECC_NIST_P384", KeyUsage="KEY_AGREEMENT")["KeyMetadata"]["Arn"]
    peer = ec.generate_private_key(ec.SECP384R1())
    peer_der = peer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    blob = kms.encrypt(KeyId=key, Plaintext=PLAINTEXT)["CiphertextBlob"]
    sent = recipient(document(nsm, spki_der()))

    decrypted = kms.decrypt(CiphertextBlob=blob, Recipient=sent)
    assert opened(decrypted["CiphertextForRecipient"]) == PLAINTEXT
    data_key = kms.generate_data_key(KeyId=key, KeySpec="AES_256", Recipient=sent)
    assert (
        opened(data_key["CiphertextForRecipient"])
        == kms.decrypt(CiphertextBlob=data_key["CiphertextBlob"])["Plaintext"]
    )
    pair = kms.generate_data_key_pair(KeyId=key, KeyPairSpec="ECC_NIST_P256", Recipient=sent)
    private = load_der_private_key(opened(pair["CiphertextForRecipient"]), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == pair["PublicKey"]
    shared = kms.derive_shared_secret(KeyId=agreement, KeyAgreementAlgorithm="ECDH", PublicKey=peer_der, Recipient=sent)
    plain = kms.derive_shared_secret(KeyId=agreement, KeyAgreementAlgorithm="ECDH", PublicKey=peer_der)
    assert opened(shared["CiphertextForRecipient"]) == plain["SharedSecret"]
    random = kms.generate_random(NumberOfBytes=24, Recipient=sent)
    assert len(opened(random["CiphertextForRecipient"])) == 24
    for answer in (decrypted, data_key, pair, shared, random):
        assert not SECRETS & set(answer)


def test_random_bytes_can_be_conditioned_on_attestation_in_iam(kms_twin: Twin, nsm: SoftwareNsm) -> None:
    role = make_role(kms_twin, "random")
    condition = {"StringEqualsIgnoreCase": {"kms:RecipientAttestation:ImageSha384": nsm.pcr(0).hex().upper()}}
    statement = {"Effect": "Allow", "Action": "kms:GenerateRandom", "Resource": "*", "Condition": condition}
    root_client(kms_twin, "iam").put_role_policy(
        RoleName=role.rpartition("/")[2],
        PolicyName="random",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statement}),
    )
    kms = boto_client(kms_twin, "kms", credentials=assume(kms_twin, role))
    assert kms.generate_random(NumberOfBytes=8, Recipient=recipient(document(nsm, spki_der())))[
        "CiphertextForRecipient"
    ]
    assert refusal(kms.generate_random, NumberOfBytes=8)[0] == "AccessDeniedException"


def test_an_operation_without_recipient_refuses_one(kms_twin: Twin, nsm: SoftwareNsm) -> None:
    kms = root_client(kms_twin, "kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    sent = json.dumps({"AttestationDocument": base64.b64encode(document(nsm, spki_der())).decode()})

    def add_recipient(params: dict[str, Any], **_: object) -> None:
        params["body"] = params["body"][:-1] + f', "Recipient": {sent}}}'.encode()

    kms.meta.events.register("before-call.kms", add_recipient)
    for operation in (kms.encrypt, kms.generate_data_key_without_plaintext):
        extra = {"Plaintext": b"x"} if operation == kms.encrypt else {"KeySpec": "AES_256"}
        assert refusal(operation, KeyId=key, **extra)[0] == "ValidationException"


@pytest.mark.parametrize("algorithm", ["RSAES_OAEP_SHA_1", "", "RSAES_PKCS1_V1_5"])
def test_another_key_encryption_algorithm_is_invalid(stage: Stage, nsm: SoftwareNsm, algorithm: str) -> None:
    sent = recipient(document(nsm, spki_der())) | {"KeyEncryptionAlgorithm": algorithm}
    assert refusal(stage.decrypt, Recipient=sent)[0] == "ValidationException"


def test_a_recipient_without_document_is_not_a_call_without_recipient(kms_twin: Twin) -> None:
    kms = root_client(kms_twin, "kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    for sent in ({}, {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"}, {"AttestationDocument": b"x"}):
        code, _ = refusal(kms.generate_data_key, KeyId=key, KeySpec="AES_256", Recipient=sent)
        assert code == "ValidationException"


@pytest.mark.parametrize(
    ("public_key", "said"),
    [(None, "holds no public key"), (b"none", "SubjectPublicKeyInfo"), (spki_der(rsa_key(1024)), "1024 bits")],
    ids=["absent", "garbage", "small"],
)
def test_a_document_without_a_usable_key_is_invalid(
    stage: Stage, nsm: SoftwareNsm, public_key: bytes | None, said: str
) -> None:
    code, message = refusal(stage.decrypt, Recipient=recipient(document(nsm, public_key)))
    assert code == "ValidationException"
    assert said in message


def test_a_debug_document_is_invalid_even_under_a_policy_of_zeros(kms_twin: Twin) -> None:
    debug = SoftwareNsm(pki=kms_twin.pki, pcrs={}, clock=kms_twin.clock, debug=True)
    kms = root_client(kms_twin, "kms")
    code, message = refusal(kms.generate_random, NumberOfBytes=8, Recipient=recipient(document(debug, spki_der())))
    assert code == "ValidationException"
    assert "debug" in message


def test_a_document_grows_stale_by_the_twins_clock(nsm_pcrs: Mapping[int, Sha384]) -> None:
    with Twin(TwinSettings(http_port=0, frozen_time_ms=1_800_000_000_000)) as twin:
        nsm = SoftwareNsm(pki=twin.pki, pcrs=nsm_pcrs, clock=twin.clock)
        kms = root_client(twin, "kms")
        sent = recipient(document(nsm, spki_der()))
        twin.clock.advance(300)
        assert kms.generate_random(NumberOfBytes=8, Recipient=sent)["CiphertextForRecipient"]
        twin.clock.advance(1)
        code, message = refusal(kms.generate_random, NumberOfBytes=8, Recipient=sent)
        assert code == "ValidationException"
        assert "evidence-too-old" in message


def test_the_key_state_counts_after_authorisation(stage: Stage, nsm: SoftwareNsm) -> None:
    sent = recipient(document(nsm, spki_der()))
    stage.administrator.disable_key(KeyId=stage.key_arn)
    assert refusal(stage.decrypt)[0] == "AccessDeniedException"
    assert refusal(stage.decrypt, Recipient=sent)[0] == "DisabledException"
    stage.administrator.enable_key(KeyId=stage.key_arn)
    assert "CiphertextForRecipient" in stage.decrypt(Recipient=sent)


def test_a_dry_run_is_judged_and_releases_nothing(stage: Stage, nsm: SoftwareNsm) -> None:
    sent = recipient(document(nsm, spki_der()))
    assert refusal(stage.decrypt, DryRun=True)[0] == "AccessDeniedException"
    assert refusal(stage.decrypt, Recipient=sent, DryRun=True)[0] == "DryRunOperationException"


def test_a_real_document_is_believed_under_the_real_roots() -> None:
    entries = [
        entry
        for entry in load_index("attestations")
        if entry["verdict"] == "accept"
        and not entry["debug"]
        and (entry["public_key_hex"] or "").startswith("30820122300d06092a864886f70d010101")
    ]
    if not entries:
        pytest.skip("no recording with an RSA key beside this checkout")
    entry = entries[0]
    settings = TwinSettings(http_port=0, frozen_time_ms=entry["timestamp_ms"], root_fingerprints=AWS_ROOTS.fingerprints)
    with Twin(settings) as twin:
        kms = root_client(twin, "kms")
        answer = kms.generate_random(NumberOfBytes=8, Recipient=recipient(entry["bytes"]))
        assert answer["CiphertextForRecipient"]
        assert "Plaintext" not in answer
        twin.clock.advance(301)
        assert refusal(kms.generate_random, Recipient=recipient(entry["bytes"]))[0] == "ValidationException"
    with Twin(TwinSettings(http_port=0, frozen_time_ms=entry["timestamp_ms"])) as twin:
        code, message = refusal(
            root_client(twin, "kms").generate_random, NumberOfBytes=8, Recipient=recipient(entry["bytes"])
        )
        assert code == "ValidationException"
        assert "root-unpinned" in message


@pytest.mark.parametrize("form", ["chunked", "primitive"])
def test_both_forms_of_content_can_be_chosen(form: Any, nsm_pcrs: Mapping[int, Sha384]) -> None:
    with Twin(TwinSettings(http_port=0, content_form=form)) as twin:
        nsm = SoftwareNsm(pki=twin.pki, pcrs=nsm_pcrs, clock=twin.clock)
        answer = root_client(twin, "kms").generate_random(
            NumberOfBytes=1024, Recipient=recipient(document(nsm, spki_der()))
        )
        blob = answer["CiphertextForRecipient"]
        assert (b"\xa0\x80\x04\x82\x03\xe8" in blob) is (form == "chunked")
        assert len(opened(blob)) == 1024


def test_the_attested_client_releases_through_the_twin(
    stage: Stage, attested_kms: Callable[..., Any], nsm: SoftwareNsm
) -> None:
    expectation = ReleaseExpectation(
        operation="Decrypt", key_arn=KeyArn.parse(stage.key_arn), encryption_context=CONTEXT
    )
    client = attested_kms(expectation, credentials=stage.parent_credentials)
    answer = client.decrypt(KeyId=stage.key_arn, CiphertextBlob=stage.ciphertext, EncryptionContext=CONTEXT)
    assert answer["Plaintext"] == PLAINTEXT
    counts = stage.twin.counters.snapshot()
    assert (counts["attested"], counts["not_attested"]) == (1, 0)


def test_the_attested_client_is_denied_with_another_image(stage: Stage) -> None:
    other = SoftwareNsm(pki=stage.twin.pki, pcrs={0: Sha384(b"\xee" * 48)}, clock=stage.twin.clock)
    expectation = ReleaseExpectation(
        operation="Decrypt", key_arn=KeyArn.parse(stage.key_arn), encryption_context=CONTEXT
    )
    client = attested_client(stage.twin, other, expectation, credentials=stage.parent_credentials)
    code, _ = refusal(client.decrypt, KeyId=stage.key_arn, CiphertextBlob=stage.ciphertext, EncryptionContext=CONTEXT)
    assert code == "AccessDeniedException"


def test_credentials_of_another_account_open_nothing(nsm_pcrs: Mapping[int, Sha384]) -> None:
    """Attack B8: the parent hands the enclave credentials of its own account."""
    with Twin(TwinSettings(http_port=0, https_port=0, other_accounts=("444455556666",))) as twin:
        stage = set_stage(twin, nsm_pcrs[0])
        nsm = SoftwareNsm(pki=twin.pki, pcrs=nsm_pcrs, clock=twin.clock)
        expectation = ReleaseExpectation(
            operation="Decrypt", key_arn=KeyArn.parse(stage.key_arn), encryption_context=CONTEXT
        )
        client = attested_client(twin, nsm, expectation, credentials=root_credentials(twin, "444455556666"))
        code, _ = refusal(
            client.decrypt, KeyId=stage.key_arn, CiphertextBlob=stage.ciphertext, EncryptionContext=CONTEXT
        )
        assert code == "AccessDeniedException"


def test_without_a_key_id_any_key_of_the_caller_opens(kms_twin: Twin, nsm: SoftwareNsm) -> None:
    """Attack B5, as on AWS: KMS goes by the ciphertext, so the caller has to name the key."""
    kms = root_client(kms_twin, "kms")
    meant, other = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    blob = kms.encrypt(KeyId=other, Plaintext=PLAINTEXT)["CiphertextBlob"]
    sent = recipient(document(nsm, spki_der()))
    assert kms.decrypt(CiphertextBlob=blob, Recipient=sent)["KeyId"] == other
    assert refusal(kms.decrypt, KeyId=meant, CiphertextBlob=blob, Recipient=sent)[0] == "IncorrectKeyException"


def test_a_replayed_document_yields_nothing_to_whoever_lacks_its_key(stage: Stage, nsm: SoftwareNsm) -> None:
    """Attack F1: the parent kept a document and sends it again; the key behind it is gone."""
    answer = stage.decrypt(Recipient=recipient(document(nsm, spki_der())))
    with pytest.raises(ReleaseError):
        opened(answer["CiphertextForRecipient"], rsa_key(3072))
    assert PLAINTEXT not in answer["CiphertextForRecipient"]


def test_the_attested_client_refuses_what_plain_moto_answers(kms_twin: Twin, nsm: SoftwareNsm, tmp_path: Path) -> None:
    """moto ignores the Recipient and answers with the plaintext: the client must not take it."""
    tls = TlsFiles.ensure(tmp_path)
    with plain_moto(tls.server_context()) as moto:
        plain = boto3.client(
            "kms",
            endpoint_url=moto.url,
            verify=str(tls.ca_path),
            region_name="eu-central-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )
        key = plain.create_key()["KeyMetadata"]["Arn"]
        blob = plain.encrypt(KeyId=key, Plaintext=PLAINTEXT, EncryptionContext=CONTEXT)["CiphertextBlob"]
        sent: Any = recipient(document(nsm, spki_der()))
        answer = plain.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT, Recipient=sent)
        assert answer["Plaintext"] == PLAINTEXT, "the negative fixture must give the plaintext away"
        arn = KeyArn.parse(key)
        client = attested_kms_client(
            AttestedKmsConfiguration(
                pinned_keys=frozenset({arn}),
                expectations=tuple(
                    ReleaseExpectation(operation=operation, key_arn=arn, encryption_context=CONTEXT)
                    for operation in ("Decrypt", "GenerateDataKey")
                ),
                ca_bundle=tls.ca_path,
            ),
            nsm=NsmClient(nsm, roots=Roots.pinned(kms_twin.pki.root_fingerprint)),
            dialer=LoopbackDialer(host="127.0.0.1", port=moto.port),
            credentials=StaticCredentials(credentials=root_credentials(kms_twin)),
        )
        for call in (
            lambda: client.decrypt(KeyId=key, CiphertextBlob=blob, EncryptionContext=CONTEXT),
            lambda: client.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=CONTEXT),
        ):
            with pytest.raises(ReleaseError) as caught:
                call()
            assert caught.value.code is ErrorCode.KMS_RESPONSE
