"""What lies between enclave and parent: refusals on both sides, sessions that end, a root that knows hardware only."""

import asyncio
import gc
import os
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import boto3
import pytest

from enclave.invocations import parse_request
from enclave.listener import UnixListener, VsockListener
from enclave.parent_link import ParentLink
from enclave.sessions import SESSIONS_PER_AGENT_MAX, SessionTable
from local.measurement import ROOT
from local.parent import LaptopParent
from pcrgate.attestation.cbor import encode
from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.session import Role, Session
from pcrgate.envelope.session_keys import session_keys
from pcrgate.envelope.session_limits import SessionLimits
from pcrgate.errors import ErrorCode, SessionError, UsageError, WireError
from pcrgate.kms.relay import UnixDialer
from pcrgate.units import Sha384
from pcrgate.wire import messages as wire
from pcrgate.wire.frames import encode_frame
from service.addresses import UnixAddress, connect, listen
from service.blobs import BlobFolder
from service.broker import Broker
from service.credentials import ChainCredentials, FixedCredentials
from service.relay import Relay, Upstream

CREDENTIALS = wire.CredentialsAnswer(access_key_id="A", secret_access_key="S", session_token=None, expires_at_s=9)


def session(number: int, agent: str = "one", expires_ms: int = 1000) -> Session:
    secret = SecretBytes(bytes(32))
    keys = session_keys(secret, SecretBytes(bytes(32)), Sha384(bytes(48)))
    return Session(
        role=Role.ENCLAVE,
        session_id=number.to_bytes(16, "big"),
        agent_id=agent,
        boot_id=bytes(32),
        keys=keys,
        limits=SessionLimits(),
        expires_ms=expires_ms,
    )


def test_sessions_are_found_replaced_expired_and_wiped() -> None:
    table = SessionTable()
    first, again = session(1), session(1)
    table.add(first, 0)
    table.add(again, 0)
    assert first.ended
    assert table.find(again.session_id) is again
    table.add(session(2), 1000)
    assert again.ended
    with pytest.raises(SessionError) as refused:
        table.find(again.session_id)
    assert refused.value.code is ErrorCode.SESSION_UNKNOWN
    table.end(first)  # not the one that is kept under its id
    assert len(table) == 1
    table.end_all()
    assert len(table) == 0


def test_one_agent_has_so_many_sessions_and_no_more() -> None:
    table = SessionTable()
    for number in range(SESSIONS_PER_AGENT_MAX):
        table.add(session(number), 0)
    late = session(5000)
    with pytest.raises(SessionError) as refused:
        table.add(late, 0)
    assert refused.value.code is ErrorCode.SESSION_LIMIT
    assert late.ended
    table.add(session(5001, agent="two"), 0)


@pytest.mark.parametrize(
    "plaintext",
    [b"", b"\xff", encode([]), encode({"workload": "x"}), encode({"workload": 1, "request": b""}),
     encode({"workload": "x", "request": "text"})],
)  # fmt: skip
def test_what_is_no_request_is_refused(plaintext: bytes) -> None:
    with pytest.raises(WireError) as refused:
        parse_request(plaintext)
    assert refused.value.code is ErrorCode.WORKLOAD_REQUEST


def started(tmp_path: Path, broker: type[Broker] = Broker) -> LaptopParent:
    made = broker(
        UnixAddress(path=tmp_path / "broker.sock"),
        manifest=tmp_path / "manifest",
        blobs=BlobFolder(folder=tmp_path),
        credentials=FixedCredentials(answer=CREDENTIALS),
    )
    parent = LaptopParent(made, Relay(UnixAddress(path=tmp_path / "relay.sock"), Upstream(host="localhost", port=1)))
    while not (tmp_path / "broker.sock").exists() or not (tmp_path / "relay.sock").exists():
        time.sleep(0.005)
    return parent


