import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from pcrgate.errors import UsageError
from pcrgate.twin.tls import TlsFiles, make_chain


def server_certificate(bundle_pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(bundle_pem[bundle_pem.index(b"-----BEGIN CERTIFICATE") :])


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "kms.eu-central-1.amazonaws.com",
        "kms.us-gov-west-1.amazonaws.com",
        "kms-fips.us-east-1.amazonaws.com",
        "kms.cn-north-1.amazonaws.com.cn",
        "twin.example",
    ],
)
def test_the_certificate_proves_the_names_that_clients_verify(name: str) -> None:
    ca_pem, bundle_pem = make_chain(extra_names=("twin.example",))
    store = Store([x509.load_pem_x509_certificate(ca_pem)])
    PolicyBuilder().store(store).build_server_verifier(x509.DNSName(name)).verify(server_certificate(bundle_pem), [])


@pytest.mark.parametrize("name", ["example.com", "kms.amazonaws.com", "a.kms.eu-central-1.amazonaws.com"])
def test_it_proves_no_other(name: str) -> None:
    ca_pem, bundle_pem = make_chain()
    store = Store([x509.load_pem_x509_certificate(ca_pem)])
    verifier = PolicyBuilder().store(store).build_server_verifier(x509.DNSName(name))
    with pytest.raises(x509.verification.VerificationError):
        verifier.verify(server_certificate(bundle_pem), [])


def test_the_files_are_made_once_and_the_key_is_private(tmp_path: Path) -> None:
    first = TlsFiles.ensure(tmp_path / "tls")
    before = first.bundle_path.read_bytes()
    assert TlsFiles.ensure(tmp_path / "tls").bundle_path.read_bytes() == before
    assert first.bundle_path.stat().st_mode & 0o077 == 0
    context = first.server_context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="usage-file"):
        TlsFiles.ensure(tmp_path / "file" / "tls")
