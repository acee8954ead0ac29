"""The five recipient operations: only CiphertextForRecipient leaves, and only to a key that was verified."""

from typing import Any

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from pcrgate.twin.kms.interface import Caller
from pcrgate.twin.kms.service_errors import AwsCode, AwsError
from tests.unit.twin.kms.kit import ACCOUNT, RECIPIENT, REGION, Twin, recipient_key, recipient_spki

RELEASING = {
    "Decrypt": "Plaintext",
    "GenerateDataKey": "Plaintext",
    "GenerateDataKeyPair": "PrivateKeyPlaintext",
    "DeriveSharedSecret": "SharedSecret",
    "GenerateRandom": "Plaintext",
}


def _open(sealed: bytes) -> bytes:
    enveloped = cms.ContentInfo.load(sealed)["content"]
    encrypted_key = enveloped["recipient_infos"][0].chosen["encrypted_key"].native
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    content_key = recipient_key().decrypt(encrypted_key, oaep)
    info = enveloped["encrypted_content_info"]
    iv = info["content_encryption_algorithm"]["parameters"].native
    decryptor = Cipher(algorithms.AES(content_key), modes.CBC(iv)).decryptor()
    unpadder = PKCS7(128).unpadder()
    padded = decryptor.update(info["encrypted_content"].native) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()


def _members(twin: Twin, operation: str) -> dict[str, Any]:
    if operation == "GenerateRandom":
        return {"NumberOfBytes": 32}
    if operation == "DeriveSharedSecret":
        peer = ec.generate_private_key(ec.SECP256R1()).public_key()
        return {
            "KeyId": twin.key(KeySpec="ECC_NIST_P256", KeyUsage="KEY_AGREEMENT"),
            "KeyAgreementAlgorithm": "ECDH",
            "PublicKey": peer.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        }
    arn = twin.key()
    if operation == "Decrypt":
        return {"CiphertextBlob": twin.call("Encrypt", KeyId=arn, Plaintext=b"weights")["CiphertextBlob"]}
    return {"KeyId": arn, **({"KeySpec": "AES_256"} if operation == "GenerateDataKey" else {"KeyPairSpec": "RSA_2048"})}


@pytest.mark.parametrize("form", ["chunked", "primitive"])
@pytest.mark.parametrize("operation", RELEASING)
def test_only_the_sealed_form_leaves(operation: str, form: Any) -> None:
    twin = Twin(content_form=form)
    members = _members(twin, operation)
    plain = twin.call(operation, **members)
    answer = twin.call(operation, spki=recipient_spki(), Recipient=RECIPIENT, **members)
    assert set(answer) == set(plain) - {RELEASING[operation]} | {"CiphertextForRecipient"}
    opened = _open(answer["CiphertextForRecipient"])
    if operation in {"Decrypt", "DeriveSharedSecret"}:
        assert opened == plain[RELEASING[operation]]
    elif operation == "GenerateDataKeyPair":
        blob = answer["PrivateKeyCiphertextBlob"]
        assert opened == twin.call("Decrypt", CiphertextBlob=blob)["Plaintext"]
    else:
        assert len(opened) == 32


@pytest.mark.parametrize("operation", RELEASING)
def test_a_recipient_without_a_verified_key_gets_nothing(operation: str) -> None:
    twin = Twin()
    members = _members(twin, operation)
    prepared = twin.prepare(operation, members=members | {"Recipient": RECIPIENT})
    assert prepared.recipient_document == RECIPIENT["AttestationDocument"]
    with pytest.raises(AwsError) as caught:
        prepared.execute()
    assert caught.value.code is AwsCode.INTERNAL
    with pytest.raises(AwsError) as caught:
        twin.prepare(operation, members=members).execute(recipient_spki_der=recipient_spki())
    assert caught.value.code is AwsCode.INTERNAL


@pytest.mark.parametrize("left_out", ["AttestationDocument", "KeyEncryptionAlgorithm"])
def test_half_a_recipient_is_refused_before_anything_else(left_out: str) -> None:
    twin = Twin()
    half = {name: value for name, value in RECIPIENT.items() if name != left_out}
    message = twin.refused(AwsCode.VALIDATION, "GenerateRandom", NumberOfBytes=1, Recipient=half)
    assert f"recipient.{left_out[:1].lower()}{left_out[1:]}" in message
    other = RECIPIENT | {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_1"}
    twin.refused(AwsCode.VALIDATION, "GenerateRandom", NumberOfBytes=1, Recipient=other)


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("Encrypt", {"Plaintext": b"a"}),
        ("GenerateDataKeyWithoutPlaintext", {"KeySpec": "AES_256"}),
        ("ReEncrypt", {"CiphertextBlob": b"a"}),
        ("DescribeKey", {}),
        ("ListKeys", {}),
    ],
)
def test_operations_without_recipient_refuse_one(operation: str, members: dict[str, Any]) -> None:
    twin = Twin()
    request = {"KeyId": twin.key(), "DestinationKeyId": "x", "Recipient": RECIPIENT, **members}
    with pytest.raises(AwsError, match="does not support the Recipient"):
        twin.service.prepare(operation, request, Caller(account=ACCOUNT, region=REGION, arn="arn:aws:iam::1:root"))


def _spki(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("bits", [1024, 2048])
def test_recipient_keys_at_the_bound_and_below(bits: int) -> None:
    twin = Twin()
    spki = _spki(rsa.generate_private_key(65537, bits).public_key())
    members = {"NumberOfBytes": 1, "Recipient": RECIPIENT, "spki": spki}
    if bits == 2048:
        assert "Plaintext" not in twin.call("GenerateRandom", **members)
    else:
        assert "2048" in twin.refused(AwsCode.VALIDATION, "GenerateRandom", **members)


def test_recipient_keys_that_are_no_rsa_keys() -> None:
    twin = Twin()
    curve = _spki(ec.generate_private_key(ec.SECP384R1()).public_key())
    for spki in (curve, b"", b"garbage", recipient_spki() + b"\0"):
        twin.refused(AwsCode.VALIDATION, "GenerateRandom", NumberOfBytes=1, Recipient=RECIPIENT, spki=spki)
