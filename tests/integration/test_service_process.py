"""The parent as a process: it begins, answers, hands out what was published, drains on SIGTERM, survives a kill."""

import asyncio
import hashlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from pcrgate.errors import ErrorCode
from pcrgate.twin.tls import TlsFiles
from pcrgate.wire.messages import ManifestAnswer, ManifestRequest
from service import __main__ as service_command
from service.__main__ import main, production_places
from service.addresses import UnixAddress, VsockAddress
from service.enclave_link import EnclaveLink
from service.process import open_state
from service.settings import ServiceSettings
from tests.architecture.sources import ROOT
from tests.contract.test_state_stores import receipt
from tests.integration.test_service_publisher import signed

pytestmark = pytest.mark.network


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings for a service in a folder, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = {"PCRGATE_SERVICE_DATA_DIRECTORY": str(tmp_path / "data"), "PCRGATE_SERVICE_PORT": str(port)}
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    return {**os.environ, **made}


@contextmanager
def process(
    folder: Path, environment: dict[str, str], *, scheme: str = "http"
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the parent and wait until it answers, by TLS with a certificate that nobody looks at here."""
    for name in ("broker.sock", "relay.sock"):
        (folder / name).unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.support.unix_service", str(folder), str(folder / "nobody.sock")]
    url = f"{scheme}://127.0.0.1:{environment['PCRGATE_SERVICE_PORT']}"
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE) as started:
        try:
            end = time.monotonic() + 30
            while True:
                assert started.poll() is None
                assert time.monotonic() < end
                try:
                    httpx.get(f"{url}/healthz", trust_env=False, verify=False)  # noqa: S501 - only whether it answers
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield started, url
        finally:
            if started.poll() is None:
                started.terminate()
            started.wait(30)


def made_token(role: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["token-add", role, "somebody"]) == 0
    token = capsys.readouterr().out.strip()
    assert re.fullmatch(r"pcrgate_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", token)
    return token


def test_what_was_acknowledged_survives_a_kill(
    tmp_path: Path, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    headers = {"Authorization": f"Bearer {made_token('publisher', capsys)}"}
    content, manifest = b"sealed" * 1000, signed(3)
    path = f"/v1/artifacts/{hashlib.sha384(content).hexdigest()}"
    with process(tmp_path, environment) as (started, url):
        assert httpx.put(url + path, content=content, headers=headers, trust_env=False).status_code == 201
        assert httpx.put(f"{url}/v1/manifests/3", content=manifest, headers=headers, trust_env=False).status_code == 201
        started.send_signal(signal.SIGKILL)
        started.wait(30)
    with process(tmp_path, environment) as (started, url):
        assert httpx.head(url + path, headers=headers, trust_env=False).status_code == 200
        current = httpx.get(f"{url}/v1/manifests/current", headers=headers, trust_env=False)
        assert current.content == manifest
        link = EnclaveLink(UnixAddress(path=tmp_path / "broker.sock"), timeout_s=10)

        async def asked() -> ManifestAnswer:
            try:
                return await link.ask(ManifestRequest(), ManifestAnswer)
            finally:
                await link.close()

        assert asyncio.run(asked()).manifest == manifest
        started.send_signal(signal.SIGTERM)
        assert started.wait(30) in {0, -signal.SIGTERM}  # uvicorn ends itself by the signal that it was sent


def test_with_a_certificate_it_is_tls_and_nothing_else(tmp_path: Path, environment: dict[str, str]) -> None:
    files = TlsFiles.ensure(tmp_path / "tls")
    bundle = str(files.bundle_path)
    told = {**environment, "PCRGATE_SERVICE_TLS_CERTIFICATE": bundle, "PCRGATE_SERVICE_TLS_KEY": bundle}
    with process(tmp_path, told, scheme="https") as (_, url):
        trusting = ssl.create_default_context(cafile=files.ca_path)
        assert httpx.get(f"{url}/healthz", trust_env=False, verify=trusting).status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url.replace('https', 'http')}/healthz", trust_env=False)


def test_a_service_that_cannot_begin_says_why(
    tmp_path: Path, environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**changes: str) -> str:
        with monkeypatch.context() as changed:
            for name, value in changes.items():
                changed.setenv(f"PCRGATE_SERVICE_{name}", value)
            assert main([]) == 2
        first, second = capsys.readouterr().err.splitlines()[-2:]
        assert second.startswith("next: ")
        return first.removeprefix("refused: ")

    port = environment["PCRGATE_SERVICE_PORT"]
    with socket.create_server(("127.0.0.1", int(port))):
        why = f"usage-port: port {port} on 127.0.0.1 cannot be listened on (address already in use),"
        assert refused().startswith(why)
    assert refused(HOST="192.0.2.1").startswith(f"usage-port: port {port} on 192.0.2.1 cannot be listened on")
    (tmp_path / "file").write_text("no certificate, and no directory")
    for changes in (
        {"TLS_CERTIFICATE": str(tmp_path / "absent"), "TLS_KEY": str(tmp_path / "absent")},
        {"TLS_CERTIFICATE": str(tmp_path / "file"), "TLS_KEY": str(tmp_path / "file")},
    ):
        assert refused(**changes).startswith("service-settings: tls_certificate and tls_key cannot be used")
    no_directory = refused(DATA_DIRECTORY=str(tmp_path / "file" / "below"))
    assert no_directory.startswith("service-settings: the data directory cannot be made (not a directory),")


def test_the_receipts_of_an_old_boot_are_forgotten_by_command(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_command, "PIECE", 3)
    old, latest = b"o" * 32, b"l" * 32
    with closing(open_state(ServiceSettings.read())[0]) as state:
        state.add_receipts([receipt(number, boot=b"o") for number in range(1, 8)])
        state.add_receipts([receipt(1, boot=b"l")])
    for wrong in (b"x" * 32, b""):
        assert main(["receipts-forget", wrong.hex()]) == 2
        assert ErrorCode.SERVICE_SETTINGS.code in capsys.readouterr().err
    assert main(["receipts-forget", latest.hex()]) == 1
    assert ErrorCode.SERVICE_CONFLICT.code in capsys.readouterr().err
    assert main(["receipts-forget", old.hex()]) == 0
    assert capsys.readouterr().out == "7 receipts forgotten\n"
    with closing(open_state(ServiceSettings.read())[0]) as state:
        assert state.boots() == [latest]


def test_tokens_by_command(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    token = made_token("caller", capsys)
    assert main(["token-revoke", token.split("_")[1]]) == 0
    assert main(["token-revoke", token.split("_")[1]]) == 2
    assert ErrorCode.SERVICE_SETTINGS.code in capsys.readouterr().err
    assert main(["token-add", "caller", "bad name"]) == 2


def test_settings_that_cannot_be_meant(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PCRGATE_SERVICE_DATA_DIRECTORY", "canary-directory")
    monkeypatch.setenv("PCRGATE_SERVICE_PORT", "65536")
    assert main(["serve"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"refused: {ErrorCode.SERVICE_SETTINGS.code}: cannot use port")
    assert "65536" not in told


def test_the_production_composition_knows_vsock_only(tmp_path: Path) -> None:
    settings = ServiceSettings.model_validate(
        {"data_directory": tmp_path, "kms_host": "kms.eu-central-1.amazonaws.com", "enclave_cid": 17}
    )
    places = production_places(settings)
    assert places.enclave == VsockAddress(cid=17, port=5000)
    assert isinstance(places.broker, VsockAddress)
    assert isinstance(places.relay, VsockAddress)
    assert production_places(settings.model_copy(update={"kms_host": ""})).relay is None


def test_only_kms_is_relayed_to(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PCRGATE_SERVICE_KMS_HOST", "evil.example")
    assert main([]) == 2
    assert ErrorCode.USAGE_RELAY_HOST.code in capsys.readouterr().err
