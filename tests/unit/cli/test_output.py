"""What groups print and read: plain text to pipes, no foreign control characters, input up to its limit."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pcrgate.cli import output
from pcrgate.cli.text import printable
from pcrgate.errors import ErrorCode, PcrgateError, UsageError


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_json_is_one_ascii_object_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"b": "\u00e9\x1b", "a": [1]})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"b": "\u00e9\x1b", "a": [1]}
    assert out.index('"b"') < out.index('"a"')


def test_json_has_no_foreign_numbers() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        output.print_json({"a": float("nan")})


@pytest.mark.parametrize("text", ["\x1b[31m", "a\nb", "a\rb", "\u202e", "\x9b", "\x00", "\u2066"])
def test_printable_escapes_what_moves_a_terminal(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert "\\" in shown


def test_printable_leaves_letters() -> None:
    assert printable("PCR0 ist gr\u00fcn, 値 = 1") == "PCR0 ist gr\u00fcn, 値 = 1"


def test_table_on_a_pipe_is_plain_and_wide(capsys: pytest.CaptureFixture[str]) -> None:
    made = output.table("Registers\x1b", ["name", "value"], [["PCR0", "0" * 96], ["[red]x[/red]", "\x1b[2J"]])
    output.console().print(made)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "0" * 96 in out
    assert "[red]x[/red]" in out
    assert "\\x1b[2J" in out


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for stream_name, on_stderr in (("stdout", False), ("stderr", True)):
        stream = Terminal()
        monkeypatch.setattr(sys, stream_name, stream)
        output.console(on_stderr=on_stderr).print("x", style="red")
        assert "\x1b[31m" in stream.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    output.console().print("x", style="red")
    assert "\x1b[31m" not in stream.getvalue()


def test_progress_is_silent_on_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress() as bar:
        bar.add_task("reading", total=10)
    assert capsys.readouterr() == ("", "")


def test_read_up_to_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x" * 10)
    assert output.read_input(str(file), 10) == b"x" * 10


def test_read_one_past_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x" * 11)
    with pytest.raises(PcrgateError) as refused:
        output.read_input(str(file), 10)
    assert refused.value.code is ErrorCode.INPUT_TOO_LARGE
    assert "at most 10 bytes" in refused.value.message


@pytest.mark.parametrize("name", ["absent", ".", "nul\x00byte"])
def test_unreadable_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        output.read_input(str(tmp_path / name), 10)
    assert refused.value.code is ErrorCode.USAGE_FILE
    assert refused.value.message.isprintable()


def test_dash_is_standard_input() -> None:
    code = "from pcrgate.cli.output import read_input; import sys; sys.stdout.buffer.write(read_input('-', 4))"
    done = subprocess.run([sys.executable, "-c", code], input=b"\x00\xff\n1", capture_output=True, check=True)
    assert done.stdout == b"\x00\xff\n1"


def test_too_much_standard_input_is_called_by_its_name() -> None:
    code = """
import sys
from pcrgate.cli.output import read_input
from pcrgate.errors import PcrgateError
try:
    read_input('-', 3)
except PcrgateError as refused:
    sys.stdout.write(refused.message)
"""
    done = subprocess.run([sys.executable, "-c", code], input=b"1234", capture_output=True, check=True)
    assert done.stdout == b"standard input is longer than expected, at most 3 bytes"
