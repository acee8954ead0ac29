"""The twin's HTTPS: a dev CA and one server certificate for the names that clients of KMS verify."""

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.twin.private_files import write_whole

COMMERCIAL_REGIONS: Final = (
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
)
"""Regions whose host names the certificate carries: no wildcard can stand for ``kms.REGION.amazonaws.com`` in all."""

GOVERNMENT_REGIONS: Final = ("us-gov-east-1", "us-gov-west-1")
CHINA_REGIONS: Final = ("cn-north-1", "cn-northwest-1")

LIFETIME_DAYS: Final = 825
"""Longest validity that common clients accept for a server certificate, so a state directory lasts two years."""

_CA_FILE: Final = "tls-ca.pem"
_BUNDLE_FILE: Final = "tls-server.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Hold the files of the HTTPS listener.

    Attributes:
        ca_path: PEM of the dev CA, for ``AWS_CA_BUNDLE``.
        bundle_path: PEM of server key and certificate.
    """

    ca_path: Path
    bundle_path: Path

    @classmethod
    def ensure(cls, folder: Path, *, extra_names: tuple[str, ...] = ()) -> Self:
        """Return the files in ``folder``, made on first use. The CA's key is thrown away: it signs one certificate.

        Raises:
            UsageError: ``usage-file`` when the folder cannot be written.
        """
        files = cls(ca_path=folder / _CA_FILE, bundle_path=folder / _BUNDLE_FILE)
        if files.ca_path.is_file() and files.bundle_path.is_file():
            return files
        ca_pem, bundle_pem = make_chain(extra_names=extra_names)
        try:
            write_whole(files.bundle_path, bundle_pem)
            write_whole(files.ca_path, ca_pem, mode=0o644)
        except OSError as error:
            message = f"the TLS files cannot be written ({error.strerror}), expected a writable folder"
            raise UsageError(ErrorCode.USAGE_FILE, message) from error
        return files

    def server_context(self) -> ssl.SSLContext:
        """Return a context for the listener: TLS 1.2 and 1.3, as AWS endpoints offer."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.bundle_path)
        return context


def make_chain(*, extra_names: tuple[str, ...] = ()) -> tuple[bytes, bytes]:
    """Return PEM of a new CA, and PEM of a server key with the certificate that the CA signed for it."""
    now = dt.datetime.now(dt.UTC)
    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pcrgate twin dev CA, trust nowhere else")])
    ca_ski = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificate_sign=True), critical=True)
        .add_extension(ca_ski, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    server = (
        _builder(server_name, ca_name, server_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificate_sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(extra_names)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(server_key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_ski), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_pem = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ca.public_bytes(pem), key_pem + server.public_bytes(pem)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=LIFETIME_DAYS))
    )


def _usage(*, certificate_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificate_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificate_sign,
        crl_sign=certificate_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _names(extra_names: tuple[str, ...]) -> list[x509.GeneralName]:
    hosts = ["localhost", "iam.amazonaws.com", "sts.amazonaws.com", "s3.amazonaws.com"]
    hosts += [f"*.{region}.amazonaws.com" for region in (*COMMERCIAL_REGIONS, *GOVERNMENT_REGIONS)]
    hosts += [f"*.{region}.amazonaws.com.cn" for region in CHINA_REGIONS]
    hosts += list(extra_names)
    loopback = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    return [*(x509.DNSName(host) for host in dict.fromkeys(hosts)), *loopback]
