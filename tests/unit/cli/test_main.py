"""The command line's frame: exit codes, the two forms of a refusal, missing extras, and a quiet end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from pcrgate.cli import main as cli
from pcrgate.cli import mount
from pcrgate.errors import AppraisalError, ErrorCode, PcrgateError, UsageError

GROUP_SOURCE = '''
import sys, time
from pathlib import Path
from typing import Annotated
import typer
from pcrgate.errors import AppraisalError, ErrorCode, UsageError

app = typer.Typer(rich_markup_mode=None)

@app.command()
def fine(word: str, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Say a word."""
    print(word)

@app.command()
def refuse(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    raise AppraisalError(ErrorCode.PCR_MISMATCH, "PCR0 is \\x1b[31mred\\n, expected calm")

@app.command()
def misuse() -> None:
    raise UsageError(ErrorCode.USAGE_FILE, "cannot read x")

@app.command()
def crash(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    raise ValueError("a secret")

@app.command()
def lines() -> None:
    for number in range(200_000):
        print(number)

@app.command()
def code() -> None:
    raise typer.Exit(7)

@app.command()
def abort() -> None:
    raise typer.Abort

@app.command()
def device() -> None:
    raise OSError(19, "no such device")

@app.command()
def interrupt() -> None:
    raise KeyboardInterrupt

@app.command()
def leave() -> None:
    sys.exit(5)

@app.command()
def wait(ready: Path) -> None:
    ready.touch()
    time.sleep(60)
'''

GroupMaker = Callable[..., cli.Group]


@pytest.fixture
def make_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GroupMaker]:
    """Write group modules into a folder that ``pcrgate.cli`` also searches."""
    import pcrgate.cli

    monkeypatch.setattr(pcrgate.cli, "__path__", [*pcrgate.cli.__path__, str(tmp_path)])
    made: list[str] = []

    def make(source: str = GROUP_SOURCE, name: str = "trial") -> cli.Group:
        (tmp_path / f"{name}.py").write_text(source)
        made.append(f"pcrgate.cli.{name}")
        group = cli.Group(name=name, extra="trials", summary="A group for this test.")
        monkeypatch.setattr(cli, "GROUPS", (*cli.GROUPS, group))
        return group

    yield make
    for module in made:
        sys.modules.pop(module, None)


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert isinstance(left.value.code, int)
    return left.value.code


def spawn_code(extra_folder: Path) -> str:
    return (
        "import pcrgate.cli, sys; from pcrgate.cli import main;"
        f"pcrgate.cli.__path__.append({str(extra_folder)!r});"
        "main.GROUPS = (*main.GROUPS, main.Group(name='trial', extra='trials', summary='x'));"
        "main.main()"
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"pcrgate {version('pcrgate')}\n"


@pytest.mark.parametrize("words", [(), ("-h",), ("--help",)])
def test_help_lists_mounted_groups_only(
    words: tuple[str, ...], make_group: GroupMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    make_group()
    assert run(*words) == 0
    out = capsys.readouterr().out
    assert "A group for this test." in out
    assert "Usage: pcrgate" in out


def test_help_does_not_import_groups(make_group: GroupMaker, capsys: pytest.CaptureFixture[str]) -> None:
    make_group("raise RuntimeError('imported')", name="broken")
    assert run("--help") == 0
    assert "broken" in capsys.readouterr().out


def test_group_without_a_module_is_not_mounted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "GROUPS", (cli.Group(name="nowhere", extra="x", summary="Not here."),))
    assert run("nowhere") == cli.EXIT_USAGE
    assert capsys.readouterr().err.startswith("refused: usage-arguments: no such command 'nowhere'")


def test_command_runs(make_group: GroupMaker, capsys: pytest.CaptureFixture[str]) -> None:
    make_group()
    assert run("trial", "fine", "hello") == 0
    assert capsys.readouterr().out == "hello\n"
    assert run("trial", "code") == 7
    assert run("trial", "leave") == 5


def test_words_come_from_the_process(
    make_group: GroupMaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_group()
    monkeypatch.setattr(sys, "argv", ["pcrgate", "trial", "fine", "argv"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 0
    assert capsys.readouterr().out == "argv\n"


def test_refusal_on_stderr(make_group: GroupMaker, capsys: pytest.CaptureFixture[str]) -> None:
    make_group()
    assert run("trial", "refuse") == cli.EXIT_REFUSED
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"refused: pcr-mismatch: PCR0 is \\x1b[31mred\\n, expected calm\nnext: {ErrorCode.PCR_MISMATCH.advice}\n"
    )


def test_refusal_as_json(make_group: GroupMaker, capsys: pytest.CaptureFixture[str]) -> None:
    make_group()
    assert run("trial", "refuse", "--json") == cli.EXIT_REFUSED
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "verdict": "rejected",
        "code": "pcr-mismatch",
        "message": "PCR0 is \x1b[31mred\n, expected calm",
        "advice": ErrorCode.PCR_MISMATCH.advice,
    }
    assert err.startswith("refused: pcr-mismatch: ")


def test_json_after_the_end_of_options_is_a_word(make_group: GroupMaker, capsys: pytest.CaptureFixture[str]) -> None:
    make_group()
    assert run("trial", "fine", "a", "--", "--json") == cli.EXIT_USAGE
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("trial", "misuse"), "usage-file"),
        (("trial", "fine"), "usage-arguments"),
        (("trial", "fine", "a", "--unknown"), "usage-arguments"),
        (("trial",), "usage-arguments"),
        (("--unknown",), "usage-arguments"),
    ],
)
def test_usage_is_exit_two(
    words: tuple[str, ...], code: str, make_group: GroupMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    make_group()
    assert run(*words) == cli.EXIT_USAGE
    assert capsys.readouterr().err.startswith(f"refused: {code}: ")


def test_missing_extra_says_what_to_install(make_group: GroupMaker, capsys: pytest.CaptureFixture[str]) -> None:
    make_group("import surely_not_installed.part")
    assert run("trial", "fine") == cli.EXIT_USAGE
    first = capsys.readouterr().err.splitlines()[0]
    assert first == (
        "refused: usage-extra: pcrgate trial needs the package surely_not_installed,"
        " expected: pip install 'pcrgate[trials]'"
    )


def test_a_missing_module_of_ours_is_not_an_extra() -> None:
    error = ModuleNotFoundError("gone", name="pcrgate.gone")
    with pytest.raises(ModuleNotFoundError):
        cli.missing_extra("pcrgate trial", "trials", error)


def test_without_typer_the_cli_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "pcrgate.cli.mount")
    monkeypatch.setitem(sys.modules, "typer", None)
    assert run("--version") == cli.EXIT_USAGE
    assert "expected: pip install 'pcrgate[cli]'" in capsys.readouterr().err


def test_a_module_that_is_no_group(make_group: GroupMaker) -> None:
    group = make_group("app = 1")
    with pytest.raises(TypeError):
        mount.load(group)


@pytest.mark.parametrize(("command", "kind"), [("crash", "ValueError"), ("device", "OSError")])
def test_unexpected_error_tells_its_type_only(
    command: str, kind: str, make_group: GroupMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    make_group()
    assert run("trial", command) == cli.EXIT_REFUSED
    _, err = capsys.readouterr()
    assert err.startswith(f"refused: internal: unexpected {kind}")
    assert "secret" not in err
    assert "Traceback" not in err


def test_unexpected_error_keeps_its_traceback_on_request(
    make_group: GroupMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_group()
    monkeypatch.setenv(cli.TRACEBACK_VARIABLE, "1")
    with pytest.raises(ValueError, match="a secret"):
        cli.main(["trial", "crash"])


@pytest.mark.parametrize("command", ["abort", "interrupt"])
def test_interruption_is_quiet(command: str, make_group: GroupMaker, capsys: pytest.CaptureFixture[str]) -> None:
    make_group()
    assert run("trial", command) == cli.EXIT_INTERRUPTED
    assert capsys.readouterr() == ("", "")


def test_process_ends_quietly_on_ctrl_c(make_group: GroupMaker, tmp_path: Path) -> None:
    make_group()
    ready = tmp_path / "ready"
    process = subprocess.Popen(
        [sys.executable, "-c", spawn_code(tmp_path), "trial", "wait", str(ready)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not ready.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == cli.EXIT_INTERRUPTED


def test_process_with_a_closed_pipe_is_quiet(make_group: GroupMaker, tmp_path: Path) -> None:
    make_group()
    process = subprocess.Popen(
        [sys.executable, "-c", spawn_code(tmp_path), "trial", "lines"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == cli.EXIT_PIPE_CLOSED


def test_refusal_into_a_closed_pipe_keeps_the_verdict(make_group: GroupMaker, tmp_path: Path) -> None:
    make_group()
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", spawn_code(tmp_path), "trial", "refuse", "--json"],
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert done.returncode == cli.EXIT_REFUSED
    assert done.stderr.startswith(b"refused: pcr-mismatch: ")
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    ("words", "status", "first"),
    [
        (["fine", "x"], cli.EXIT_USAGE, b"refused: usage-file: the output cannot be written: no space left on device"),
        (["lines"], cli.EXIT_USAGE, b"refused: usage-file: the output cannot be written: no space left on device"),
        (["fine", "x", "--json"], cli.EXIT_USAGE, b"refused: usage-file: "),
        (["refuse", "--json"], cli.EXIT_REFUSED, b"refused: pcr-mismatch: "),
    ],
)
def test_a_full_disk_is_never_taken_for_success(
    words: list[str], status: int, first: bytes, make_group: GroupMaker, tmp_path: Path
) -> None:
    make_group()
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", spawn_code(tmp_path), "trial", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert done.returncode == status
    assert done.stderr.startswith(first)
    assert b"Traceback" not in done.stderr


def test_installed_command_is_this_main() -> None:
    command = Path(sys.executable).with_name("pcrgate")
    done = subprocess.run([command, "bogus"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == cli.EXIT_USAGE
    assert done.stderr.splitlines()[0] == "refused: usage-arguments: no such command 'bogus'"
    assert done.stdout == ""


def test_every_error_of_the_family_has_an_exit_code() -> None:
    assert cli._refuse(AppraisalError(ErrorCode.PCR_ABSENT, "x"), as_json=False) == cli.EXIT_REFUSED
    assert cli._refuse(PcrgateError(ErrorCode.INTERNAL, "x"), as_json=False) == cli.EXIT_REFUSED
    assert cli._refuse(UsageError(ErrorCode.USAGE_HEX, "x"), as_json=False) == cli.EXIT_USAGE
