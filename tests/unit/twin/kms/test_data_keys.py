import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pcrgate.twin.kms.service_errors import AwsCode
from tests.unit.twin.kms.kit import Twin


@pytest.mark.parametrize(
    ("members", "length"),
    [
        ({"KeySpec": "AES_256"}, 32),
        ({"KeySpec": "AES_128"}, 16),
        ({"NumberOfBytes": 1}, 1),
        ({"NumberOfBytes": 1024}, 1024),
    ],
)
def test_data_keys_come_in_clear_and_encrypted(members: dict[str, object], length: int) -> None:
    twin = Twin()
    arn = twin.key()
    made = twin.call("GenerateDataKey", KeyId=arn, EncryptionContext={"a": "b"}, **members)
    assert (len(made["Plaintext"]), made["KeyId"]) == (length, arn)
    opened = twin.call("Decrypt", CiphertextBlob=made["CiphertextBlob"], EncryptionContext={"a": "b"})
    assert (opened["Plaintext"], opened["KeyMaterialId"]) == (made["Plaintext"], made["KeyMaterialId"])
    hidden = twin.call("GenerateDataKeyWithoutPlaintext", KeyId=arn, **members)
    assert set(hidden) == {"CiphertextBlob", "KeyId", "KeyMaterialId"}
    assert len(twin.call("Decrypt", CiphertextBlob=hidden["CiphertextBlob"])["Plaintext"]) == length


def test_data_keys_that_are_not_made() -> None:
    twin = Twin()
    arn = twin.key()
    rsa_arn = twin.key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")
    twin.refused(AwsCode.VALIDATION, "GenerateDataKey", KeyId=arn)
    twin.refused(AwsCode.VALIDATION, "GenerateDataKey", KeyId=arn, KeySpec="AES_256", NumberOfBytes=32)
    twin.refused(AwsCode.VALIDATION, "GenerateDataKey", KeyId=arn, NumberOfBytes=0)
    twin.refused(AwsCode.VALIDATION, "GenerateDataKey", KeyId=arn, NumberOfBytes=1025)
    twin.refused(AwsCode.INVALID_KEY_USAGE, "GenerateDataKey", KeyId=rsa_arn, KeySpec="AES_256")
    twin.refused(AwsCode.INVALID_KEY_USAGE, "GenerateDataKeyPair", KeyId=rsa_arn, KeyPairSpec="ECC_NIST_P256")
    twin.refused(AwsCode.UNSUPPORTED_OPERATION, "GenerateDataKeyPair", KeyId=arn, KeyPairSpec="SM2")
    twin.refused(AwsCode.DRY_RUN, "GenerateDataKey", KeyId=arn, KeySpec="AES_256", DryRun=True)
    twin.refused(AwsCode.DRY_RUN, "GenerateDataKeyPair", KeyId=arn, KeyPairSpec="ECC_NIST_P256", DryRun=True)


@pytest.mark.parametrize(
    "spec",
    ["RSA_2048", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519"],
)
def test_data_key_pairs_belong_together(spec: str) -> None:
    twin = Twin()
    arn = twin.key()
    members = {"KeyId": arn, "KeyPairSpec": spec, "EncryptionContext": {"a": "b"}}
    made = twin.call("GenerateDataKeyPair", **members)
    assert made["KeyPairSpec"] == spec
    private = serialization.load_der_private_key(made["PrivateKeyPlaintext"], None)
    assert isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey)
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert public == made["PublicKey"]
    blob = made["PrivateKeyCiphertextBlob"]
    opened = twin.call("Decrypt", CiphertextBlob=blob, EncryptionContext={"a": "b"})
    assert opened["Plaintext"] == made["PrivateKeyPlaintext"]
    (check,) = twin.checks("GenerateDataKeyPair", **members)
    assert check.context["kms:DataKeyPairSpec"] == spec
    hidden = twin.call("GenerateDataKeyPairWithoutPlaintext", **members)
    assert set(made) - set(hidden) == {"PrivateKeyPlaintext"}


def test_random_bytes() -> None:
    twin = Twin()
    assert len(twin.call("GenerateRandom", NumberOfBytes=1024)["Plaintext"]) == 1024
    (check,) = twin.checks("GenerateRandom", NumberOfBytes=1)
    assert (check.resource, check.key) == ("*", None)
    twin.refused(AwsCode.VALIDATION, "GenerateRandom")
    twin.refused(AwsCode.VALIDATION, "GenerateRandom", NumberOfBytes=1025)
    twin.refused(AwsCode.UNSUPPORTED_OPERATION, "GenerateRandom", NumberOfBytes=1, CustomKeyStoreId="cks-1")
