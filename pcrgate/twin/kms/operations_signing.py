"""Sign, Verify, MACs, public keys and key agreement."""

import hmac
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from pcrgate.twin.kms.call import Call
from pcrgate.twin.kms.interface import ContextValue, Prepared, Response
from pcrgate.twin.kms.key_specs import Family, Usage
from pcrgate.twin.kms.key_use import current_private_key, current_secret, require_algorithm, require_usage
from pcrgate.twin.kms.material import PrivateKey, public_key_der
from pcrgate.twin.kms.records import KeyRecord
from pcrgate.twin.kms.service_errors import AwsCode, AwsError

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}


def sign(call: Call) -> Prepared:
    """Sign a message, or the digest of one. Spec: KMS API, Sign."""
    found = call.key(aliases=True)
    algorithm, kind = call.request.text("SigningAlgorithm"), call.request.text("MessageType", "RAW")
    message = call.request.blob("Message")

    def run() -> Response:
        key = call.usable(found.record)
        signer = _Signer.of(key, algorithm, kind, message, call.operation)
        call.stop_if_dry_run()
        call.note_use(key)
        return {"KeyId": key.arn, "Signature": signer.sign(), "SigningAlgorithm": algorithm}

    return call.prepared(call.check(found, context=_signing_context(algorithm, kind)), run=run)


def verify(call: Call) -> Prepared:
    """Accept a signature, or answer KMSInvalidSignatureException. Spec: KMS API, Verify."""
    found = call.key(aliases=True)
    algorithm, kind = call.request.text("SigningAlgorithm"), call.request.text("MessageType", "RAW")
    message, signature = call.request.blob("Message"), call.request.blob("Signature")

    def run() -> Response:
        key = call.usable(found.record)
        signer = _Signer.of(key, algorithm, kind, message, call.operation)
        call.stop_if_dry_run()
        call.note_use(key)
        signer.verify(signature)
        return {"KeyId": key.arn, "SignatureValid": True, "SigningAlgorithm": algorithm}

    return call.prepared(call.check(found, context=_signing_context(algorithm, kind)), run=run)


def _signing_context(algorithm: str, kind: str) -> dict[str, ContextValue]:
    return {"kms:SigningAlgorithm": algorithm, "kms:MessageType": kind}


class _Signer:
    """Sign or verify one message under one algorithm that fits the key."""

    def __init__(self, private_key: PrivateKey, algorithm: str, kind: str, message: bytes) -> None:
        self._key = private_key
        self._message = message
        self._algorithm = algorithm
        self._hash = _HASHES[algorithm[-3:]]
        self._digest = Prehashed(self._hash) if kind == "DIGEST" else self._hash

    @classmethod
    def of(cls, key: KeyRecord, algorithm: str, kind: str, message: bytes, operation: str) -> "_Signer":
        """Check that key, algorithm, message type and length agree.

        Raises:
            AwsError: InvalidKeyUsageException or ValidationException.
        """
        require_usage(key, Usage.SIGN, operation)
        require_algorithm(key, algorithm)
        if kind not in {"RAW", "DIGEST"} or (kind == "DIGEST" and key.spec.family is Family.EDWARDS):
            raise AwsError(AwsCode.VALIDATION, f"MessageType {kind} is not valid for algorithm {algorithm}.")
        size = _HASHES[algorithm[-3:]].digest_size
        if kind == "DIGEST" and len(message) != size:
            raise AwsError(AwsCode.VALIDATION, f"Digest is invalid length for algorithm {algorithm}.")
        return cls(current_private_key(key), algorithm, kind, message)

    def sign(self) -> bytes:
        """Return the signature: DER for ECDSA, raw otherwise."""
        key = self._key
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(self._message, self._padding(), self._digest)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(self._message, ec.ECDSA(self._digest))
        return key.sign(self._message)

    def verify(self, signature: bytes) -> None:
        """Accept the signature.

        Raises:
            AwsError: KMSInvalidSignatureException.
        """
        key = self._key.public_key()
        try:
            if isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, self._message, self._padding(), self._digest)
            elif isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, self._message)
            else:
                key.verify(signature, self._message, ec.ECDSA(self._digest))
        except InvalidSignature:
            raise AwsError(AwsCode.INVALID_SIGNATURE, "The signature is not the key's over this message.") from None

    def _padding(self) -> padding.AsymmetricPadding:
        if "PSS" not in self._algorithm:
            return padding.PKCS1v15()
        # Salt as long as the digest. Spec: KMS Developer Guide, "RSA key specs" (PSS).
        return padding.PSS(mgf=padding.MGF1(self._hash), salt_length=self._hash.digest_size)


