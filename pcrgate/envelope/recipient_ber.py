"""Read the few BER shapes that KMS writes in ``CiphertextForRecipient``: bytes in, an unverified envelope out.

This is no general BER reader. Indefinite lengths are taken exactly where recordings of KMS have them, definite lengths
everywhere else and only in their shortest form, and every algorithm is compared as the bytes of its whole identifier,
so a parameter that KMS does not write has no place to stand.
"""

from dataclasses import dataclass
from typing import Final

from pcrgate.errors import ErrorCode, ReleaseError

ENVELOPE_MAX_BYTES: Final = 6144
"""Longest ``CiphertextForRecipient``. Spec: KMS API reference, Decrypt, response elements (CiphertextType)."""

CONTENT_MAX_BYTES: Final = 4112
"""Longest ciphertext inside: 4096 bytes, the most that KMS encrypts, and one block of padding."""

CHUNK_MAX_BYTES: Final = 1000
"""Longest piece of chunked content: what KMS writes."""

BLOCK_BYTES: Final = 16
"""AES block, and so the length of an IV. Spec: RFC 3565, 4.2."""

RID_BYTES: Final = 32
"""Length of the recipient identifier: SHA-256 over the key's SubjectPublicKeyInfo, as recorded."""

_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_OCTET_STRING: Final = 0x04
_CONTEXT_0_PRIMITIVE: Final = 0x80
_CONTEXT_0_CONSTRUCTED: Final = 0xA0
_INDEFINITE: Final = 0x80
_END_OF_CONTENTS: Final = b"\x00\x00"
_LENGTH_OCTETS_MAX: Final = 2

_VERSION_2: Final = bytes.fromhex("020102")
_ENVELOPED_DATA: Final = bytes.fromhex("06092a864886f70d010703")
_DATA: Final = bytes.fromhex("06092a864886f70d010701")
_SHA256: Final = "300d06096086480165030402010500"
_OAEP: Final = bytes.fromhex(
    "303c06092a864886f70d010107302f" + "a00f" + _SHA256 + "a11c301a06092a864886f70d010108" + _SHA256
)
_AES_256_CBC: Final = bytes.fromhex("301d060960864801650304012a0410")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedEnvelope:
    """Hold the fields of an envelope whose shape is right; nothing in it is authenticated.

    Attributes:
        rid: whom it says it is for, 32 bytes.
        encrypted_key: the content key under RSAES-OAEP, as long as the modulus.
        iv: 16 bytes.
        ciphertext: AES-256-CBC, 16 to 4112 bytes, a whole number of blocks.
    """

    rid: bytes
    encrypted_key: bytes
    iv: bytes
    ciphertext: bytes


def envelope_refused() -> ReleaseError:
    """Return the one error for every way in which an envelope can be wrong, so that it tells nobody which."""
    return ReleaseError(
        ErrorCode.RECIPIENT_ENVELOPE, "the ciphertext for recipient was refused, expected KMS's for this key"
    )


class _Reader:
    """Walk over bytes; every step either consumes what is expected or refuses."""

    __slots__ = ("_data", "_offset")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    def take(self, length: int) -> bytes:
        end = self._offset + length
        if end > len(self._data):
            raise envelope_refused()
        piece = self._data[self._offset : end]
        self._offset = end
        return piece

    def expect(self, constant: bytes) -> None:
        if self.take(len(constant)) != constant:
            raise envelope_refused()

    def next_is(self, tag: int) -> bool:
        return self._offset < len(self._data) and self._data[self._offset] == tag

    def definite(self, tag: int) -> bytes:
        self.expect(bytes((tag,)))
        first = self.take(1)[0]
        if first < _INDEFINITE:
            return self.take(first)
        octets = first & 0x7F
        if not 1 <= octets <= _LENGTH_OCTETS_MAX:
            raise envelope_refused()
        length = int.from_bytes(self.take(octets), "big")
        if length < (_INDEFINITE if octets == 1 else 1 << 8 * (octets - 1)):
            raise envelope_refused()
        return self.take(length)

    def begin(self, tag: int) -> None:
        self.expect(bytes((tag, _INDEFINITE)))

    def end(self) -> None:
        self.expect(_END_OF_CONTENTS)

    def finish(self) -> None:
        if self._offset != len(self._data):
            raise envelope_refused()


def parse_envelope(blob: bytes, *, modulus_bytes: int) -> UnverifiedEnvelope:
    """Return the fields of a ``CiphertextForRecipient`` of exactly the shape KMS writes.

    Args:
        blob: the BER bytes, 1 to 6144.
        modulus_bytes: length of the recipient key's modulus, 256, 384 or 512.

    Raises:
        ReleaseError: ``recipient-envelope``, the same for every deviation.

    Spec: RFC 5652, 6.1 and 6.2.1; RFC 4055, 4.1; RFC 3565, 4.1.
    """
    # 1. Size, before anything is looked at.
    if len(blob) > ENVELOPE_MAX_BYTES:
        raise envelope_refused()
    reader = _Reader(blob)

    # 2. ContentInfo, its content, EnvelopedData version 2 (a recipient identified by key, no attributes).
    reader.begin(_SEQUENCE)
    reader.expect(_ENVELOPED_DATA)
    reader.begin(_CONTEXT_0_CONSTRUCTED)
    reader.begin(_SEQUENCE)
    reader.expect(_VERSION_2)

    # 3. Exactly one recipient: version 2, key identifier, RSAES-OAEP with SHA-256 twice and the empty label.
    recipients = _Reader(reader.definite(_SET))
    recipient = _Reader(recipients.definite(_SEQUENCE))
    recipients.finish()
    recipient.expect(_VERSION_2)
    rid = recipient.definite(_CONTEXT_0_PRIMITIVE)
    recipient.expect(_OAEP)
    encrypted_key = recipient.definite(_OCTET_STRING)
    recipient.finish()
    if len(rid) != RID_BYTES or len(encrypted_key) != modulus_bytes:
        raise envelope_refused()

    # 4. Content: data under AES-256-CBC with an IV of 16 bytes, chunked or in one piece.
    reader.begin(_SEQUENCE)
    reader.expect(_DATA)
    reader.expect(_AES_256_CBC)
    iv = reader.take(BLOCK_BYTES)
    ciphertext = _read_content(reader)
    if not 0 < len(ciphertext) <= CONTENT_MAX_BYTES or len(ciphertext) % BLOCK_BYTES:
        raise envelope_refused()

    # 5. Four end markers (content, EnvelopedData, explicit tag, ContentInfo), so no attributes, and then nothing.
    for _ in range(4):
        reader.end()
    reader.finish()
    return UnverifiedEnvelope(rid=rid, encrypted_key=encrypted_key, iv=iv, ciphertext=ciphertext)


def _read_content(reader: _Reader) -> bytes:
    """Return the content of either form: [0] primitive, or [0] constructed of OCTET STRINGs and its end marker."""
    if reader.next_is(_CONTEXT_0_PRIMITIVE):
        return reader.definite(_CONTEXT_0_PRIMITIVE)
    reader.begin(_CONTEXT_0_CONSTRUCTED)
    chunks = bytearray()
    while reader.next_is(_OCTET_STRING):
        chunk = reader.definite(_OCTET_STRING)
        if not 0 < len(chunk) <= CHUNK_MAX_BYTES or len(chunks) + len(chunk) > CONTENT_MAX_BYTES:
            raise envelope_refused()
        chunks += chunk
    reader.end()
    return bytes(chunks)
