"""Group B, F and H against a KMS that verifies and enforces, and against plain moto, which does neither."""

import ast
import hashlib
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import Algorithm
from aws_encryption_sdk.key_providers.kms import KMSMasterKey, KMSMasterKeyConfig
from aws_encryption_sdk.structures import DataKey, MasterKeyInfo
from botocore.exceptions import ClientError, SSLError

from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.chain import ChainCache
from pcrgate.envelope.recipient import RecipientKey, open_ciphertext_for_recipient
from pcrgate.envelope.weights import open_weights
from pcrgate.envelope.weights_digest import WeightsExpectation, measure_sealed
from pcrgate.envelope.weights_source import MemorySource
from pcrgate.errors import ErrorCode, ReleaseError, UsageError
from pcrgate.kms import answers, relay
from pcrgate.kms.client import attested_kms_client
from pcrgate.kms.configuration import AttestedKmsConfiguration
from pcrgate.kms.credentials import TemporaryCredentials
from pcrgate.kms.expectation import ReleaseExpectation
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.kms.weights_key import SdkHeaderOpener
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from pcrgate.units import KeyArn, Sha384
from tests.attacks.mutants import mutant
from tests.support.plain_moto import plain_moto
from tests.support.twin_stage import CONTEXT, PLAINTEXT, Stage, assume, make_role, set_stage
from tests.unit.kms.scripted_kms import BUNDLE_PEM, CA_PEM, ScriptedKms

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

pytestmark = pytest.mark.network
PCR0 = Sha384(b"\x21" * 48)


@dataclass(frozen=True)
class Loopback:
    """Dial a TCP port of this machine, as the parent's relay would dial KMS."""

    port: int

    def dial(self, timeout_s: float | None) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout_s)


@dataclass(frozen=True)
class Fixed:
    """Give the same credentials each time."""

    credentials: TemporaryCredentials

    def fetch(self) -> TemporaryCredentials:
        return self.credentials


class PublisherMasterKey(KMSMasterKey):  # type: ignore[misc]  # the SDK ships no types
    """Seal as a publisher whose policy grants Encrypt alone: the data key is made here and wrapped by KMS."""

    def _generate_data_key(self, algorithm: Any, encryption_context: dict[str, str]) -> DataKey:
        plaintext = os.urandom(algorithm.kdf_input_len)
        wrapped = self.config.client.encrypt(
            KeyId=self._key_id, Plaintext=plaintext, EncryptionContext=encryption_context
        )
        return DataKey(
            key_provider=MasterKeyInfo(provider_id=self.provider_id, key_info=wrapped["KeyId"]),
            data_key=plaintext,
            encrypted_data_key=wrapped["CiphertextBlob"],
        )


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Twin(TwinSettings(http_port=None, https_port=0)) as twin:
        yield set_stage(twin, PCR0)


def enclave(stage: Stage, *, pcr0: Sha384 = PCR0, credentials: TemporaryCredentials | None = None) -> "KMSClient":
    """Return the client of an enclave with this measurement, on the parent's credentials."""
    arn = KeyArn.parse(stage.key_arn)
    nsm = SoftwareNsm(pki=stage.twin.pki, pcrs={0: pcr0})
    return attested_kms_client(
        AttestedKmsConfiguration(
            pinned_keys=frozenset({arn}),
            expectations=(
                ReleaseExpectation(operation="Decrypt", key_arn=arn, encryption_context=CONTEXT),
                ReleaseExpectation(operation="GenerateDataKey", key_arn=arn, encryption_context=CONTEXT),
            ),
            ca_bundle=stage.twin.ca_path,
            attempts=1,
        ),
        nsm=NsmClient(nsm, roots=Roots.pinned(stage.twin.pki.root_fingerprint), cache=ChainCache()),
        dialer=Loopback(int(stage.twin.https_url.rpartition(":")[2])),
        credentials=Fixed(credentials or stage.parent_credentials),
    )


def decrypt(client: "KMSClient", stage: Stage, **changes: Any) -> bytes:
    sent: dict[str, Any] = {"KeyId": stage.key_arn, "CiphertextBlob": stage.ciphertext, "EncryptionContext": CONTEXT}
    return client.decrypt(**sent | changes)["Plaintext"]


def test_the_right_image_is_released_what_was_sealed(stage: Stage) -> None:
    client = enclave(stage)
    assert decrypt(client, stage) == PLAINTEXT
    client.close()


def test_another_image_is_refused_by_kms(stage: Stage) -> None:
    client = enclave(stage, pcr0=Sha384(b"\x22" * 48))
    with pytest.raises(ClientError) as caught:
        decrypt(client, stage)
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    client.close()


def test_b8_credentials_of_another_role_are_refused_by_kms(stage: Stage) -> None:
    stranger = assume(stage.twin, make_role(stage.twin, "stranger"))
    client = enclave(stage, credentials=stranger)
    with pytest.raises(ClientError) as caught:
        decrypt(client, stage)
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    client.close()


