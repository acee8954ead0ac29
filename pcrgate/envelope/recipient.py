"""Open ``CiphertextForRecipient`` with a key made for one KMS call: one attempt, one error, near-equal time.

The envelope has no authentication of its own (AES-CBC without a MAC). Whoever can change it can change the plaintext:
integrity rests on TLS to KMS, which ends in the enclave, and on the message that the opened data key must authenticate.
Spec: RFC 5652 (EnvelopedData), RFC 8017, 7.1 (RSAES-OAEP).
"""

import hashlib
import hmac
import secrets
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.recipient_ber import BLOCK_BYTES, UnverifiedEnvelope, envelope_refused, parse_envelope
from pcrgate.errors import ErrorCode, UsageError

RECIPIENT_KEY_SIZES_BITS: Final = (2048, 3072, 4096)
"""Moduli a recipient key may have; KMS has been observed with 2048."""

RECIPIENT_KEY_DEFAULT_BITS: Final = 2048
"""Modulus by default: the size in every recording, and the cheapest to make for each call."""

_PUBLIC_EXPONENT: Final = 65537
_CONTENT_KEY_BYTES: Final = 32
_OAEP: Final = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


class RecipientKey:
    """Own the RSA key of one KMS call: made for it, used for one attempt, then forgotten.

    Attributes:
        spki_der: DER SubjectPublicKeyInfo, for the attestation document's ``public_key``.
        rid: SHA-256 of ``spki_der``, 32 bytes: the recipient identifier that KMS writes.
        modulus_bytes: length of the modulus, 256, 384 or 512.
    """

    __slots__ = ("_private_key", "modulus_bytes", "rid", "spki_der")

    def __init__(self, private_key: rsa.RSAPrivateKey) -> None:
        """Take a key.

        Raises:
            UsageError: ``usage-recipient-key`` for another modulus size or public exponent.
        """
        public_key = private_key.public_key()
        if private_key.key_size not in RECIPIENT_KEY_SIZES_BITS or public_key.public_numbers().e != _PUBLIC_EXPONENT:
            raise UsageError(
                ErrorCode.USAGE_RECIPIENT_KEY, "a recipient key is RSA of 2048, 3072 or 4096 bits with exponent 65537"
            )
        self._private_key: rsa.RSAPrivateKey | None = private_key
        self.modulus_bytes: Final = private_key.key_size // 8
        self.spki_der: Final = public_key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.rid: Final = hashlib.sha256(self.spki_der).digest()

    @classmethod
    def generate(cls, bits: int = RECIPIENT_KEY_DEFAULT_BITS) -> "RecipientKey":
        """Make a fresh key.

        Args:
            bits: 2048, 3072 or 4096.

        Raises:
            UsageError: ``usage-recipient-key`` for another size.
        """
        if bits not in RECIPIENT_KEY_SIZES_BITS:
            raise UsageError(ErrorCode.USAGE_RECIPIENT_KEY, "a recipient key has 2048, 3072 or 4096 bits")
        return cls(rsa.generate_private_key(_PUBLIC_EXPONENT, bits))

    def take(self) -> rsa.RSAPrivateKey:
        """Return the private key and forget it: a key opens once, so nobody can ask it twice.

        Raises:
            UsageError: ``usage-recipient-key`` when it was taken or erased before.
        """
        private_key, self._private_key = self._private_key, None
        if private_key is None:
            raise UsageError(ErrorCode.USAGE_RECIPIENT_KEY, "the recipient key was used before, expected a fresh one")
        return private_key

    def erase(self) -> None:
        """Forget the private key. OpenSSL clears its memory when the last reference goes; Python offers no more."""
        self._private_key = None

    @property
    def usable(self) -> bool:
        """Whether the private key is still there."""
        return self._private_key is not None

    def __repr__(self) -> str:
        return f"RecipientKey(rid={self.rid.hex()})"


def open_ciphertext_for_recipient(
    blob: bytes, key: RecipientKey, *, expected_length_bytes: int | None = None
) -> SecretBytes:
    """Return the plaintext of a ``CiphertextForRecipient``; the key is spent, whatever the outcome.

    A blob of the wrong shape is refused at once: its sender knows its shape. From there on every failure (another
    recipient, RSA, content key length, padding, plaintext length) costs the same work and ends in the same error, as
    in implicit rejection: a random content key stands in for one that did not open.

    Args:
        blob: the BER bytes from KMS.
        key: the key whose ``spki_der`` was in the request's attestation document.
        expected_length_bytes: length the plaintext must have; None where KMS does not say (private keys).

    Raises:
        ReleaseError: ``recipient-envelope``, one message for everything.
        UsageError: ``usage-recipient-key`` when the key is spent.
    """
    private_key = key.take()
    envelope = parse_envelope(blob, modulus_bytes=key.modulus_bytes)
    content_key, accepted = _open_content_key(private_key, envelope)
    accepted &= hmac.compare_digest(envelope.rid, key.rid)
    plaintext, padded_right = _open_content(content_key, envelope)
    accepted &= padded_right
    accepted &= expected_length_bytes is None or len(plaintext) == expected_length_bytes
    if not accepted:
        plaintext.wipe()
        raise envelope_refused()
    return plaintext


def _open_content_key(private_key: rsa.RSAPrivateKey, envelope: UnverifiedEnvelope) -> tuple[bytes, bool]:
    """Return the content key, or a random one and False."""
    stand_in = secrets.token_bytes(_CONTENT_KEY_BYTES)
    try:
        content_key = private_key.decrypt(envelope.encrypted_key, _OAEP)
    except ValueError:
        return stand_in, False
    return (content_key, True) if len(content_key) == _CONTENT_KEY_BYTES else (stand_in, False)


def _open_content(content_key: bytes, envelope: UnverifiedEnvelope) -> tuple[SecretBytes, bool]:
    """Return the unpadded content and whether the padding was right; without it, content that must not be used."""
    decryptor = Cipher(algorithms.AES256(content_key), modes.CBC(envelope.iv)).decryptor()
    padded = bytearray(len(envelope.ciphertext) + BLOCK_BYTES - 1)
    written = decryptor.update_into(envelope.ciphertext, padded)
    decryptor.finalize()
    # Look at all 16 bytes of the last block whatever they are. Spec: RFC 5652, 6.3.
    length = padded[written - 1]
    wrong = int(length == 0) | int(length > BLOCK_BYTES)
    for position in range(BLOCK_BYTES):
        wrong |= int(position < length) & int(padded[written - 1 - position] != length)
    keep = written - length * (1 - wrong)
    padded[keep:] = bytes(len(padded) - keep)
    plaintext = SecretBytes(bytearray(memoryview(padded)[:keep]))
    padded[:] = bytes(len(padded))
    return plaintext, not wrong
