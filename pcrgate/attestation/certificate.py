"""Read one certificate of the profile that the Nitro hypervisor's PKI issues: X.509 v3, P-384, ecdsa-with-SHA384.

Spec: RFC 5280, 4; facts checklist 12, 14, 15.
"""

import re
from dataclasses import dataclass
from typing import Final

from pcrgate.attestation.der import (
    BOOLEAN,
    INTEGER,
    OCTET_STRING,
    PRINTABLE_STRING,
    SEQUENCE,
    SET,
    UTF8_STRING,
    DerReader,
    der_error,
)
from pcrgate.errors import ErrorCode, UntrustedEvidenceError

CERTIFICATE_MAX_BYTES: Final = 1024
"""Longest certificate in a document. Spec: nsm-api attestation_process.md, 3.2.2.2."""

_ECDSA_WITH_SHA384: Final = bytes.fromhex("300a06082a8648ce3d040303")
_P384_KEY: Final = bytes.fromhex("301006072a8648ce3d020106052b81040022")
_POINT_BYTES: Final = 97
_COMMON_NAME: Final = bytes.fromhex("550403")
_NAME_KINDS: Final = frozenset(bytes.fromhex(f"5504{kind}") for kind in ("03", "06", "07", "08", "0a", "0b"))
_NAME_VALUE: Final = re.compile(rb"[A-Za-z0-9 '()+,./:=?-]{1,128}")
"""Characters of a PrintableString. Spec: X.680, 41.4."""

_BASIC_CONSTRAINTS: Final = bytes.fromhex("551d13")
_KEY_USAGE: Final = bytes.fromhex("551d0f")
_SUBJECT_KEY_ID: Final = bytes.fromhex("551d0e")
_AUTHORITY_KEY_ID: Final = bytes.fromhex("551d23")
_READ_EXTENSIONS: Final = frozenset({_BASIC_CONSTRAINTS, _KEY_USAGE, _SUBJECT_KEY_ID, _AUTHORITY_KEY_ID})

KEY_USAGE_DIGITAL_SIGNATURE: Final = 0
"""Bit number. Spec: RFC 5280, 4.2.1.3."""

