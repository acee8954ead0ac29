"""The shapes of the development PKI's certificates: names, extensions and their order, level by level.

Spec: attestation_process.md, 3.2.3 (certificates); as measured on the chains of documents that AWS signed.
"""

import datetime as dt
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Hold a validity: its first second since the epoch, and how many seconds later it ends."""

    not_before_s: int
    lifetime_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Hold what a certificate is about.

    Attributes:
        name: the subject.
        key: its public key.
        serial: the certificate's serial number, below 2**159.
        window: its validity.
    """

    name: x509.Name
    key: ec.EllipticCurvePublicKey
    serial: int
    window: Window


def root_name() -> x509.Name:
    """Return the subject of the commercial root."""
    return _top_name("aws.nitro-enclaves")


def regional_name(label: str, region: str) -> x509.Name:
    """Return a regional subject; label is 16 hex digits."""
    return _top_name(f"{label}.{region}.aws.nitro-enclaves")


def zonal_name(label: str, region: str) -> x509.Name:
    """Return a zonal subject, whose common name stands first; label is 16 hex digits."""
    return x509.Name(
        [
            *reversed(list(_top_name(f"{label}.zonal.{region}.aws.nitro-enclaves"))),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "WA"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Seattle"),
        ]
    )


def instance_name(instance_id: str, region: str) -> x509.Name:
    """Return the subject of an instance's certificate."""
    return _bottom_name(f"{instance_id}.{region}.aws.nitro-enclaves")


def leaf_name(module_id: str, region: str) -> x509.Name:
    """Return the subject of a leaf."""
    return _bottom_name(f"{module_id}.{region}.aws")


def build_root(subject: Subject) -> x509.CertificateBuilder:
    """Return a root, ready to sign: no path length."""
    builder = _build(subject, subject.name)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(subject.key), critical=False)
    return builder.add_extension(_authority_key_usage(), critical=True)


def build_rotating(
    subject: Subject, issuer: x509.Certificate, *, path_length: int, crl_url: str
) -> x509.CertificateBuilder:
    """Return a regional (path length 2) or zonal (1) certificate, ready to sign."""
    builder = _build(subject, issuer.subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    builder = builder.add_extension(_authority_key_identifier(issuer), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(subject.key), critical=False)
    builder = builder.add_extension(_authority_key_usage(), critical=True)
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)
    return builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)


def build_instance(subject: Subject, issuer: x509.Certificate) -> x509.CertificateBuilder:
    """Return an instance's certificate, ready to sign: path length 0, it only signs certificates."""
    builder = _build(subject, issuer.subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(key_cert_sign=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(subject.key), critical=False)
    return builder.add_extension(_authority_key_identifier(issuer), critical=False)


def build_leaf(subject: Subject, issuer: x509.Certificate) -> x509.CertificateBuilder:
    """Return a leaf, ready to sign: its key usage is not critical, and it has no key identifiers."""
    builder = _build(subject, issuer.subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return builder.add_extension(_key_usage(digital_signature=True, content_commitment=True), critical=False)


def sign(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Return the certificate, signed with ecdsa-with-SHA384, deterministically. Spec: RFC 5758, 3.2; RFC 6979."""
    return builder.sign(key, hashes.SHA384(), ecdsa_deterministic=True)


def _top_name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Amazon"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "AWS"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _bottom_name(common_name: str) -> x509.Name:
    country, *rest = _top_name(common_name)
    state = x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "Washington")
    return x509.Name([country, state, x509.NameAttribute(NameOID.LOCALITY_NAME, "Seattle"), *rest])


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _authority_key_usage() -> x509.KeyUsage:
    return _key_usage(digital_signature=True, key_cert_sign=True, crl_sign=True)


def _key_usage(
    *,
    digital_signature: bool = False,
    content_commitment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=content_commitment,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _build(subject: Subject, issuer: x509.Name) -> x509.CertificateBuilder:
    not_before = dt.datetime.fromtimestamp(subject.window.not_before_s, dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject.name)
        .issuer_name(issuer)
        .public_key(subject.key)
        .serial_number(subject.serial)
        .not_valid_before(not_before)
        .not_valid_after(not_before + dt.timedelta(seconds=subject.window.lifetime_s))
    )
