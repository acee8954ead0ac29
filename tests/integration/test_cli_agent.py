"""``pcrgate publish`` and ``pcrgate agent`` as a user calls them, against a real service and enclave."""

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pcrgate.cli.main import main
from pcrgate.client.publisher import PART_BYTES, Publisher
from pcrgate.errors import ErrorCode, PcrgateError
from service.state_store import Role
from tests.support.client_stage import ClientStage, open_client_stage
from tests.support.enclave_stage import AGENT, PUBLISHER

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def stage() -> Iterator[ClientStage]:
    with open_client_stage() as found:
        yield found


@pytest.fixture
def run(stage: ClientStage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    (tmp_path / "key.pem").write_bytes(AGENT.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "key.pem").chmod(0o600)
    trust = {
        "version": 1,
        "roots": [stage.site.stage.twin.pki.root_fingerprint.hex()],
        "pcr0": [stage.site.stage.measured().hex()],
        "pcrs": {},
        "regions": [],
        "manifest": {"publisher_keys": [PUBLISHER.public_key().public_bytes_raw().hex()], "floor_epoch": 7},
    }
    (tmp_path / "trust.json").write_text(json.dumps(trust))

    def called(*words: str, role: Role = Role.CALLER) -> tuple[int, str, str]:
        (tmp_path / "token").write_text(stage.service.tokens[role] + "\n")
        options = ["--url", stage.service.url, "--token-file", str(tmp_path / "token")]
        if words[0] == "agent":
            options += ["--trust", str(tmp_path / "trust.json"), "--agent", "one", "--key", str(tmp_path / "key.pem")]
        with pytest.raises(SystemExit) as left:
            main([*words, *options])
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return called


def accepted(answer: tuple[int, str, str]) -> dict[str, Any]:
    assert answer[0] == 0, answer[2]
    found: dict[str, Any] = json.loads(answer[1])
    return found


def test_attest(run: Callable[..., tuple[int, str, str]]) -> None:
    assert set(accepted(run("agent", "attest", "--json"))["matched"]) == {"PCR0", "PCR16"}
    code, out, _ = run("agent", "attest")
    assert code == 0
    assert "boot_id" in out


def test_validate(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    action = tmp_path / "action.json"
    wanted = {"tool": "database.query", "arguments": {"table": "orders", "rows": 5}, "purpose": "report"}
    action.write_text(json.dumps(wanted))
    answer = accepted(run("agent", "validate", str(action), "--json"))
    assert (answer["report"]["decision"], len(answer["receipt_digest"])) == ("admitted", 96)
    code, out, _ = run("agent", "validate", str(action))
    assert code == 0
    assert "admitted" in out
    action.write_text(json.dumps({**wanted, "arguments": {"table": "salaries", "rows": 5}}))
    code, _, err = run("agent", "validate", str(action))
    assert code == 1
    assert err.startswith("refused: workload-argument")
    for text in ("[]", "{", '{"tool": 1}', '{"tool": "x", "arguments": []}', '{"tool": "x", "other": 1}'):
        action.write_text(text)
        assert run("agent", "validate", str(action))[0] == 2


def test_infer(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(struct.pack("<4f", 1, 1, 1, 1))
    words = ("agent", "infer", "adder", str(tmp_path / "input"), "--input", "x", "--type", "float32")
    (output,) = accepted(run(*words, "--shape", "4", "--json"))["outputs"].values()
    assert struct.unpack("<4f", bytes.fromhex(output["data"])) == (2.0, 3.0, 4.0, 1.125)
    code, out, _ = run(*words, "--shape", "4")
    assert code == 0
    assert "float32" in out
    assert run(*words, "--shape", "four")[0] == 2
    assert run(*words, "--shape", "5")[0] == 1


def test_receipts(run: Callable[..., tuple[int, str, str]]) -> None:
    answer = accepted(run("agent", "receipts", "--json"))
    assert [one["sequence"] for one in answer["receipts"]] == list(range(1, len(answer["receipts"]) + 1))
    assert run("agent", "receipts")[0] == 0


def test_publish(run: Callable[..., tuple[int, str, str]], stage: ClientStage, tmp_path: Path) -> None:
    sealed = tmp_path / "sealed"
    sealed.write_bytes(stage.site.stage.model.message)
    digest = hashlib.sha384(sealed.read_bytes()).hexdigest()
    assert accepted(run("publish", "artifact", str(sealed), "--json", role=Role.PUBLISHER))["digest"] == digest
    assert digest in run("publish", "artifact", str(sealed), role=Role.PUBLISHER)[1]
    # The enclave asks for it by its header's digest, and finds these bytes.
    assert stage.service.shelf.find(stage.site.stage.model.secret.header_sha384).read_bytes() == sealed.read_bytes()
    code, _, err = run("publish", "artifact", str(tmp_path / "absent"), role=Role.PUBLISHER)
    assert (code, err.split(":")[1].strip()) == (2, "usage-file")
    (tmp_path / "manifest").write_bytes(stage.site.signed)
    assert accepted(run("publish", "manifest", str(tmp_path / "manifest"), "--json", role=Role.PUBLISHER)) == {
        "epoch": 7
    }
    assert "epoch 7" in run("publish", "manifest", str(tmp_path / "manifest"), role=Role.PUBLISHER)[1]
    code, _, err = run("publish", "artifact", str(sealed))
    assert (code, err.split(":")[1].strip()) == (1, ErrorCode.SERVICE_ROLE.code)


def test_a_large_file_goes_up_in_parts_and_on_from_where_it_stood(stage: ClientStage, tmp_path: Path) -> None:
    content = os.urandom(PART_BYTES + 5)
    path = tmp_path / "large"
    path.write_bytes(content)
    seen: list[int] = []
    with Publisher(stage.service.url, token=stage.service.tokens[Role.PUBLISHER]) as publisher, path.open("rb") as file:
        assert publisher.put_artifact(file, progress=seen.append) == hashlib.sha384(content).hexdigest()
    assert seen == [0, PART_BYTES, len(content)]


def test_a_publisher_without_a_service_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with Publisher("http://127.0.0.1:9", token="t") as publisher, path.open("rb") as file:
        with pytest.raises(PcrgateError) as caught:
            publisher.put_artifact(file)
        assert caught.value.code is ErrorCode.CLIENT_TRANSPORT


def test_a_token_file_without_a_token(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    for content in (b"", b"\xff\xfe"):
        (tmp_path / "empty").write_bytes(content)
        with pytest.raises(SystemExit) as left:
            main(
                [
                    "publish",
                    "manifest",
                    __file__,
                    "--url",
                    "http://127.0.0.1:9",
                    "--token-file",
                    str(tmp_path / "empty"),
                ]
            )
        assert left.value.code == 2
