"""``local dev`` as a person uses it: started, called from another shell by the lines it printed, and ended in every way."""

import json
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcrgate.errors import ErrorCode
from tests.support.commands import Started, left_behind, started, wait_until

pytestmark = pytest.mark.network


@pytest.fixture
def dev() -> Iterator[Started]:
    with started("dev", "--port", "0", "--json", environment={"HTTPS_PROXY": "http://127.0.0.1:9"}) as found:
        yield found


def pasted(line: str, folder: Path) -> dict[str, Any]:
    """Paste a line into a shell that stands elsewhere and knows nothing."""
    done = subprocess.run(
        ["bash", "-c", f"{line} --json"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_its_lines_work_from_another_shell_and_ctrl_c_ends_everything(dev: Started, tmp_path: Path) -> None:
    facts = dev.object()
    commands = facts["commands"]
    assert set(pasted(commands["attest"], tmp_path)["matched"]) == {"PCR0", "PCR16"}
    assert pasted(commands["validate"], tmp_path)["report"]["decision"] == "admitted"
    (output,) = pasted(commands["infer"], tmp_path)["outputs"].values()
    assert struct.unpack("<4f", bytes.fromhex(output["data"])) == (2.0, 3.0, 4.0, 1.125)
    receipts = pasted(commands["receipts"], tmp_path)["receipts"]
    assert [one["workload"] for one in receipts if one["workload"]] == ["infer", "validate", "infer"]
    assert pasted(commands["twin environment"], tmp_path)["AWS_ENDPOINT_URL"] == facts["twin_url"]
    trust = json.loads(Path(facts["trust_policy"]).read_text())
    assert trust["pcr0"] == [facts["pcr0"]]
    private = ("agent_key", "token_file", "publisher_token_file")
    assert {Path(facts[name]).stat().st_mode & 0o777 for name in private} == {0o600}
    # The port it has cannot be had twice.
    port = facts["service_url"].rpartition(":")[2]
    with started("dev", "--port", port) as second:
        code, out, err = second.ended()
        assert (code, out) == (2, "")
        assert err.splitlines()[0] == (
            f"refused: {ErrorCode.USAGE_PORT.code}: port {port} on 127.0.0.1 is in use by another program,"
            " expected a free one"
        )
        assert left_behind(second.folder) == []
    assert len(dev.processes()) == 2
    assert dev.end(signal.SIGINT) == (0, "", "")
    assert (dev.processes(), left_behind(dev.folder)) == ([], [])


def test_text_for_people() -> None:
    with started("dev", "--port", "0") as dev:
        assert dev.process.stdout is not None
        lines = []
        while "twin env" not in (line := dev.process.stdout.readline()):
            assert line, dev.process.communicate()
            lines.append(line)
        assert lines[0].startswith("ready in ")
        assert [line for line in lines if line.startswith("trust policy")]
        assert max(map(len, lines)) > 120  # a command is never folded: it is there to be pasted
        assert dev.end(signal.SIGTERM) == (0, "", "ended; nothing is left behind\n")
        assert (dev.processes(), left_behind(dev.folder)) == ([], [])


@pytest.mark.parametrize("moment", ["pcrgate-twin-*", "pcrgate-dev-*/parent.log", "pcrgate-dev-*/enclave.sock"])
def test_ctrl_c_while_it_starts(dev: Started, moment: str) -> None:
    wait_until(lambda: bool(list(dev.folder.glob(moment))) or dev.process.poll() is not None)
    code, out, err = dev.end(signal.SIGINT)
    # CPython ends itself by the signal when it came amid code that is executed from text, as imports do.
    assert (code in {0, -signal.SIGINT}, err) == (True, ""), (code, out)
    assert (dev.processes(), left_behind(dev.folder)) == ([], [])


def test_killed_it_takes_its_processes_along(dev: Started) -> None:
    dev.object()
    assert len(dev.processes()) == 2
    assert dev.end(signal.SIGKILL)[0] == -signal.SIGKILL
    wait_until(lambda: dev.processes() == [])


def test_a_process_that_dies_is_said(dev: Started) -> None:
    dev.object()
    enclave = next(line for line in dev.processes() if " enclave " in line)
    os.kill(int(enclave.split()[0]), signal.SIGKILL)
    code, _, err = dev.ended()
    assert (code, err.splitlines()[0]) == (
        1,
        f"refused: {ErrorCode.LOCAL_PROCESS.code}: the enclave process ended with code -9: it said nothing",
    )
    assert (dev.processes(), left_behind(dev.folder)) == ([], [])


def test_a_port_of_another_program_and_what_is_no_port() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with started("dev", "--port", str(other.getsockname()[1])) as dev:
            code, _, err = dev.ended()
            assert (code, err.split(":")[1]) == (2, f" {ErrorCode.USAGE_PORT.code}")
    with started("dev", "--port", "65536") as dev:
        code, _, err = dev.ended()
        assert code == 2
        assert "expected 0 to 65535" in err
