"""What the operator reads of an enclave that hangs, lies, or adds counters of its own."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from enclave.listener import UnixListener
from pcrgate.attestation.cbor import CborValue, encode
from pcrgate.wire.frames import FrameType, encode_frame
from service import public_routes
from service.addresses import UnixAddress
from service.enclave_link import EnclaveLink
from service.state_store import Role
from tests.support.service_stage import running_service

pytestmark = pytest.mark.network


def read(folder: Path, enclave: socket.socket) -> list[str]:
    """Return what the metrics say of the enclave that listens there, after the service's own were seen to be there."""
    link = EnclaveLink(UnixAddress(path=Path(enclave.getsockname())))
    with running_service(folder, link=link) as service, service.client(Role.OPERATOR) as http:
        answer = http.get("/metrics", timeout=10)
    assert answer.status_code == 200
    assert "pcrgate_requests_in_progress 1.0" in answer.text
    return [line for line in answer.text.splitlines() if line.startswith("pcrgate_enclave")]


@contextmanager
def enclave_saying(path: Path, counters: Mapping[int | str, CborValue]) -> Iterator[socket.socket]:
    """Listen, and answer one request with a status that has these counters."""
    status = encode({"phase": "live", "failure": None, "counters": dict(counters)})

    def answer_one() -> None:
        endpoint.setblocking(True)
        with endpoint.accept()[0] as connection:
            connection.recv(1024)
            connection.sendall(encode_frame(FrameType.STATUS_ANSWER, status))
            connection.recv(1)

    with closing(UnixListener(path=path).bind()) as endpoint:
        thread = threading.Thread(target=answer_one)
        thread.start()
        yield endpoint
        thread.join()


def test_an_enclave_that_hangs_hides_no_counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_routes, "STATUS_TIMEOUT_S", 0.1)
    with closing(UnixListener(path=tmp_path / "silent").bind()) as enclave:
        assert read(tmp_path, enclave) == ["pcrgate_enclave_up 0.0"]


def test_only_listed_counters_are_told(tmp_path: Path) -> None:
    with enclave_saying(tmp_path / "enclave", {"agent_alice": 1, "busy": 2}) as enclave:
        assert read(tmp_path, enclave) == ["pcrgate_enclave_up 1.0", 'pcrgate_enclave_events_total{event="busy"} 2.0']


@pytest.mark.parametrize(
    "counters", [{"busy": -1}, {"busy": True}, {"busy": (1 << 64) - 1}, {"busy": "2"}, {'x"} 1\nforged 1': 1}]
)
def test_a_status_that_cannot_be_read_counts_as_none(tmp_path: Path, counters: dict[int | str, CborValue]) -> None:
    with enclave_saying(tmp_path / "enclave", counters) as enclave:
        assert read(tmp_path, enclave) == ["pcrgate_enclave_up 0.0"]
