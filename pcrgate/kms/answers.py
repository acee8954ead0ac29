"""Check what KMS answered before anything of it is used: one outward error for all that can be wrong."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.recipient import RecipientKey, open_ciphertext_for_recipient
from pcrgate.errors import ErrorCode, ReleaseError
from pcrgate.kms.operations import DATA_KEY_BYTES, PLAINTEXT_FIELDS, RANDOM_MAX_BYTES, RecipientOperation


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedAnswer:
    """Hold what the answer to one request must be.

    Attributes:
        operation: which operation was called.
        key_id: the full key ARN that must come back, byte for byte; None for GenerateRandom, which has none.
        plaintext_bytes: length of the plaintext; None where it follows from nothing that was asked.
    """

    operation: RecipientOperation
    key_id: str | None
    plaintext_bytes: int | None


def answer_refused() -> ReleaseError:
    """Return the one error for every answer that is not as it must be."""
    return ReleaseError(ErrorCode.KMS_RESPONSE, "the answer of KMS was refused, expected ciphertext for this recipient")


def requested_length(
    operation: RecipientOperation, parameters: Mapping[str, object], decrypted_bytes: int | None
) -> int | None:
    """Return how long the plaintext of a request must be, in bytes, or None.

    Args:
        operation: which operation.
        parameters: what is asked for.
        decrypted_bytes: what Decrypt must yield, as its expectation says.

    Raises:
        ReleaseError: ``kms-request`` when the request does not say a length that it must say.
    """
    if operation.name == "Decrypt":
        return decrypted_bytes
    if operation.name == "GenerateDataKeyPair":
        return None
    if operation.name == "DeriveSharedSecret":
        return _shared_secret_bytes(parameters["PublicKey"])
    spec, number = parameters.get("KeySpec"), parameters.get("NumberOfBytes")
    if number is None and type(spec) is str and spec in DATA_KEY_BYTES:
        return DATA_KEY_BYTES[spec]
    if spec is None and type(number) is int and 1 <= number <= RANDOM_MAX_BYTES:
        return number
    raise ReleaseError(
        ErrorCode.KMS_REQUEST, f"{operation.name} needs KeySpec, or NumberOfBytes from 1 to {RANDOM_MAX_BYTES}"
    )


def _shared_secret_bytes(public_key_der: object) -> int:
    """Return the length of an ECDH secret: the field element of the peer's curve. Spec: SEC 1, 3.3.1."""
    refusal = ReleaseError(ErrorCode.KMS_REQUEST, "PublicKey is not a DER SubjectPublicKeyInfo on a known curve")
    if type(public_key_der) is not bytes:
        raise refusal
    try:
        public_key = serialization.load_der_public_key(public_key_der)
    except (ValueError, UnsupportedAlgorithm):
        raise refusal from None
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        raise refusal
    return (public_key.key_size + 7) // 8


def open_answer(parsed: Mapping[str, object], expected: ExpectedAnswer, key: RecipientKey) -> SecretBytes:
    """Return the plaintext of an answer, after every check; the key is spent in any case.

    Args:
        parsed: the response as botocore parsed it.
        expected: what it must be.
        key: the recipient key of this request.

    Raises:
        ReleaseError: ``kms-response``, one message for everything.
    """
    try:
        # 1. No plaintext: KMS leaves the fields out, or empty, when it honours the recipient.
        if any(parsed.get(name) for name in PLAINTEXT_FIELDS):
            raise answer_refused()
        # 2. The key is the pinned one, before anything is decrypted.
        if parsed.get("KeyId") != expected.key_id:
            raise answer_refused()
        # 3. The algorithm is the one that was asked for.
        if parsed.get("EncryptionAlgorithm", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
            raise answer_refused()
        # 4. A new data key comes with its wrapped form.
        if expected.operation.name == "GenerateDataKey" and not parsed.get("CiphertextBlob"):
            raise answer_refused()
        # 5. The envelope is for this recipient and opens to the expected length.
        envelope = parsed.get("CiphertextForRecipient")
        if type(envelope) is not bytes:
            raise answer_refused()
        try:
            plaintext = open_ciphertext_for_recipient(envelope, key, expected_length_bytes=expected.plaintext_bytes)
        except ReleaseError:
            raise answer_refused() from None
        # 6. A private key belongs to the public key beside it: the envelope alone would not show a change.
        if expected.operation.name == "GenerateDataKeyPair" and not _is_pair(plaintext, parsed.get("PublicKey")):
            plaintext.wipe()
            raise answer_refused()
        return plaintext
    finally:
        key.erase()


def _is_pair(private_key_der: SecretBytes, public_key_der: object) -> bool:
    try:
        private_key = serialization.load_der_private_key(private_key_der.reveal(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    encoded = private_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return type(public_key_der) is bytes and hashlib.sha256(encoded).digest() == hashlib.sha256(public_key_der).digest()