KEY_USAGE_KEY_CERT_SIGN: Final = 5
"""Bit number. Spec: RFC 5280, 4.2.1.3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicConstraints:
    """Hold the BasicConstraints extension. Spec: RFC 5280, 4.2.1.9."""

    critical: bool
    ca: bool
    path_length: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedCertificate:
    """Hold one certificate as read; nobody has checked its signature.

    Attributes:
        der: the whole certificate.
        tbs: the bytes its issuer signed.
        signature: DER ECDSA-Sig-Value.
        serial: a non-negative number.
        issuer: the encoded Name.
        subject: the encoded Name.
        common_name: the one CN of the subject.
        not_before_s: first second of validity since the epoch.
        not_after_s: last second of validity.
        public_point: uncompressed P-384 point, 97 bytes.
        basic_constraints: None when absent.
        key_usage: numbers of the set bits, None when absent.
        subject_key_id: None when absent.
        authority_key_id: None when absent.
    """

    der: bytes
    tbs: bytes
    signature: bytes
    serial: int
    issuer: bytes
    subject: bytes
    common_name: str
    not_before_s: int
    not_after_s: int
    public_point: bytes
    basic_constraints: BasicConstraints | None
    key_usage: frozenset[int] | None
    subject_key_id: bytes | None
    authority_key_id: bytes | None


def parse_certificate(der: bytes) -> UnverifiedCertificate:
    """Read a certificate without trusting it.

    Args:
        der: the certificate, 1 to 1024 bytes; the caller has checked the length.

    Raises:
        MalformedEvidenceError: ``der``.
        UntrustedEvidenceError: ``certificate-version``, ``-algorithm``, ``-key`` or ``-extension``.
    """
    outer = DerReader(der)
    certificate = outer.enter(SEQUENCE)
    outer.finish()
    tbs_bytes = certificate.whole(SEQUENCE)
    algorithm = certificate.whole(SEQUENCE)
    signature = certificate.bit_string()
    certificate.finish()

    tbs = DerReader(tbs_bytes).enter(SEQUENCE)
    # (12) X.509 v3, both algorithm fields identical, ecdsa-with-SHA384 without parameters
    if tbs.peek() != 0xA0 or tbs.content(0xA0) != b"\x02\x01\x02":
        raise UntrustedEvidenceError(ErrorCode.CERTIFICATE_VERSION, "a certificate is not X.509 version 3")
    serial = tbs.unsigned()
    if tbs.whole(SEQUENCE) != _ECDSA_WITH_SHA384 or algorithm != _ECDSA_WITH_SHA384:
        raise UntrustedEvidenceError(
            ErrorCode.CERTIFICATE_ALGORITHM, "a certificate is not signed with ecdsa-with-SHA384, stated twice"
        )
    _check_signature_value(signature)
    issuer = tbs.whole(SEQUENCE)
    validity = tbs.enter(SEQUENCE)
    not_before_s, not_after_s = validity.time_s(), validity.time_s()
    validity.finish()
    subject = tbs.whole(SEQUENCE)
    point = _public_point(tbs.enter(SEQUENCE))
    extensions = _extensions(tbs)
    tbs.finish()
    basic_constraints = _basic_constraints(extensions)
    return UnverifiedCertificate(
        der=der,
        tbs=tbs_bytes,
        signature=signature,
        serial=serial,
        issuer=issuer,
        subject=subject,
        common_name=_common_name(subject),
        not_before_s=not_before_s,
        not_after_s=not_after_s,
        public_point=point,
        basic_constraints=basic_constraints,
        key_usage=_key_usage(extensions),
        subject_key_id=_subject_key_id(extensions),
        authority_key_id=_authority_key_id(extensions),
    )


def _check_signature_value(signature: bytes) -> None:
    """Demand strict DER of r and s, so that a signature has one encoding. Spec: RFC 5480, 2.2.3 of RFC 3279."""
    outer = DerReader(signature)
    value = outer.enter(SEQUENCE)
    outer.finish()
    value.unsigned()
    value.unsigned()
    value.finish()


def _public_point(spki: DerReader) -> bytes:
    algorithm, point = spki.whole(SEQUENCE), spki.bit_string()
    spki.finish()
    if algorithm != _P384_KEY or len(point) != _POINT_BYTES or point[0] != 0x04:
        raise UntrustedEvidenceError(
            ErrorCode.CERTIFICATE_KEY, "a certificate's key is not an uncompressed point of P-384"
        )
    return point


def _common_name(name: bytes) -> str:
    """Return the one CN of a Name of single attributes; an issuer need not be read, it must equal one that was."""
    found: list[str] = []
    attributes = DerReader(name).enter(SEQUENCE)
    while not attributes.at_end:
        attribute_set = attributes.enter(SET)
        attribute = attribute_set.enter(SEQUENCE)
        attribute_set.finish()
        kind = attribute.identifier()
        tag = UTF8_STRING if attribute.peek() == UTF8_STRING else PRINTABLE_STRING
        value = attribute.content(tag)
        attribute.finish()
        # both string types hold nothing but ASCII letters, digits and a few signs in this PKI
        if not _NAME_VALUE.fullmatch(value):
            raise der_error("a name holds a character that has no place in it")
        if kind == _COMMON_NAME:
            found.append(value.decode("ascii"))
        elif kind not in _NAME_KINDS:
            raise der_error("a name holds an attribute other than C, O, OU, CN, ST and L")
    if len(found) != 1:
        raise der_error(f"a name holds {len(found)} common names, expected one")
    return found[0]


def _extensions(tbs: DerReader) -> dict[bytes, tuple[bool, bytes]]:
    found: dict[bytes, tuple[bool, bytes]] = {}
    if tbs.at_end:
        return found
    wrapper = tbs.enter(0xA3)
    extensions = wrapper.enter(SEQUENCE)
    wrapper.finish()
    while not extensions.at_end:
        extension = extensions.enter(SEQUENCE)
        identifier = extension.identifier()
        critical = extension.peek() == BOOLEAN
        if critical and not extension.boolean():
            raise der_error("a critical flag writes its default")
        value = extension.content(OCTET_STRING)
        extension.finish()
        # (15) unknown critical extensions refused, and none twice
        if identifier in found or (critical and identifier not in _READ_EXTENSIONS):
            raise UntrustedEvidenceError(
                ErrorCode.CERTIFICATE_EXTENSION, "an extension is critical and unknown, or stands twice"
            )
        found[identifier] = (critical, value)
    return found


def _basic_constraints(extensions: dict[bytes, tuple[bool, bytes]]) -> BasicConstraints | None:
    if _BASIC_CONSTRAINTS not in extensions:
        return None
    critical, value = extensions[_BASIC_CONSTRAINTS]
    outer = DerReader(value)
    fields = outer.enter(SEQUENCE)
    outer.finish()
    ca = fields.peek() == BOOLEAN
    if ca and not fields.boolean():
        raise der_error("BasicConstraints writes the default of cA")
    path_length = fields.unsigned() if fields.peek() == INTEGER else None
    fields.finish()
    return BasicConstraints(critical=critical, ca=ca, path_length=path_length)


def _key_usage(extensions: dict[bytes, tuple[bool, bytes]]) -> frozenset[int] | None:
    if _KEY_USAGE not in extensions:
        return None
    reader = DerReader(extensions[_KEY_USAGE][1])
    bits = reader.named_bits()
    reader.finish()
    return bits


def _subject_key_id(extensions: dict[bytes, tuple[bool, bytes]]) -> bytes | None:
    if _SUBJECT_KEY_ID not in extensions:
        return None
    reader = DerReader(extensions[_SUBJECT_KEY_ID][1])
    identifier = reader.content(OCTET_STRING)
    reader.finish()
    return identifier


def _authority_key_id(extensions: dict[bytes, tuple[bool, bytes]]) -> bytes | None:
    """Return keyIdentifier; the other two forms do not occur in this PKI and are refused."""
    if _AUTHORITY_KEY_ID not in extensions:
        return None
    outer = DerReader(extensions[_AUTHORITY_KEY_ID][1])
    fields = outer.enter(SEQUENCE)
    outer.finish()
    identifier = fields.content(0x80)
    fields.finish()
    return identifier