def test_a_parent_that_has_nothing_says_so(tmp_path: Path) -> None:
    link = ParentLink(UnixDialer(path=tmp_path / "broker.sock"))
    with pytest.raises(WireError) as refused:
        link.manifest()
    assert refused.value.code is ErrorCode.WIRE_LINK
    with started(tmp_path):
        with pytest.raises(WireError) as refused:
            link.manifest()
        assert refused.value.code is ErrorCode.WIRE_LINK
        (tmp_path / "manifest").write_bytes(b"signed")
        assert link.manifest() == b"signed"
        assert link.fetch().access_key_id == "A"
        with pytest.raises(OSError, match="refused"):
            link.sealed(Sha384(bytes(48))).open(0)
        (tmp_path / Sha384(bytes(48)).hex()).write_bytes(b"0123456789")
        assert read(link, 0) == b"0123456789"
        assert read(link, 7) == b"789"
        assert read(link, 99) == b""
        with socket.socket(socket.AF_UNIX) as endpoint:
            endpoint.settimeout(10)
            endpoint.connect(str(tmp_path / "broker.sock"))
            endpoint.sendall(wire.encode_message(wire.StatusRequest()))
            assert b"wire-message" in endpoint.recv(1000)


def read(link: ParentLink, offset: int) -> bytes:
    stream = link.sealed(Sha384(bytes(48))).open(offset)
    buffer = bytearray(64)
    return bytes(buffer[: stream.readinto(memoryview(buffer)) or 0])


class Lying(Broker):
    """Answer everything with something else."""

    def answer(self, message: wire.Message) -> wire.Message:
        return message if isinstance(message, wire.Drain) else wire.DrainAnswer()


class Silent(Broker):
    """Close without an answer."""

    def answer(self, message: wire.Message) -> wire.Message:
        raise OSError(message.KIND.name)


@pytest.mark.parametrize(("broker", "code"), [(Lying, ErrorCode.WIRE_MESSAGE), (Silent, ErrorCode.WIRE_LINK)])
def test_a_parent_that_answers_something_else_is_refused(broker: Any, code: ErrorCode, tmp_path: Path) -> None:
    with started(tmp_path, broker):
        with pytest.raises(WireError) as refused:
            ParentLink(UnixDialer(path=tmp_path / "broker.sock")).manifest()
        assert refused.value.code is code


def test_credentials_come_from_botos_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert ChainCredentials().current().access_key_id == "AKIA"
    monkeypatch.setattr(boto3.Session, "get_credentials", lambda _: None)
    with pytest.raises(UsageError) as refused:
        ChainCredentials().current()
    assert refused.value.code is ErrorCode.USAGE_CREDENTIALS


@pytest.mark.parametrize("host", ["kms.eu-central-1.amazonaws.com", "kms-fips.us-gov-west-1.amazonaws.com",
                                  "kms.cn-north-1.amazonaws.com.cn"])  # fmt: skip
def test_a_relay_reaches_kms(host: str) -> None:
    assert Upstream.kms(host) == Upstream(host=host, port=443)


@pytest.mark.parametrize("host", ["attacker.example", "kms.eu-central-1.amazonaws.com.evil", "169.254.169.254", ""])
def test_a_relay_reaches_nothing_else(host: str) -> None:
    with pytest.raises(UsageError) as refused:
        Upstream.kms(host)
    assert refused.value.code is ErrorCode.USAGE_RELAY_HOST


def test_a_path_that_is_taken_is_not_listened_on(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    path.write_text("")
    with pytest.raises(OSError, match="in use"):
        UnixListener(path=path).bind()
    with pytest.raises(OSError, match="in use"):
        listen(UnixAddress(path=path))
    with pytest.raises(OSError, match="refused"):
        asyncio.run(connect(UnixAddress(path=path)))


def test_the_production_root_ends_at_once_outside_an_enclave() -> None:
    kept = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
    for environment in (kept, kept | {"LD_AUDIT": "/nonexistent"}, dict(os.environ)):
        run = subprocess.run(
            [sys.executable, "-m", "enclave"], cwd=ROOT, env=environment, capture_output=True, timeout=60
        )
        assert run.returncode == 1
        assert run.stdout == b""
        assert b"Traceback" not in run.stderr
    assert VsockListener().port == 5000
    assert encode_frame(wire.StatusRequest.KIND, b"")


def test_a_stream_that_an_error_holds_in_a_circle_closes_its_connection(tmp_path: Path) -> None:
    """A release that fails leaves such circles; a socket that is collected open would warn, and warnings are errors."""
    (tmp_path / Sha384(bytes(48)).hex()).write_bytes(b"0123456789")
    with started(tmp_path):
        link = ParentLink(UnixDialer(path=tmp_path / "broker.sock"))
        circle: list[Any] = [link.sealed(Sha384(bytes(48))).open(0)]
        held = weakref.ref(circle[0])
        circle.append(circle)
        del circle
        gc.collect()
        assert held() is None
