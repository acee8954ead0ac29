"""Write ciphertext for recipient in KMS's shape, each part replaceable, so that a test can bend exactly one."""

import hashlib
import os
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

END = b"\x00\x00"
SHA256 = bytes.fromhex("300d06096086480165030402010500")
MGF1_SHA256 = bytes.fromhex("a11c301a06092a864886f70d010108") + SHA256
OAEP = bytes.fromhex("303c06092a864886f70d010107302fa00f") + SHA256 + MGF1_SHA256


def definite(tag: int, content: bytes) -> bytes:
    """Return one element with its length in the shortest form."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | octets)) + length.to_bytes(octets, "big") + content


def indefinite(tag: int, content: bytes) -> bytes:
    """Return one element of indefinite length with its end marker."""
    return bytes((tag, 0x80)) + content + END


def chunked(ciphertext: bytes, size: int = 1000) -> bytes:
    """Return content form a: [0] constructed of OCTET STRINGs."""
    pieces = [definite(0x04, ciphertext[at : at + size]) for at in range(0, len(ciphertext), size)]
    return indefinite(0xA0, b"".join(pieces))


def primitive(ciphertext: bytes) -> bytes:
    """Return content form b: [0] primitive."""
    return definite(0x80, ciphertext)


def pad(plaintext: bytes) -> bytes:
    """Return the plaintext with PKCS #7 padding."""
    missing = 16 - len(plaintext) % 16
    return plaintext + bytes((missing,)) * missing


@dataclass(kw_only=True)
class Parts:
    """Hold every part of an envelope as bytes; the defaults make one that opens."""

    public_key: rsa.RSAPublicKey
    plaintext: bytes = b"a data key of thirty-two bytes.."
    form: str = "chunked"
    content_key: bytes = field(default_factory=lambda: os.urandom(32))
    iv: bytes = field(default_factory=lambda: os.urandom(16))
    enveloped_oid: bytes = bytes.fromhex("06092a864886f70d010703")
    data_oid: bytes = bytes.fromhex("06092a864886f70d010701")
    cipher: bytes = bytes.fromhex("060960864801650304012a")
    version: bytes = bytes.fromhex("020102")
    recipient_version: bytes = bytes.fromhex("020102")
    oaep: bytes = OAEP
    rid: bytes | None = None
    encrypted_key: bytes | None = None
    padded: bytes | None = None
    content: bytes | None = None
    recipients: bytes | None = None
    extra_recipient: bytes = b""
    attributes: bytes = b""
    trailing: bytes = b""

    def rid_element(self) -> bytes:
        spki = self.public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return definite(0x80, hashlib.sha256(spki).digest()) if self.rid is None else self.rid

    def recipient(self) -> bytes:
        label = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
        encrypted = self.encrypted_key
        if encrypted is None:
            encrypted = definite(0x04, self.public_key.encrypt(self.content_key, label))
        return definite(0x30, self.recipient_version + self.rid_element() + self.oaep + encrypted)

    def ciphertext(self) -> bytes:
        key = self.content_key if len(self.content_key) == 32 else bytes(32)
        encryptor = Cipher(algorithms.AES256(key), modes.CBC(self.iv)).encryptor()
        return encryptor.update(pad(self.plaintext) if self.padded is None else self.padded) + encryptor.finalize()

    def write(self) -> bytes:
        content = self.content
        if content is None:
            content = {"chunked": chunked, "primitive": primitive}[self.form](self.ciphertext())
        algorithm = definite(0x30, self.cipher + definite(0x04, self.iv))
        encrypted_content = indefinite(0x30, self.data_oid + algorithm + content)
        one = self.recipient() if self.recipients is None else self.recipients
        recipients = definite(0x31, one + self.extra_recipient)
        enveloped = indefinite(0x30, self.version + recipients + encrypted_content + self.attributes)
        return indefinite(0x30, self.enveloped_oid + indefinite(0xA0, enveloped)) + self.trailing