def test_the_stock_encryption_sdk_opens_what_a_stock_publisher_sealed(stage: Stage) -> None:
    sdk = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    publisher = PublisherMasterKey(config=KMSMasterKeyConfig(key_id=stage.key_arn, client=stage.publisher))
    sealed, _ = sdk.encrypt(source=b"weights" * 1000, key_provider=publisher, encryption_context=CONTEXT)
    client = enclave(stage)
    provider = KMSMasterKey(config=KMSMasterKeyConfig(key_id=stage.key_arn, client=client))
    # The default suite signs and adds the public key to the context, which is then not the expected one.
    with pytest.raises(ReleaseError) as caught:
        sdk.decrypt(source=sealed, key_provider=provider)
    assert caught.value.code is ErrorCode.KMS_CONTEXT
    unsigned, _ = sdk.encrypt(
        source=b"weights" * 1000,
        key_provider=publisher,
        encryption_context=CONTEXT,
        algorithm=Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
    )
    opened, header = sdk.decrypt(source=unsigned, key_provider=provider)
    assert opened == b"weights" * 1000
    assert header.encryption_context == CONTEXT
    client.close()


def test_weights_sealed_by_a_publisher_load_through_kms_and_another_image_gets_none(stage: Stage) -> None:
    sdk = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    publisher = PublisherMasterKey(config=KMSMasterKeyConfig(key_id=stage.key_arn, client=stage.publisher))
    plaintext = os.urandom(100_000)

    def seal() -> bytes:
        sealed: bytes = sdk.encrypt(
            source=plaintext,
            key_provider=publisher,
            encryption_context=CONTEXT,
            algorithm=Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
        )[0]
        return sealed

    sealed, minted = seal(), seal()
    measured = measure_sealed(MemorySource(sealed))
    signed = WeightsExpectation(
        header_sha384=measured.header_sha384,
        frames_sha384=measured.frames_sha384,
        plaintext_bytes=len(plaintext),
        plaintext_sha384=Sha384(hashlib.sha384(plaintext).digest()),
        encryption_context=CONTEXT,
    )

    def load(client: "KMSClient", message: bytes) -> bytes:
        opener = SdkHeaderOpener.on_kms(client, KeyArn.parse(stage.key_arn))
        with open_weights(MemorySource(message), signed, opener=opener, max_plaintext_bytes=1 << 20) as buffer:
            return bytes(buffer.view())

    right, wrong = enclave(stage), enclave(stage, pcr0=Sha384(b"\x22" * 48))
    assert load(right, sealed) == plaintext
    with pytest.raises(ClientError) as refused:
        load(wrong, sealed)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    # B3 at KMS: a message minted under the right key and context is refused without asking KMS.
    stage.twin.counters.clear()
    with pytest.raises(ReleaseError) as caught:
        load(right, minted)
    assert caught.value.code is ErrorCode.WEIGHTS_DIGEST
    assert stage.twin.counters.snapshot()["attested"] == 0
    right.close()
    wrong.close()


def test_f1_a_replayed_document_gives_the_parent_nothing(stage: Stage) -> None:
    sent: list[dict[str, Any]] = []
    client = enclave(stage)
    client.meta.events.register("before-parameter-build.kms.Decrypt", lambda params, **_: sent.append(dict(params)))
    assert decrypt(client, stage) == PLAINTEXT
    client.close()
    answer = stage.parent.decrypt(**sent[0])
    assert not answer.get("Plaintext")
    with pytest.raises(ReleaseError):  # the parent has no key that opens it; the enclave's is gone
        open_ciphertext_for_recipient(answer["CiphertextForRecipient"], RecipientKey.generate())
    spent = RecipientKey.generate()
    spent.erase()
    with pytest.raises(UsageError):
        open_ciphertext_for_recipient(answer["CiphertextForRecipient"], spent)


def test_b15_no_call_without_a_document_reaches_kms_from_the_enclave(stage: Stage) -> None:
    stage.twin.counters.clear()
    client = enclave(stage)
    decrypt(client, stage)
    for attempt in (
        lambda: client.encrypt(KeyId=stage.key_arn, Plaintext=b"x"),
        lambda: client.list_keys(),
        lambda: decrypt(client, stage, KeyId=stage.key_arn.rpartition("/")[2]),
    ):
        with pytest.raises(ReleaseError):
            attempt()
    client.close()
    counted = stage.twin.counters.snapshot()
    assert (counted["attested"], counted["not_attested"]) == (1, 0)
    assert counted["calls"] == [{"operation": "Decrypt", "attested": True, "outcome": "ok", "count": 1}]


