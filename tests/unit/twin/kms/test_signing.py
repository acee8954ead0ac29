import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from pcrgate.twin.kms.key_specs import KEY_SPECS
from pcrgate.twin.kms.service_errors import AwsCode
from tests.unit.twin.kms.kit import Twin, flipped, recipient_spki

HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
SPECS = ("RSA_2048", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519")


def _check_outside(spki: bytes, algorithm: str, message: bytes, signature: bytes) -> None:
    """Verify with the public key alone, as a client would; raises InvalidSignature."""
    public = serialization.load_der_public_key(spki)
    digest = HASHES[algorithm[-3:]]
    if isinstance(public, rsa.RSAPublicKey) and "PSS" in algorithm:
        pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
        public.verify(signature, message, pss, digest)
    elif isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, message, padding.PKCS1v15(), digest)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, message, ec.ECDSA(digest))
    else:
        assert isinstance(public, ed25519.Ed25519PublicKey)
        public.verify(signature, message)


@pytest.mark.parametrize("spec", SPECS)
def test_signatures_verify_inside_and_outside(spec: str) -> None:
    twin = Twin()
    arn = twin.key(KeySpec=spec, KeyUsage="SIGN_VERIFY")
    public = twin.call("GetPublicKey", KeyId=arn)
    assert public["SigningAlgorithms"] == list(KEY_SPECS[spec].signing)
    for algorithm in KEY_SPECS[spec].signing:
        members = {"KeyId": arn, "SigningAlgorithm": algorithm}
        signature = twin.call("Sign", Message=b"message", **members)["Signature"]
        _check_outside(public["PublicKey"], algorithm, b"message", signature)
        verified = twin.call("Verify", Message=b"message", Signature=signature, **members)
        assert verified == {"KeyId": arn, "SignatureValid": True, "SigningAlgorithm": algorithm}
        twin.refused(AwsCode.INVALID_SIGNATURE, "Verify", Message=b"massage", Signature=signature, **members)
        at = len(signature) - 1
        twin.refused(
            AwsCode.INVALID_SIGNATURE, "Verify", Message=b"message", Signature=flipped(signature, at), **members
        )
        digest = hashlib.new("sha" + algorithm[-3:], b"message").digest()
        if spec == "ECC_NIST_EDWARDS25519":
            twin.refused(AwsCode.VALIDATION, "Sign", Message=digest, MessageType="DIGEST", **members)
            continue
        # A digest is signed as it is: not hashed again.
        signature = twin.call("Sign", Message=digest, MessageType="DIGEST", **members)["Signature"]
        _check_outside(public["PublicKey"], algorithm, b"message", signature)
        twin.call("Verify", Message=digest, MessageType="DIGEST", Signature=signature, **members)
        for wrong in (digest[:-1], digest + b"\0"):
            twin.refused(AwsCode.VALIDATION, "Sign", Message=wrong, MessageType="DIGEST", **members)


def test_signing_refusals() -> None:
    twin = Twin()
    arn = twin.key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    symmetric = twin.key()
    members = {"Message": b"a", "SigningAlgorithm": "ECDSA_SHA_256"}
    twin.refused(AwsCode.INVALID_KEY_USAGE, "Sign", KeyId=symmetric, **members)
    twin.refused(AwsCode.INVALID_KEY_USAGE, "Sign", KeyId=arn, Message=b"a", SigningAlgorithm="ECDSA_SHA_384")
    twin.refused(AwsCode.VALIDATION, "Sign", KeyId=arn, MessageType="EXTERNAL_MU", **members)
    twin.refused(AwsCode.VALIDATION, "Sign", KeyId=arn, Message=bytes(4097), SigningAlgorithm="ECDSA_SHA_256")
    twin.refused(AwsCode.DRY_RUN, "Sign", KeyId=arn, DryRun=True, **members)
    twin.refused(AwsCode.DRY_RUN, "Verify", KeyId=arn, DryRun=True, Signature=b"x", **members)
    twin.refused(AwsCode.UNSUPPORTED_OPERATION, "GetPublicKey", KeyId=symmetric)
    (check,) = twin.checks("Sign", KeyId=arn, MessageType="DIGEST", **members)
    assert check.context["kms:SigningAlgorithm"] == "ECDSA_SHA_256"
    assert check.context["kms:MessageType"] == "DIGEST"


