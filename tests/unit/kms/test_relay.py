"""The relay: TLS ends in the enclave, whoever carries the bytes."""

import _socket
import datetime as dt
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ConnectTimeoutError, EndpointConnectionError, HTTPClientError, SSLError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pcrgate.kms.client import attested_kms_client
from pcrgate.kms.relay import Dialer, RelaySession, UnixDialer, VsockDialer
from pcrgate.twin.tls import make_chain
from tests.unit.kms.scripted_kms import CONTEXT, KEY_ARN, ScriptedKms, StaticCredentials, nsm_client

REQUEST = {"CiphertextBlob": b"blob", "KeyId": str(KEY_ARN), "EncryptionContext": CONTEXT}


def decrypt_through(kms: ScriptedKms, dialer: Dialer) -> None:
    client = attested_kms_client(kms.configuration(), nsm=nsm_client(), dialer=dialer, credentials=StaticCredentials())
    try:
        client.decrypt(**REQUEST)  # type: ignore[arg-type]
    finally:
        client.close()


def server_bundle(names: list[str], *, days: int = 30, signed_by: str = "self") -> tuple[bytes, bytes]:
    """Return PEM of a CA and of a server bundle for other names or another time."""
    now = dt.datetime.now(dt.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, signed_by)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=min(days, 0) - 10))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private + certificate.public_bytes(pem)


def test_the_real_host_behind_the_relay_is_reached() -> None:
    with ScriptedKms() as kms:
        decrypt_through(kms, kms.dialer)
        assert [request.headers["Host"] for request in kms.requests] == ["kms.eu-central-1.amazonaws.com"]


def test_a_relay_that_ends_tls_with_its_own_ca_is_refused() -> None:
    _, foreign_bundle = make_chain()
    with ScriptedKms(bundle_pem=foreign_bundle) as hostile:
        with pytest.raises(SSLError):
            decrypt_through(hostile, hostile.dialer)
        assert hostile.requests == []


def test_a_certificate_of_the_right_ca_for_another_host_is_refused() -> None:
    ca, bundle = server_bundle(["sts.eu-central-1.amazonaws.com", "kms.us-east-1.amazonaws.com"])
    with ScriptedKms(ca_pem=ca, bundle_pem=bundle) as hostile:
        with pytest.raises(SSLError):
            decrypt_through(hostile, hostile.dialer)
        assert hostile.requests == []


def test_an_expired_certificate_is_refused() -> None:
    ca, bundle = server_bundle(["kms.eu-central-1.amazonaws.com"], days=-1)
    with ScriptedKms(ca_pem=ca, bundle_pem=bundle) as hostile:
        with pytest.raises(SSLError):
            decrypt_through(hostile, hostile.dialer)
        assert hostile.requests == []


class Failing:
    """Dial as a parent does that does not serve."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def dial(self, timeout_s: float | None) -> socket.socket:
        assert timeout_s is not None
        raise self.error


def test_a_relay_that_is_not_there_is_botocores_error() -> None:
    with ScriptedKms() as kms, pytest.raises(EndpointConnectionError):
        decrypt_through(kms, Failing(ConnectionRefusedError(111, "refused")))


def test_a_relay_that_takes_too_long_is_botocores_error() -> None:
    with ScriptedKms() as kms, pytest.raises(ConnectTimeoutError):
        decrypt_through(kms, Failing(TimeoutError("timed out")))


def peer(talk: Callable[[socket.socket], None]) -> Dialer:
    """Return a dialer whose other end is a thread that talks as told."""

    class Pair:
        def dial(self, timeout_s: float | None) -> socket.socket:
            ours, theirs = socket.socketpair()
            ours.settimeout(timeout_s)

            def run() -> None:
                with theirs:
                    talk(theirs)

            threading.Thread(target=run, daemon=True).start()
            return ours

    return Pair()


@pytest.mark.parametrize(
    "first_bytes",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"\x16\x03\x03\x00\x02\xff\xff", bytes(2000)],
)
def test_a_relay_that_speaks_no_tls_is_refused(first_bytes: bytes) -> None:
    with ScriptedKms() as kms, pytest.raises(BotoCoreError):
        decrypt_through(kms, peer(lambda theirs: theirs.sendall(first_bytes)))


def test_a_relay_that_falls_silent_runs_into_the_timeout() -> None:
    released = threading.Event()
    with ScriptedKms() as kms:
        client = attested_kms_client(
            kms.configuration(connect_timeout_s=0.1, read_timeout_s=0.1),
            nsm=nsm_client(),
            dialer=peer(lambda _: (released.wait(30), None)[1]),
            credentials=StaticCredentials(),
        )
        with pytest.raises(HTTPClientError):
            client.decrypt(**REQUEST)  # type: ignore[arg-type]
        released.set()
        client.close()


def test_a_plain_http_request_has_no_way_out(tmp_path: Path) -> None:
    ca, _ = make_chain()
    (tmp_path / "ca.pem").write_bytes(ca)
    session = RelaySession(
        Failing(OSError(1, "must not be dialled")), ca_bundle=tmp_path / "ca.pem", connect_timeout_s=1, read_timeout_s=1
    )
    request = AWSRequest(method="POST", url="http://kms.eu-central-1.amazonaws.com/", data=b"{}").prepare()
    with pytest.raises(HTTPClientError):
        session.send(request)
    session.close()


def test_session_keys_are_not_written_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_log = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(key_log))
    with ScriptedKms() as kms:
        decrypt_through(kms, kms.dialer)
    assert not key_log.exists() or b"TRAFFIC_SECRET" not in key_log.read_bytes()


def test_old_tls_is_refused() -> None:
    def old(theirs: socket.socket) -> None:
        hello = theirs.recv(5)
        assert hello[0] == 22
        theirs.sendall(bytes.fromhex("15030100020246"))  # fatal alert: protocol version

    with ScriptedKms() as kms, pytest.raises(SSLError):
        decrypt_through(kms, peer(old))


def test_the_unix_dialer_closes_what_it_cannot_connect(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        UnixDialer(path=tmp_path / "nobody").dial(1.0)


@pytest.mark.network
def test_the_vsock_dialer_says_that_there_is_no_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(socket, "AF_VSOCK"):
        pytest.skip("this platform has no AF_VSOCK")
    # The guard of the test suite knows hosts and paths only; a context id leads to no network.
    monkeypatch.setattr(socket.socket, "connect", _socket.socket.connect)
    with pytest.raises(OSError, match=r"."):
        VsockDialer(cid=3, port=1).dial(0.2)
