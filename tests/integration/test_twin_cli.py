"""``pcrgate twin`` as a person uses it: processes, signals, a state directory that a kill does not damage."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from pcrgate.cli.main import main
from tests.support.plain_moto import plain_moto

pytestmark = pytest.mark.network

COMMAND = [sys.executable, "-m", "pcrgate.cli.main", "twin"]
START_TIMEOUT_S = 60


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run a twin in a process of its own; yield it with the variables that it printed."""
    command = [*COMMAND, "up", "--port", "0", "--json", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        yield process, json.loads("".join(lines))
    finally:
        process.kill()
        process.communicate()


def client(variables: dict[str, str]) -> Any:
    return boto3.client(
        "kms",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        verify=variables.get("AWS_CA_BUNDLE"),
    )


def refused(*words: str) -> tuple[int, str]:
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=START_TIMEOUT_S)
    return done.returncode, done.stderr.splitlines()[0]


def test_a_state_directory_survives_a_kill(tmp_path: Path) -> None:
    with running("--state", str(tmp_path)) as (process, variables):
        kms = client(variables)
        arn = kms.create_key()["KeyMetadata"]["Arn"]
        blob = kms.encrypt(KeyId=arn, Plaintext=b"kept")["CiphertextBlob"]
        process.send_signal(signal.SIGKILL)
        assert process.wait(START_TIMEOUT_S) == -signal.SIGKILL
    with running("--state", str(tmp_path)) as (process, again):
        assert again["AWS_SECRET_ACCESS_KEY"] == variables["AWS_SECRET_ACCESS_KEY"]
        assert again["PCRGATE_TWIN_ROOT_SHA256"] == variables["PCRGATE_TWIN_ROOT_SHA256"]
        assert client(again).decrypt(CiphertextBlob=blob)["Plaintext"] == b"kept"
        # A second twin on the same state or port says so and leaves the first alone.
        port = again["AWS_ENDPOINT_URL"].rpartition(":")[2]
        assert refused("up", "--port", port) == (
            2,
            f"refused: usage-port: port {port} on 127.0.0.1 is in use by another program, expected a free one",
        )
        code, said = refused("up", "--port", "0", "--state", str(tmp_path))
        assert (code, said.startswith("refused: twin-state-locked")) == (2, True)
        process.send_signal(signal.SIGINT)
        assert process.wait(START_TIMEOUT_S) == 0


def test_env_points_a_shell_at_a_running_twin(capsys: pytest.CaptureFixture[str]) -> None:
    with running("--tls", "--tls-port", "0", "--seed", "x", "--other-account", "444455556666") as (process, variables):
        assert client(variables).list_keys()["Keys"] == []
        url, ca_file = variables["PCRGATE_TWIN_URL"], variables["AWS_CA_BUNDLE"]
        assert url.startswith("https://")
        shown = _run(capsys, "env", "--url", url, "--ca-file", ca_file)
        assert f"export AWS_SECRET_ACCESS_KEY={variables['AWS_SECRET_ACCESS_KEY']}\n" in shown
        assert json.loads(_run(capsys, "env", "--url", url, "--ca-file", ca_file, "--json")) == variables
        other = json.loads(
            _run(capsys, "env", "--url", url, "--ca-file", ca_file, "--json", "--account", "444455556666")
        )
        assert other["AWS_ACCESS_KEY_ID"] != variables["AWS_ACCESS_KEY_ID"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_TIMEOUT_S) == 0
        assert not Path(ca_file).exists()


def _run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["twin", *words])
    assert caught.value.code == code
    shown = capsys.readouterr()
    return shown.out if code == 0 else shown.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("env", "--url", "http://127.0.0.1:1"), "twin-unreachable: no twin answers"),
        (("env", "--url", "file:///etc/hostname"), "twin-unreachable: the URL is neither http nor https"),
        (("up", "--aws-roots"), "twin-settings: --aws-roots is given without --frozen-time"),
        (("up", "--account", "12"), "twin-settings: an account is not twelve digits"),
        (("up", "--other-account", "12345678901a"), "twin-settings: an account is not twelve digits"),
        (("up", "--other-account", "123456789012"), "twin-settings: an account is named twice"),
        (("up", "--region", "bogus"), "twin-settings: the region is not one of AWS's names"),
        (("up", "--seed", ""), "twin-settings: the seed is empty"),
        (("up", "--frozen-time", "yesterday"), "usage-time: the frozen time is not RFC 3339"),
        (("up", "--frozen-time", "2026-01-01T00:00:00"), "usage-time: the frozen time has no offset"),
    ],
)
def test_what_cannot_be_meant_is_said(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str) -> None:
    assert _run(capsys, *words, code=2).startswith(f"refused: {said}")


def test_what_answers_may_be_no_twin(capsys: pytest.CaptureFixture[str]) -> None:
    with plain_moto() as moto:
        assert "refused: twin-unreachable" in _run(capsys, "env", "--url", moto.url, code=2)


def test_the_first_lines_are_for_a_shell() -> None:
    command = [*COMMAND, "up", "--port", "0", "--frozen-time", "2026-01-01T00:00:00Z", "--aws-roots", "--refuse-replay"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(START_TIMEOUT_S) == 0
    assert first.startswith("# twin ready at http://127.0.0.1:")
    assert second.startswith("export AWS_ACCESS_KEY_ID=AKIA")
