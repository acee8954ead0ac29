"""The last word of a test run: the count, and the coverage gates at their bound."""

from pathlib import Path

import pytest

from tests import gate

JUNIT = """<testsuites><testsuite tests="7" failures="1" errors="1" skipped="2"/></testsuites>"""


def test_count(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(JUNIT)
    assert gate.count(file) == "3 passed, 2 failed, 2 skipped"


def test_count_only_is_the_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(JUNIT)
    monkeypatch.setattr(gate, "JUNIT", file)
    assert gate.main(["--count-only"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 passed, 2 failed, 2 skipped"


@pytest.mark.parametrize(
    ("strict", "rest", "broken"), [(100.0, 95.0, 0), (99.99, 95.0, 1), (100.0, 94.99, 1), (99.0, 10.0, 2)]
)
def test_gates(strict: float, rest: float, broken: int) -> None:
    def report(*, include: str | None, omit: str | None) -> float:
        assert (include is None) != (omit is None)
        return strict if include == "pcrgate/attestation/*" else rest

    assert len(gate.judge(report)) == broken