@pytest.mark.parametrize("bits", ["224", "256", "384", "512"])
def test_macs(bits: str) -> None:
    twin = Twin()
    arn = twin.key(KeySpec=f"HMAC_{bits}", KeyUsage="GENERATE_VERIFY_MAC")
    members = {"KeyId": arn, "MacAlgorithm": f"HMAC_SHA_{bits}", "Message": b"message"}
    mac = twin.call("GenerateMac", **members)["Mac"]
    assert len(mac) * 8 == int(bits)
    assert twin.call("VerifyMac", Mac=mac, **members)["MacValid"] is True
    twin.refused(AwsCode.INVALID_MAC, "VerifyMac", Mac=flipped(mac, 0), **members)
    twin.refused(AwsCode.INVALID_MAC, "VerifyMac", Mac=mac, **(members | {"Message": b"massage"}))
    twin.refused(AwsCode.INVALID_KEY_USAGE, "GenerateMac", **(members | {"KeyId": twin.key()}))
    other = "HMAC_SHA_256" if bits != "256" else "HMAC_SHA_512"
    twin.refused(AwsCode.INVALID_KEY_USAGE, "GenerateMac", **(members | {"MacAlgorithm": other}))
    twin.refused(AwsCode.DRY_RUN, "GenerateMac", DryRun=True, **members)
    twin.refused(AwsCode.DRY_RUN, "VerifyMac", DryRun=True, Mac=mac, **members)
    # A copy of the key outside gives the same MAC: the algorithm is plain HMAC.
    stored = twin.service._resources.keyring.require(arn).current
    assert stored is not None
    assert stored.secret is not None
    assert mac == hmac.digest(stored.secret.reveal, b"message", f"sha{bits}")


@pytest.mark.parametrize(
    ("spec", "curve"),
    [("ECC_NIST_P256", ec.SECP256R1()), ("ECC_NIST_P384", ec.SECP384R1()), ("ECC_NIST_P521", ec.SECP521R1())],
)
def test_both_sides_of_an_agreement_get_the_same_secret(spec: str, curve: ec.EllipticCurve) -> None:
    twin = Twin()
    arn = twin.key(KeySpec=spec, KeyUsage="KEY_AGREEMENT")
    mine = ec.generate_private_key(curve)
    members = {"KeyId": arn, "KeyAgreementAlgorithm": "ECDH", "PublicKey": _spki(mine.public_key())}
    answer = twin.call("DeriveSharedSecret", **members)
    theirs = serialization.load_der_public_key(twin.call("GetPublicKey", KeyId=arn)["PublicKey"])
    assert isinstance(theirs, ec.EllipticCurvePublicKey)
    assert answer["SharedSecret"] == mine.exchange(ec.ECDH(), theirs)
    assert answer["KeyOrigin"] == "AWS_KMS"
    twin.refused(AwsCode.DRY_RUN, "DeriveSharedSecret", DryRun=True, **members)
    other = ec.generate_private_key(ec.SECP256K1()).public_key()
    for bad in (b"garbage", _spki(other), recipient_spki()):
        twin.refused(AwsCode.VALIDATION, "DeriveSharedSecret", **(members | {"PublicKey": bad}))
    signing = twin.key(KeySpec=spec, KeyUsage="SIGN_VERIFY")
    twin.refused(AwsCode.INVALID_KEY_USAGE, "DeriveSharedSecret", **(members | {"KeyId": signing}))


def _spki(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
