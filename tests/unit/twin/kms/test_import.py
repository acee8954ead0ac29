"""Imported key material, wrapped as a client would wrap it."""

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from pcrgate.twin.kms.key_use import SYMMETRIC, current_secret, decrypt
from pcrgate.twin.kms.service_errors import AwsCode, AwsError
from tests.unit.twin.kms.kit import REGION, Twin, flipped

MATERIAL = bytes(range(32))
FOREVER = {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
DAY_S = 86_400


def _wrapped(twin: Twin, arn: str, material: bytes, algorithm: str = "RSAES_OAEP_SHA_256") -> dict[str, Any]:
    """Return the members of ImportKeyMaterial for that material."""
    parameters = twin.call("GetParametersForImport", KeyId=arn, WrappingAlgorithm=algorithm, WrappingKeySpec="RSA_2048")
    public = serialization.load_der_public_key(parameters["PublicKey"])
    assert isinstance(public, rsa.RSAPublicKey)
    digest = hashes.SHA1() if algorithm.endswith("_1") else hashes.SHA256()  # noqa: S303 - what the API offers
    oaep = padding.OAEP(padding.MGF1(digest), digest, None)
    if algorithm.startswith("RSA_AES"):
        wrapping = bytes(range(32, 64))
        wrapped = public.encrypt(wrapping, oaep) + aes_key_wrap_with_padding(wrapping, material)
    else:
        wrapped = public.encrypt(material, oaep)
    return {"KeyId": arn, "ImportToken": parameters["ImportToken"], "EncryptedKeyMaterial": wrapped}


@pytest.mark.parametrize(
    "algorithm", ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"]
)
def test_imported_material_works_goes_and_comes_back(algorithm: str) -> None:
    twin = Twin()
    arn = twin.key(Origin="EXTERNAL")
    assert twin.state(arn) == "PendingImport"
    first = twin.call("ImportKeyMaterial", **_wrapped(twin, arn, MATERIAL, algorithm), **FOREVER)
    metadata = twin.call("DescribeKey", KeyId=arn)["KeyMetadata"]
    assert (metadata["KeyState"], metadata["Origin"]) == ("Enabled", "EXTERNAL")
    assert metadata["ExpirationModel"] == "KEY_MATERIAL_DOES_NOT_EXPIRE"
    assert first == {"KeyId": arn, "KeyMaterialId": metadata["CurrentKeyMaterialId"]}
    blob = twin.call("Encrypt", KeyId=arn, Plaintext=b"a")["CiphertextBlob"]
    assert twin.call("DeleteImportedKeyMaterial", KeyId=arn) == first
    assert twin.state(arn) == "PendingImport"
    twin.refused(AwsCode.INVALID_STATE, "Decrypt", CiphertextBlob=blob)
    other = _wrapped(twin, arn, bytes(32), algorithm)
    twin.refused(AwsCode.INCORRECT_KEY_MATERIAL, "ImportKeyMaterial", **other, **FOREVER)
    assert twin.call("ImportKeyMaterial", **_wrapped(twin, arn, MATERIAL, algorithm), **FOREVER) == first
    assert twin.call("Decrypt", CiphertextBlob=blob)["Plaintext"] == b"a"


def test_the_kind_of_import_and_the_material_id_must_be_true() -> None:
    twin = Twin()
    arn = twin.key(Origin="EXTERNAL")
    members = _wrapped(twin, arn, MATERIAL) | FOREVER
    twin.refused(AwsCode.INCORRECT_KEY_MATERIAL, "ImportKeyMaterial", ImportType="EXISTING_KEY_MATERIAL", **members)
    twin.refused(AwsCode.INCORRECT_KEY_MATERIAL, "ImportKeyMaterial", KeyMaterialId="0" * 64, **members)
    name = twin.call("ImportKeyMaterial", ImportType="NEW_KEY_MATERIAL", **members)["KeyMaterialId"]
    twin.refused(AwsCode.UNSUPPORTED_OPERATION, "ImportKeyMaterial", ImportType="NEW_KEY_MATERIAL", **members)
    twin.refused(AwsCode.INCORRECT_KEY_MATERIAL, "ImportKeyMaterial", KeyMaterialId="0" * 64, **members)
    twin.call("ImportKeyMaterial", ImportType="EXISTING_KEY_MATERIAL", KeyMaterialId=name, **members)
    other = _wrapped(twin, arn, bytes(32)) | FOREVER
    twin.refused(AwsCode.INCORRECT_KEY_MATERIAL, "ImportKeyMaterial", KeyMaterialId=name, **other)


def test_material_expires_when_it_was_told_to() -> None:
    twin = Twin()
    arn = twin.key(Origin="EXTERNAL")
    until_s = twin.now_ms // 1000 + DAY_S
    members = _wrapped(twin, arn, MATERIAL) | {"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": until_s}
    (check,) = twin.checks("ImportKeyMaterial", **members)
    assert check.context["kms:ExpirationModel"] == "KEY_MATERIAL_EXPIRES"
    assert check.context["kms:ValidTo"] == str(until_s)
    twin.call("ImportKeyMaterial", KeyMaterialDescription="first", **members)
    metadata = twin.call("DescribeKey", KeyId=arn)["KeyMetadata"]
    assert metadata["ValidTo"].timestamp() == until_s
    rotations = twin.call("ListKeyRotations", KeyId=arn, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
    assert [one["ImportState"] for one in rotations] == ["IMPORTED"]
    assert rotations[0]["KeyMaterialDescription"] == "first"
    twin.now_ms += DAY_S * 1000 - 1
    twin.call("Encrypt", KeyId=arn, Plaintext=b"a")
    twin.now_ms += 1
    twin.refused(AwsCode.INVALID_STATE, "Encrypt", KeyId=arn, Plaintext=b"a")
    assert twin.state(arn) == "PendingImport"


def test_tokens_are_for_one_key_and_one_day() -> None:
    twin = Twin()
    arn, other = twin.key(Origin="EXTERNAL"), twin.key(Origin="EXTERNAL")
    members = _wrapped(twin, arn, MATERIAL)
    twin.refused(AwsCode.INVALID_IMPORT_TOKEN, "ImportKeyMaterial", **(members | {"KeyId": other}), **FOREVER)
    twin.refused(AwsCode.INVALID_IMPORT_TOKEN, "ImportKeyMaterial", **(members | {"ImportToken": b"x"}), **FOREVER)
    broken = flipped(members["EncryptedKeyMaterial"], 9)
    changed = members | {"EncryptedKeyMaterial": broken}
    twin.refused(AwsCode.INVALID_CIPHERTEXT, "ImportKeyMaterial", **changed, **FOREVER)
    twin.now_ms += DAY_S * 1000
    twin.refused(AwsCode.EXPIRED_IMPORT_TOKEN, "ImportKeyMaterial", **members, **FOREVER)


def test_expiration_must_be_said_once_and_lie_ahead() -> None:
    twin = Twin()
    arn = twin.key(Origin="EXTERNAL")
    members = _wrapped(twin, arn, MATERIAL)
    now_s = twin.now_ms // 1000
    twin.refused(AwsCode.VALIDATION, "ImportKeyMaterial", **members)
    twin.refused(AwsCode.VALIDATION, "ImportKeyMaterial", ValidTo=now_s + 9, **members, **FOREVER)
    twin.refused(AwsCode.VALIDATION, "ImportKeyMaterial", ValidTo=now_s, **members)


def _pkcs8(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _material(spec: str) -> bytes:
    if spec == "HMAC_256":
        return MATERIAL
    if spec == "RSA_2048":
        return _pkcs8(rsa.generate_private_key(65537, 2048))
    if spec == "ECC_NIST_P256":
        return _pkcs8(ec.generate_private_key(ec.SECP256R1()))
    return _pkcs8(ed25519.Ed25519PrivateKey.generate())


@pytest.mark.parametrize("spec", ["HMAC_256", "RSA_2048", "ECC_NIST_P256", "ECC_NIST_EDWARDS25519"])
def test_other_kinds_of_material(spec: str) -> None:
    usage = "GENERATE_VERIFY_MAC" if spec == "HMAC_256" else "SIGN_VERIFY"
    twin = Twin()
    arn = twin.key(KeySpec=spec, KeyUsage=usage, Origin="EXTERNAL")
    algorithm = "RSA_AES_KEY_WRAP_SHA_256"
    p384 = _pkcs8(ec.generate_private_key(ec.SECP384R1()))
    for wrong in (bytes(31), p384):
        twin.refused(
            AwsCode.INCORRECT_KEY_MATERIAL, "ImportKeyMaterial", **_wrapped(twin, arn, wrong, algorithm), **FOREVER
        )
    twin.call("ImportKeyMaterial", **_wrapped(twin, arn, _material(spec), algorithm), **FOREVER)
    assert twin.state(arn) == "Enabled"


def test_keys_of_the_twins_own_making_take_no_import() -> None:
    twin = Twin()
    arn = twin.key()
    parameters = {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}
    twin.refused(AwsCode.UNSUPPORTED_OPERATION, "GetParametersForImport", KeyId=arn, **parameters)
    twin.refused(AwsCode.UNSUPPORTED_OPERATION, "DeleteImportedKeyMaterial", KeyId=arn)
    external = twin.key(Origin="EXTERNAL")
    for change in ({"WrappingAlgorithm": "RSAES_PKCS1_V1_5"}, {"WrappingKeySpec": "SM2"}):
        members = parameters | change
        twin.refused(AwsCode.UNSUPPORTED_OPERATION, "GetParametersForImport", KeyId=external, **members)
    twin.refused(AwsCode.UNSUPPORTED_OPERATION, "EnableKeyRotation", KeyId=_enabled(twin))


def _enabled(twin: Twin) -> str:
    arn = twin.key(Origin="EXTERNAL")
    twin.call("ImportKeyMaterial", **_wrapped(twin, arn, MATERIAL), **FOREVER)
    return arn


def test_each_replica_of_an_external_key_gets_its_own_import() -> None:
    twin = Twin()
    arn = twin.key(Origin="EXTERNAL", MultiRegion=True)
    twin.call("ImportKeyMaterial", **_wrapped(twin, arn, MATERIAL), **FOREVER)
    twin.call("ReplicateKey", KeyId=arn, ReplicaRegion="eu-west-1")
    assert twin.state(arn.replace(REGION, "eu-west-1"), region="eu-west-1") == "PendingImport"
    assert twin.state(arn) == "Enabled"


def test_material_that_is_gone_is_never_used_even_past_the_state_gate() -> None:
    twin = Twin()
    keyring = twin.service._resources.keyring
    empty = keyring.require(twin.key(Origin="EXTERNAL"))
    with pytest.raises(AwsError, match="pending import"):
        current_secret(empty)
    arn = _enabled(twin)
    blob = twin.call("Encrypt", KeyId=arn, Plaintext=b"a")["CiphertextBlob"]
    twin.call("DeleteImportedKeyMaterial", KeyId=arn)
    with pytest.raises(AwsError, match="pending import"):
        decrypt(keyring.require(arn), blob, algorithm=SYMMETRIC, context={}, operation="Decrypt")