def test_b11_plain_moto_is_refused_although_it_answers(tmp_path: Path) -> None:
    import boto3

    bundle, ca = tmp_path / "bundle.pem", tmp_path / "ca.pem"
    bundle.write_bytes(BUNDLE_PEM)
    ca.write_bytes(CA_PEM)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle)
    keys = TemporaryCredentials(
        access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="x" * 40, session_token=None, expires_at_s=2_000_000_000
    )
    with plain_moto(context) as moto:
        # moto looks the service up by host name, so a direct client for its set-up uses the certificate's name too.
        direct = boto3.client(
            "kms",
            region_name="eu-central-1",
            endpoint_url=f"https://localhost:{moto.port}",
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret_access_key,
            verify=str(ca),
        )
        arn = KeyArn.parse(direct.create_key()["KeyMetadata"]["Arn"])
        blob = direct.encrypt(KeyId=str(arn), Plaintext=PLAINTEXT, EncryptionContext=CONTEXT)["CiphertextBlob"]
        direct.close()
        from pcrgate.twin.pki import DevPki

        pki = DevPki(b"seed of an enclave before moto..")
        client = attested_kms_client(
            AttestedKmsConfiguration(
                pinned_keys=frozenset({arn}),
                expectations=(ReleaseExpectation(operation="Decrypt", key_arn=arn, encryption_context=CONTEXT),),
                ca_bundle=ca,
                attempts=1,
            ),
            nsm=NsmClient(SoftwareNsm(pki=pki, pcrs={0: PCR0}), roots=Roots.pinned(pki.root_fingerprint)),
            dialer=Loopback(moto.port),
            credentials=Fixed(keys),
        )

        def ask() -> bytes:
            return client.decrypt(KeyId=str(arn), CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"]

        with pytest.raises(ReleaseError) as caught:
            ask()
        assert caught.value.code is ErrorCode.KMS_RESPONSE
        # The mutant: a client that takes whatever plaintext comes back is served by a KMS that attests nothing.
        with (
            mutant(
                answers,
                "any(parsed.get(name) for name in PLAINTEXT_FIELDS)",
                "False",
                (
                    "        if type(envelope) is not bytes:\n            raise answer_refused()\n",
                    "        if type(envelope) is not bytes:\n            return SecretBytes(bytes(32))\n",
                ),
            ),
            pytest.raises(KeyError),  # it got as far as taking the envelope out of the accepted answer
        ):
            ask()
        client.close()


@pytest.mark.parametrize("operation", ["decrypt", "generate_data_key", "generate_random"])
def test_b9_a_relay_that_forges_the_envelope_fails_at_tls(operation: str) -> None:
    from tests.unit.kms.scripted_kms import CONTEXT as SCRIPTED_CONTEXT
    from tests.unit.kms.scripted_kms import DATA_KEY, KEY_ARN, StaticCredentials, nsm_client

    # The forger is the scripted KMS: it seals a key it knows to the enclave's public key, which it sees. All it lacks
    # is a certificate that the measured CA signed.
    with ScriptedKms() as forger:
        trusted, _ = _another_ca(forger.path.parent)
        parameters: dict[str, dict[str, Any]] = {
            "decrypt": {"KeyId": str(KEY_ARN), "CiphertextBlob": b"x", "EncryptionContext": SCRIPTED_CONTEXT},
            "generate_data_key": {"KeyId": str(KEY_ARN), "KeySpec": "AES_256", "EncryptionContext": SCRIPTED_CONTEXT},
            "generate_random": {"NumberOfBytes": 32},
        }

        def attack() -> bytes:
            client = attested_kms_client(
                forger.configuration(ca_bundle=trusted),
                nsm=nsm_client(),
                dialer=forger.dialer,
                credentials=StaticCredentials(),
            )
            try:
                plaintext: bytes = getattr(client, operation)(**parameters[operation])["Plaintext"]
                return plaintext
            finally:
                client.close()

        with pytest.raises(SSLError):
            attack()
        assert forger.requests == []
        with (
            mutant(
                relay,
                '"verify": str(ca_bundle)',
                '"verify": False',
                ("context.verify_mode = ssl.CERT_REQUIRED", "context.check_hostname = False"),
                ("context.check_hostname = True", "context.verify_mode = ssl.CERT_NONE"),
            ),
            pytest.warns(match="Unverified HTTPS request"),
        ):
            assert attack() in (DATA_KEY, b"\x07" * 32)


def _another_ca(folder: Path) -> tuple[Path, bytes]:
    from pcrgate.twin.tls import make_chain

    ca, bundle = make_chain()
    (folder / "other-ca.pem").write_bytes(ca)
    return folder / "other-ca.pem", bundle


def test_h12_nothing_secret_is_logged_on_the_way(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        client = enclave(stage)
        decrypt(client, stage)
        with pytest.raises(ReleaseError):
            decrypt(client, stage, EncryptionContext={"class": "other"})
        client.close()
    for secret in (
        stage.parent_credentials.secret_access_key,
        stage.parent_credentials.session_token or "-",
        PLAINTEXT.decode(),
        PLAINTEXT.hex(),
    ):
        assert secret not in caplog.text


def test_b15_only_one_place_makes_a_client() -> None:
    root = Path(__file__).resolve().parents[2]
    found: set[str] = set()
    for package in ("enclave", "pcrgate/attestation", "pcrgate/envelope", "pcrgate/kms", "pcrgate/manifest"):
        for path in (root / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and node.attr in {"create_client", "client", "resource"}:
                    owner = node.value.id if isinstance(node.value, ast.Name) else ""
                    if owner in {"boto3", "session", "botocore"}:
                        found.add(str(path.relative_to(root)))
    assert found == {"pcrgate/kms/client.py"}
