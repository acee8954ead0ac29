"""The generated documents: nothing is missing, and a difference is found."""

from pathlib import Path

import pytest

from pcrgate.errors import ErrorCode
from tests.docs import __main__ as docs
from tests.docs import command_line, error_codes


def test_every_code_stands_once_in_the_table() -> None:
    text = error_codes.render()
    assert [m.code for m in ErrorCode if text.count(f"| `{m.code}` |") != 1] == []


def test_every_mounted_group_stands_in_the_command_line_document() -> None:
    text = command_line.render()
    assert "\n## pcrgate\n" in text
    assert "Usage: pcrgate [OPTIONS]" in text


def test_check_finds_a_difference_and_writing_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "DOCUMENTS", {"a.md": lambda: "new\n"})
    assert docs.main(["--check"]) == 1
    assert "+new" in capsys.readouterr().out
    assert docs.main([]) == 0
    assert (tmp_path / "a.md").read_text() == "new\n"
    assert docs.main(["--check"]) == 0
