"""The demonstration goes as announced, and would say so if it did not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from local import __main__ as command
from local import demo
from pcrgate.errors import AppraisalError, ErrorCode

ROOT = Path(__file__).resolve().parents[3]


def test_every_verdict_as_announced(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["demo", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    verdicts = [scene["verdict"] for scene in told["scenes"]]
    assert verdicts == [
        "accepted",
        "signature-invalid",
        "nonce-mismatch",
        "pcr-mismatch",
        "debug-evidence",
        "evidence-too-old",
        "root-unpinned",
    ]


def test_a_verdict_that_was_not_announced_fails_the_demonstration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_laptop: demo.Laptop, _document: bytes, **_more: object) -> str:
        raise AppraisalError(ErrorCode.KIND_MISMATCH, "something else")

    monkeypatch.setattr(demo.Laptop, "judge", refuse)
    assert command.main(["demo", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert command.main(["demo"]) == 1
    assert "0 of 7 verdicts as announced" in capsys.readouterr().out


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
    assert done.stdout.splitlines()[-1] == "7 of 7 verdicts as announced"
    assert "\x1b" not in done.stdout
