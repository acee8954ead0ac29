"""Listeners: both schemes at once, silent and broken clients, ports in use, a clean end."""

import contextlib
import json
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import pytest

from pcrgate.errors import UsageError
from pcrgate.twin.clients import attested_client, boto_client
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from tests.support.twin_stage import root_client

pytestmark = pytest.mark.network


def test_http_and_https_serve_the_same_twin(kms_twin: Twin) -> None:
    arn = root_client(kms_twin, "kms").create_key()["KeyMetadata"]["Arn"]
    variables = kms_twin.environment()
    plain = boto3.client(
        "kms",
        endpoint_url=kms_twin.http_url,
        region_name="eu-central-1",
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
    assert plain.describe_key(KeyId=arn)["KeyMetadata"]["Arn"] == arn
    assert kms_twin.urls == (kms_twin.http_url, kms_twin.https_url)
    assert kms_twin.url == kms_twin.https_url


def test_the_last_twin_to_stop_leaves_an_empty_cloud() -> None:
    settings = TwinSettings(http_port=0)
    with Twin(settings) as first:
        with Twin(settings) as second:
            boto_client(second, "s3", region="us-east-1").create_bucket(Bucket="kept")
        found = boto_client(first, "s3", region="us-east-1").list_buckets()["Buckets"]
        assert [bucket["Name"] for bucket in found] == ["kept"]
    with Twin(settings) as next_one:
        assert boto_client(next_one, "s3", region="us-east-1").list_buckets()["Buckets"] == []


def test_another_ca_is_not_believed(kms_twin: Twin) -> None:
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(f"{kms_twin.https_url}/_twin/health", timeout=10)
    context = ssl.create_default_context(cafile=kms_twin.ca_path)
    with urllib.request.urlopen(f"{kms_twin.https_url}/_twin/health", timeout=10, context=context) as answer:
        assert json.loads(answer.read()) == {"ok": True}


def test_a_silent_client_stops_nobody(kms_twin: Twin) -> None:
    port = int(kms_twin.https_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10), socket.create_connection(("127.0.0.1", port)):
        assert root_client(kms_twin, "kms").list_keys()["Keys"] == []


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01garbage", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_client_that_speaks_no_tls_harms_nobody(kms_twin: Twin, said: bytes) -> None:
    port = int(kms_twin.https_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client, contextlib.suppress(OSError):
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        while client.recv(1024):
            pass
    assert root_client(kms_twin, "kms").list_keys()["Keys"] == []


def test_a_port_in_use_is_said_and_nothing_is_left_open(kms_twin: Twin, tmp_path: Path) -> None:
    port = int(kms_twin.http_url.rpartition(":")[2])
    second = Twin(TwinSettings(http_port=0, https_port=port, state_dir=tmp_path))
    with pytest.raises(UsageError, match=rf"usage-port: port {port} on 127.0.0.1 is in use"), second:
        pass
    with Twin(TwinSettings(http_port=0, state_dir=tmp_path)) as third:
        assert root_client(third, "kms").list_keys()["Keys"] == []
    assert root_client(kms_twin, "kms").list_keys()["Keys"] == []


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("127.0.0.1", 70_000)])
def test_an_address_that_is_not_ours_is_said(host: str, port: int) -> None:
    twin = Twin(TwinSettings(host=host, http_port=port))
    with pytest.raises(UsageError, match=r"usage-port: .* cannot be bound"):
        twin.start()
    twin.stop()


def test_a_twin_without_listener_cannot_be_meant() -> None:
    with pytest.raises(UsageError, match="twin-settings"):
        Twin(TwinSettings(http_port=None, https_port=None))


def test_what_is_not_there_is_said(kms_twin: Twin) -> None:
    with Twin(TwinSettings(http_port=0)) as twin:
        with pytest.raises(UsageError, match="no running https listener"):
            _ = twin.https_url
        assert twin.url == twin.http_url
        with pytest.raises(UsageError, match="the account is not one"):
            twin.environment("999999999999")
        with pytest.raises(UsageError, match="twin-settings"):
            attested_client(twin, kms_twin)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no running"), Twin(TwinSettings(http_port=None, https_port=0)) as twin:
        _ = twin.http_url


def test_stopping_frees_the_port_ends_connections_and_may_be_done_twice(tmp_path: Path) -> None:
    before = threading.active_count()
    twin = Twin(TwinSettings(http_port=0, https_port=0, state_dir=tmp_path)).start()
    port = int(twin.http_url.rpartition(":")[2])
    boto_client(twin, "kms").list_keys()
    waiting = socket.create_connection(("127.0.0.1", port), timeout=10)
    waiting.sendall(b"POST / HTTP/1.1\r\n")
    time.sleep(0.05)
    twin.stop()
    twin.stop()
    with waiting:
        assert waiting.recv(1) == b""
    with socket.create_server(("127.0.0.1", port)):
        pass
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_keys_pki_and_credentials_survive_a_restart(tmp_path: Path) -> None:
    settings = TwinSettings(http_port=0, state_dir=tmp_path)
    with Twin(settings) as twin:
        kms = boto_client(twin, "kms")
        arn = kms.create_key()["KeyMetadata"]["Arn"]
        blob = kms.encrypt(KeyId=arn, Plaintext=b"kept")["CiphertextBlob"]
        root, credentials = twin.pki.root_fingerprint, twin.environment()["AWS_SECRET_ACCESS_KEY"]
    with Twin(settings) as twin:
        assert twin.pki.root_fingerprint == root
        assert twin.environment()["AWS_SECRET_ACCESS_KEY"] == credentials
        assert boto_client(twin, "kms").decrypt(CiphertextBlob=blob)["Plaintext"] == b"kept"


def test_a_seed_repeats_keys_but_a_restart_does_not(tmp_path: Path) -> None:
    def first_key(settings: TwinSettings) -> str:
        with Twin(settings) as twin:
            return str(boto_client(twin, "kms").create_key()["KeyMetadata"]["KeyId"])

    frozen = 1_800_000_000_000
    seeded = TwinSettings(http_port=0, seed=b"seed", frozen_time_ms=frozen)
    kept = TwinSettings(http_port=0, seed=b"seed", frozen_time_ms=frozen, state_dir=tmp_path)
    assert first_key(seeded) == first_key(seeded) == first_key(kept)
    assert first_key(kept) != first_key(seeded)
