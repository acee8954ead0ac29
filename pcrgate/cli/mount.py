"""Mount the command groups: only the group that is called gets imported, so no group pays for another's extra."""

import importlib
import importlib.util
import os
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Annotated, Final

import typer

from pcrgate.cli.main import EXIT_INTERRUPTED, Group, missing_extra
from pcrgate.errors import ErrorCode, UsageError

_SETTINGS: Final = {"help_option_names": ["-h", "--help"]}

_COMPLETE: Final = "_PCRGATE_COMPLETE"
_TYPED: Final = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
"""Environment variables of shell completion: what is asked, and what was typed so far (bash; zsh, fish, PowerShell)."""


def run(words: Sequence[str], groups: Iterable[Group]) -> int:
    """Run one command line and return its exit code; refusals are raised.

    Args:
        words: the words after ``pcrgate``; none at all asks for help.
        groups: what may be mounted.

    Raises:
        PcrgateError: whatever the command refused with.
        UsageError: ``usage-arguments`` for an unknown group, command or option, ``usage-extra`` for a missing extra.
        KeyboardInterrupt: when the user interrupted.
    """
    app = build(next((word for word in _typed(words) if not word.startswith("-")), None), groups)
    try:
        result = app(list(words) or ["--help"], prog_name="pcrgate", standalone_mode=False)
    except typer.TyperException as error:
        fact = error.format_message().rstrip(".") or "the arguments cannot be read"
        if fact.startswith("Usage: "):  # a group without a command: its whole help would stand as one line
            fact = "missing command"
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, fact[:1].lower() + fact[1:]) from error
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except SystemExit as left:
        # typer turns a closed pipe into exit code 1, which is our word for a refusal.
        if isinstance(left.__context__, BrokenPipeError):
            raise left.__context__ from None
        raise
    code = result if isinstance(result, int) else 0
    if code == EXIT_INTERRUPTED:  # what typer makes of Ctrl-C
        raise KeyboardInterrupt
    return code


def _typed(words: Sequence[str]) -> Sequence[str]:
    """Return the words of the command line; a shell that completes tells them in its environment."""
    if _COMPLETE not in os.environ:
        return words
    return next((os.environ[name] for name in _TYPED if name in os.environ), "").split()[1:]


def build(called: str | None, groups: Iterable[Group]) -> typer.Typer:
    """Return the application with the called group in full and one line of help for each of the others.

    Raises:
        UsageError: ``usage-extra`` when the called group needs a package that is not installed.
    """
    app = typer.Typer(
        name="pcrgate",
        context_settings=dict(_SETTINGS),
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help="Check attested enclaves, and release secrets only to them.",
    )
    app.callback()(_root)
    for group in groups:
        if importlib.util.find_spec(group.module) is None:
            continue
        mounted = _mounted(group) if group.name == called else _stub()
        app.add_typer(mounted, name=group.name, help=group.summary, context_settings=dict(_SETTINGS))
    return app


def _mounted(group: Group) -> typer.Typer:
    try:
        return load(group)
    except UsageError:
        if _COMPLETE in os.environ:  # nobody reads a refusal between two keys; the command itself will tell
            return _stub()
        raise


def load(group: Group) -> typer.Typer:
    """Import a group and return its application.

    Raises:
        UsageError: ``usage-extra`` when it needs a package that is not installed.
        TypeError: when the module breaks the contract of a group.
    """
    try:
        app = importlib.import_module(group.module).app
    except ModuleNotFoundError as error:
        raise missing_extra(f"pcrgate {group.name}", group.extra, error) from error
    if not isinstance(app, typer.Typer):
        raise TypeError(group.module)
    return app


def _stub() -> typer.Typer:
    app = typer.Typer()
    app.callback()(lambda: None)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pcrgate {version('pcrgate')}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Check attested enclaves, and release secrets only to them."""