def generate_mac(call: Call) -> Prepared:
    """Return the HMAC of a message. Spec: KMS API, GenerateMac."""
    found = call.key(aliases=True)
    algorithm, message = call.request.text("MacAlgorithm"), call.request.blob("Message")

    def run() -> Response:
        key = call.usable(found.record)
        mac = _mac(key, algorithm, message, call.operation)
        call.stop_if_dry_run()
        call.note_use(key)
        return {"Mac": mac, "MacAlgorithm": algorithm, "KeyId": key.arn}

    return call.prepared(call.check(found, context={"kms:MacAlgorithm": algorithm}), run=run)


def verify_mac(call: Call) -> Prepared:
    """Accept an HMAC, or answer KMSInvalidMacException. Spec: KMS API, VerifyMac."""
    found = call.key(aliases=True)
    algorithm, message = call.request.text("MacAlgorithm"), call.request.blob("Message")
    given = call.request.blob("Mac")

    def run() -> Response:
        key = call.usable(found.record)
        mac = _mac(key, algorithm, message, call.operation)
        call.stop_if_dry_run()
        call.note_use(key)
        if not hmac.compare_digest(mac, given):
            raise AwsError(AwsCode.INVALID_MAC, "The MAC is not the key's over this message.")
        return {"KeyId": key.arn, "MacValid": True, "MacAlgorithm": algorithm}

    return call.prepared(call.check(found, context={"kms:MacAlgorithm": algorithm}), run=run)


def _mac(key: KeyRecord, algorithm: str, message: bytes, operation: str) -> bytes:
    require_usage(key, Usage.MAC, operation)
    require_algorithm(key, algorithm)
    return hmac.digest(current_secret(key), message, "sha" + algorithm[-3:])


def get_public_key(call: Call) -> Prepared:
    """Return the public key of a key pair. Spec: KMS API, GetPublicKey."""
    found = call.key(aliases=True)

    def run() -> Response:
        key = call.usable(found.record)
        answer: dict[str, object] = {
            "KeyId": key.arn,
            "PublicKey": public_key_der(current_private_key(key)),
            "KeySpec": key.spec_name,
            "KeyUsage": key.usage.value,
        }
        if key.spec.family is not Family.EDWARDS:
            answer["CustomerMasterKeySpec"] = key.spec_name
        return answer | key.spec.algorithms(key.usage)

    return call.prepared(call.check(found), run=run)


def derive_shared_secret(call: Call) -> Prepared:
    """Agree on a secret with a peer's public key, in clear or to a recipient. Spec: KMS API, DeriveSharedSecret."""
    found = call.key(aliases=True)
    algorithm = call.request.text("KeyAgreementAlgorithm")
    peer_der = call.request.blob("PublicKey")

    def run() -> Response:
        key = call.usable(found.record)
        require_usage(key, Usage.AGREE, call.operation)
        require_algorithm(key, algorithm)
        secret = _exchange(current_private_key(key), peer_der)
        call.stop_if_dry_run()
        call.note_use(key)
        return {
            "KeyId": key.arn,
            "SharedSecret": secret,
            "KeyAgreementAlgorithm": algorithm,
            "KeyOrigin": key.origin,
        }

    check = call.check(found, context={"kms:KeyAgreementAlgorithm": algorithm})
    return call.prepared(check, run=run, released="SharedSecret")


def _exchange(private_key: PrivateKey, peer_der: bytes) -> bytes:
    """Return the x coordinate of the shared point. Spec: NIST SP 800-56A, 5.7.1.2."""
    try:
        peer = serialization.load_der_public_key(peer_der)
    except (ValueError, UnsupportedAlgorithm):
        peer = None
    if (
        not isinstance(peer, ec.EllipticCurvePublicKey)
        or not isinstance(private_key, ec.EllipticCurvePrivateKey)
        or peer.curve.name != private_key.curve.name
    ):
        raise AwsError(AwsCode.VALIDATION, "The public key is not a key on the same curve as the KMS key.")
    return private_key.exchange(ec.ECDH(), peer)
