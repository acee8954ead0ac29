"""The demonstration goes as announced, and would say so if it did not."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import __main__ as command
from local import demo, demo_policies, demo_release
from local.demo_evidence import Laptop
from local.demo_release import Account, release_scenes
from local.scene import OtherVerdict, play
from pcrgate.errors import AppraisalError, ErrorCode
from pcrgate.twin.clients import boto_client
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from pcrgate.units import Sha384

ROOT = Path(__file__).resolve().parents[3]


pytestmark = pytest.mark.network  # the last act listens on loopback

ANNOUNCED = {
    "evidence": [
        "accepted",
        "signature-invalid",
        "nonce-mismatch",
        "pcr-mismatch",
        "debug-evidence",
        "evidence-too-old",
        "root-unpinned",
    ],
    "key policy": ["proven", "second-allow", "root-delegation"],
    "release": ["released", "AccessDeniedException", "AccessDeniedException"],
}


def test_every_verdict_as_announced(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["demo", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert {act["name"]: [scene["verdict"] for scene in act["scenes"]] for act in told["acts"]} == ANNOUNCED


def test_a_verdict_that_was_not_announced_fails_the_demonstration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_laptop: Laptop, _document: bytes, **_more: object) -> str:
        raise AppraisalError(ErrorCode.KIND_MISMATCH, "something else")

    monkeypatch.setattr(Laptop, "judge", refuse)
    assert command.main(["demo", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert command.main(["demo"]) == 1
    assert "6 of 13 verdicts as announced" in capsys.readouterr().out


@pytest.fixture
def account() -> Iterator[Account]:
    with Twin(TwinSettings(http_port=None, https_port=0)) as twin:
        yield Account(twin, Sha384(b"\x11" * 48))


def test_what_is_proven_and_released_is_asked_for_and_not_told(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    # The same scenes under a policy with a hole: what was refused is released, and the demonstration says so.
    hole = demo_policies.weakened(account.policy, account.roles.parent)
    administering = account.session(account.roles.administrator)
    boto_client(account.twin, "kms", credentials=administering).put_key_policy(KeyId=account.key_arn, Policy=hole)
    outcomes = [play(scene) for scene in release_scenes(account)]
    assert [outcome.verdict for outcome in outcomes] == ["released", "released", "released"]
    assert [outcome.as_announced for outcome in outcomes] == [True, False, False]
    demo.show(demo.Act(name="release", about="with a hole", outcomes=tuple(outcomes)))
    assert capsys.readouterr().out.count(" NO ") == 2


def test_another_secret_than_the_sealed_one_is_no_release(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_release, "SECRET", b"another")
    assert play(next(release_scenes(account))).verdict == "wrong-secret"


def test_a_policy_without_a_leak_of_decrypt_is_still_not_proven(account: Account) -> None:
    policy = json.loads(account.policy)
    policy["Statement"].append(
        {"Effect": "Allow", "Principal": {"AWS": account.roles.parent}, "Action": "kms:PutKeyPolicy", "Resource": "*"}
    )
    kept = [each for each in policy["Statement"] if each.get("Sid") != "DenyAdministrationByOthers"]
    with pytest.raises(OtherVerdict) as found:
        demo_policies.judge(json.dumps({**policy, "Statement": kept}), account.roles, account.image)
    assert found.value.fact == "no counterexample of Decrypt"


def test_interruption_is_clean(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*, as_json: bool) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupt)
    assert command.main(["demo"]) == command.EXIT_INTERRUPTED
    assert capsys.readouterr() == ("", "interrupted\n")


def test_process_prints_a_plain_table() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local", "demo"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "13 of 13 verdicts as announced"
    assert "\x1b" not in done.stdout
