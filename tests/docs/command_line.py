"""Render ``docs/cli.md`` from the help of every mounted command."""

import contextlib
import importlib.util
import io
import os
from collections.abc import Iterator

import typer

from pcrgate.cli.main import GROUPS, main
from pcrgate.cli.mount import load

HEAD = """# Command line

Generated from the commands' own help by `make docs`; `make check` fails when the two differ.

Exit codes: 0 fine, 1 refused, 2 usage, 130 interrupted, 141 when whoever read the output went away
([operations.md](operations.md#exit-codes)). The first line of stderr is `refused: CODE: MESSAGE`
([all codes](errors.md)); with `--json` the same facts are one JSON object on stdout.

Completion: `pcrgate --install-completion` for the current shell, or for one session in bash
`eval "$(_PCRGATE_COMPLETE=source_bash pcrgate)"` (`source_zsh`, `source_fish` likewise).
"""


def render() -> str:
    """Return the whole document."""
    sections = [HEAD]
    for words in _commands():
        title = " ".join(["pcrgate", *words])
        sections.append(f"\n## {title}\n\n```text\n{_help(words)}```\n")
    return "".join(sections)


def _commands() -> Iterator[tuple[str, ...]]:
    yield ()
    for group in GROUPS:
        if importlib.util.find_spec(group.module) is not None:
            yield from _below(load(group), (group.name,))


def _below(app: typer.Typer, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__.replace("_", "-") if command.callback else "")
        yield (*words, name)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            name = group.name or group.typer_instance.info.name or ""
            yield from _below(group.typer_instance, (*words, str(name)))


def _help(words: tuple[str, ...]) -> str:
    out = io.StringIO()
    before = {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR", "TERMINAL_WIDTH")}
    os.environ.update({"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"})
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main([*words, "--help"])
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines()) + "\n"
