"""Write CiphertextForRecipient byte-shaped as KMS writes it: CMS EnvelopedData in BER with indefinite lengths.

Written from recordings of real answers, apart from every reader in this project, so that a shared mistake cannot hide.

Spec: RFC 5652, 6 (EnvelopedData); RFC 4055, 4.1 (OAEP parameters); RFC 8017, 7.1.1 (RSAES-OAEP); ITU-T X.690.
"""

import hashlib
from typing import Final, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pcrgate.twin.kms.randomness import Randomness
from pcrgate.twin.kms.service_errors import AwsCode, AwsError

ContentForm = Literal["chunked", "primitive"]
"""How the content is written: OCTET STRINGs of at most 1000 bytes, or one implicit string. KMS was seen to do both."""

CHUNK_BYTES: Final = 1000
"""Length of a chunk, as recorded: 4112 bytes came as four of 1000 and one of 112."""

RECIPIENT_MIN_BITS: Final = 2048
"""Smallest recipient key that KMS takes."""

_CONTENT_KEY_BYTES: Final = 32
_IV_BYTES: Final = 16
_HASH_BYTES: Final = 32

_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_INTEGER: Final = 0x02
_OCTET_STRING: Final = 0x04
_OBJECT_IDENTIFIER: Final = 0x06
_CONTEXT_0: Final = 0x80
_CONTEXT_0_CONSTRUCTED: Final = 0xA0
_CONTEXT_1_CONSTRUCTED: Final = 0xA1
_NULL: Final = b"\x05\x00"
_END_OF_CONTENTS: Final = b"\x00\x00"
_INDEFINITE: Final = b"\x80"


def write_ciphertext_for_recipient(
    plaintext: bytes, recipient_spki_der: bytes, *, content_form: ContentForm, randomness: Randomness
) -> bytes:
    """Encrypt to the public key of an attestation document.

    Args:
        plaintext: what KMS releases, 1 to 4096 bytes.
        recipient_spki_der: SubjectPublicKeyInfo, DER: the document's public_key.
        content_form: which of the two recorded forms to write.
        randomness: source of content key, IV and OAEP seed.

    Returns:
        ContentInfo, BER with indefinite lengths.

    Raises:
        AwsError: ValidationException when the public key is not RSA of at least 2048 bits.
    """
    public_key = _recipient_key(recipient_spki_der)
    content_key, iv = randomness.read(_CONTENT_KEY_BYTES), randomness.read(_IV_BYTES)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(content_key), modes.CBC(iv)).encryptor()
    content = encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()

    recipient = _tlv(
        _SEQUENCE,
        _tlv(_INTEGER, b"\x02"),
        _tlv(_CONTEXT_0, hashlib.sha256(recipient_spki_der).digest()),
        _oaep_algorithm(),
        _tlv(_OCTET_STRING, _oaep_encrypt(content_key, public_key, randomness)),
    )
    encrypted_content_info = _indefinite(
        _SEQUENCE,
        _oid("1.2.840.113549.1.7.1"),
        _tlv(_SEQUENCE, _oid("2.16.840.1.101.3.4.1.42"), _tlv(_OCTET_STRING, iv)),
        _encrypted_content(content, content_form),
    )
    enveloped_data = _indefinite(_SEQUENCE, _tlv(_INTEGER, b"\x02"), _tlv(_SET, recipient), encrypted_content_info)
    return _indefinite(_SEQUENCE, _oid("1.2.840.113549.1.7.3"), _indefinite(_CONTEXT_0_CONSTRUCTED, enveloped_data))


def _recipient_key(spki_der: bytes) -> rsa.RSAPublicKey:
    try:
        key = serialization.load_der_public_key(spki_der)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < RECIPIENT_MIN_BITS:
        raise AwsError(
            AwsCode.VALIDATION,
            f"the public key of the attestation document is not an RSA key of at least {RECIPIENT_MIN_BITS} bits",
        )
    return key


def _encrypted_content(content: bytes, form: ContentForm) -> bytes:
    if form == "primitive":
        return _tlv(_CONTEXT_0, content)
    chunks = (content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES))
    return _indefinite(_CONTEXT_0_CONSTRUCTED, *(_tlv(_OCTET_STRING, chunk) for chunk in chunks))


def _oaep_algorithm() -> bytes:
    """Return RSAES-OAEP with SHA-256 and MGF1 with SHA-256; the label is left at its default, empty."""
    sha256 = _tlv(_SEQUENCE, _oid("2.16.840.1.101.3.4.2.1"), _NULL)
    mgf1 = _tlv(_SEQUENCE, _oid("1.2.840.113549.1.1.8"), sha256)
    parameters = _tlv(_SEQUENCE, _tlv(_CONTEXT_0_CONSTRUCTED, sha256), _tlv(_CONTEXT_1_CONSTRUCTED, mgf1))
    return _tlv(_SEQUENCE, _oid("1.2.840.113549.1.1.7"), parameters)


def _oaep_encrypt(message: bytes, key: rsa.RSAPublicKey, randomness: Randomness) -> bytes:
    """Encrypt with OAEP, its seed drawn from ``randomness`` so that vectors repeat. Spec: RFC 8017, 7.1.1."""
    length = (key.key_size + 7) // 8
    filler = bytes(length - len(message) - 2 * _HASH_BYTES - 2)
    block = hashlib.sha256(b"").digest() + filler + b"\x01" + message
    seed = randomness.read(_HASH_BYTES)
    masked_block = _xor(block, _mgf1(seed, len(block)))
    masked_seed = _xor(seed, _mgf1(masked_block, _HASH_BYTES))
    numbers = key.public_numbers()
    value = pow(int.from_bytes(b"\x00" + masked_seed + masked_block), numbers.e, numbers.n)
    return value.to_bytes(length)


def _mgf1(seed: bytes, length: int) -> bytes:
    blocks = -(-length // _HASH_BYTES)
    return b"".join(hashlib.sha256(seed + number.to_bytes(4)).digest() for number in range(blocks))[:length]


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes([tag]) + _length(len(body)) + body


def _length(length: int) -> bytes:
    if length < 0x80:
        return bytes([length])
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([0x80 | len(octets)]) + octets


def _indefinite(tag: int, *parts: bytes) -> bytes:
    return bytes([tag]) + _INDEFINITE + b"".join(parts) + _END_OF_CONTENTS


def _oid(dotted: str) -> bytes:
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return _tlv(_OBJECT_IDENTIFIER, bytes([40 * first + second]), *(_arc(arc) for arc in rest))


def _arc(arc: int) -> bytes:
    octets = [arc & 0x7F]
    while arc := arc >> 7:
        octets.append(0x80 | arc & 0x7F)
    return bytes(reversed(octets))
