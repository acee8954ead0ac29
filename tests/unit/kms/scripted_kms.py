"""A KMS that answers as a script says, over real TLS on a Unix socket: honest by default, hostile where a test bends it."""

import base64
import json
import socketserver
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.chain import ChainCache
from pcrgate.attestation.evidence import VerifiedEvidence
from pcrgate.attestation.verifier import Recorded, verify
from pcrgate.kms.configuration import AttestedKmsConfiguration
from pcrgate.kms.credentials import TemporaryCredentials
from pcrgate.kms.expectation import ReleaseExpectation
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.kms.relay import UnixDialer
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.twin.tls import make_chain
from pcrgate.units import KeyArn, Sha384
from tests.unit.envelope.envelope_writer import Parts

KEY_ARN = KeyArn.parse("arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-4333-8444-555555555555")
OTHER_ARN = KeyArn.parse("arn:aws:kms:eu-central-1:123456789012:key/99999999-2222-4333-8444-555555555555")
CONTEXT = {"class": "weights", "name": "demo", "epoch": "1"}
DATA_KEY = bytes(range(32))
BLOB = b"wrapped " * 20
PKI = DevPki(b"seed of the attested client tests")
ROOTS = Roots.pinned(PKI.root_fingerprint)
CACHE = ChainCache()
EXPECTATIONS = (
    ReleaseExpectation(operation="Decrypt", key_arn=KEY_ARN, encryption_context=CONTEXT),
    ReleaseExpectation(operation="GenerateDataKey", key_arn=KEY_ARN, encryption_context=CONTEXT),
    ReleaseExpectation(operation="GenerateDataKeyPair", key_arn=KEY_ARN, encryption_context=CONTEXT),
    ReleaseExpectation(operation="DeriveSharedSecret", key_arn=KEY_ARN),
)
CA_PEM, BUNDLE_PEM = make_chain()

Answer = tuple[int, Mapping[str, object]]


def software_nsm() -> SoftwareNsm:
    """Return a new software NSM of this PKI."""
    return SoftwareNsm(pki=PKI, pcrs={0: Sha384(b"\x01" * 48)})


def nsm_client() -> NsmClient:
    """Return a client of a new software NSM."""
    return NsmClient(software_nsm(), roots=ROOTS, cache=CACHE)


@dataclass(frozen=True, kw_only=True)
class KmsRequest:
    """Hold one request as KMS sees it."""

    operation: str
    fields: dict[str, Any]
    headers: dict[str, str]
    document: bytes | None

    @property
    def evidence(self) -> VerifiedEvidence:
        """Return what the document says, verified."""
        assert self.document is not None
        return verify(self.document, ROOTS, Recorded(), cache=CACHE)

    def sealed(self, plaintext: bytes = DATA_KEY, **changes: Any) -> str:
        """Return base64 of the plaintext for the request's recipient."""
        public_key = serialization.load_der_public_key(self.evidence.public_key or b"")
        assert isinstance(public_key, rsa.RSAPublicKey)
        return base64.b64encode(Parts(public_key=public_key, plaintext=plaintext, **changes).write()).decode()


def honest(request: KmsRequest) -> Answer:
    """Answer as KMS does."""
    answer: dict[str, object] = {"KeyId": str(KEY_ARN)}
    if request.operation == "DescribeKey":
        return 200, {"KeyMetadata": {"Arn": str(KEY_ARN), "KeyId": KEY_ARN.key_id}}
    if request.operation == "GetKeyPolicy":
        return 200, {"Policy": "{}", "PolicyName": "default"}
    if request.operation == "GenerateRandom":
        return 200, {
            "CiphertextForRecipient": request.sealed(b"\x07" * request.fields["NumberOfBytes"]),
            "Plaintext": None,
        }
    if request.operation == "Decrypt":
        answer |= {"EncryptionAlgorithm": "SYMMETRIC_DEFAULT", "Plaintext": ""}
    if request.operation == "GenerateDataKey":
        answer |= {"CiphertextBlob": base64.b64encode(BLOB).decode()}
        length = request.fields.get("NumberOfBytes", 32)
        return 200, answer | {"CiphertextForRecipient": request.sealed(DATA_KEY[:length].ljust(length, b"\x00"))}
    return 200, answer | {"CiphertextForRecipient": request.sealed()}


@dataclass(frozen=True)
class StaticCredentials:
    """Give credentials that stay, counting how often they are asked for."""

    secret: str = "secret-canary-0123456789abcdef"
    token: str = "token-canary-0123456789abcdef"
    valid_s: int = 3600
    asked: list[float] = field(default_factory=list)

    def fetch(self) -> TemporaryCredentials:
        self.asked.append(time.time())
        return TemporaryCredentials(
            access_key_id="AKIAEXAMPLE000000001",
            secret_access_key=self.secret,
            session_token=self.token,
            expires_at_s=int(time.time()) + self.valid_s,
        )


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 256


class ScriptedKms:
    """Serve a script over TLS; every request is kept.

    Attributes:
        requests: in the order they came.
        answer: the script; may be exchanged between calls.
        answer_headers: sent with every answer.
    """

    def __init__(
        self, answer: Callable[[KmsRequest], Answer] = honest, *, bundle_pem: bytes = BUNDLE_PEM, ca_pem: bytes = CA_PEM
    ) -> None:
        self.answer = answer
        self.answer_headers: Mapping[str, str] = {}
        self.requests: list[KmsRequest] = []
        self._folder = tempfile.TemporaryDirectory(prefix="kms-")
        folder = Path(self._folder.name)
        self.path = folder / "relay"
        self.ca_path = folder / "ca.pem"
        self.ca_path.write_bytes(ca_pem)
        bundle = folder / "bundle.pem"
        bundle.write_bytes(bundle_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(bundle)
        kms = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            connection: ssl.SSLSocket

            def setup(self) -> None:
                self.request = context.wrap_socket(self.request, server_side=True)
                super().setup()

            def handle(self) -> None:
                with suppress(ConnectionError, ssl.SSLError):
                    super().handle()

            def finish(self) -> None:
                with suppress(OSError):
                    super().finish()
                self.request.close()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = kms._respond(self.headers["X-Amz-Target"], body, dict(self.headers))
                encoded = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(encoded)))
                for name, value in kms.answer_headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(encoded)

            def address_string(self) -> str:
                return "enclave"

            def log_message(self, *_: object) -> None:
                pass

        class Server(_Server):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing: a client that refuses the certificate ends the handshake."""

        self._server = Server(str(self.path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def _respond(self, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        fields = json.loads(body)
        recipient = fields.pop("Recipient", None)
        request = KmsRequest(
            operation=target.removeprefix("TrentService."),
            fields=fields,
            headers=headers,
            document=None if recipient is None else base64.b64decode(recipient["AttestationDocument"]),
        )
        self.requests.append(request)
        return self.answer(request)

    @property
    def dialer(self) -> UnixDialer:
        """Return how the enclave reaches this KMS."""
        return UnixDialer(path=self.path)

    def configuration(self, **changes: Any) -> AttestedKmsConfiguration:
        """Return a configuration that trusts this KMS."""
        defaults: dict[str, Any] = {
            "pinned_keys": frozenset({KEY_ARN}),
            "expectations": EXPECTATIONS,
            "ca_bundle": self.ca_path,
            "attempts": 1,
        }
        return AttestedKmsConfiguration(**(defaults | changes))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._folder.cleanup()
