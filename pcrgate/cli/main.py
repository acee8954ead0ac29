"""The ``pcrgate`` command: its groups, and how a refusal reaches the terminal and the exit code.

Exit codes: 0 fine, 1 refused, 2 usage, 130 interrupted. The first line of stderr is ``refused: CODE: MESSAGE``; with
``--json`` the same facts stand as one object on stdout. Nothing here imports typer or rich at the top, so that an
installation without the ``cli`` extra says what is missing instead of failing on an import.
"""

import errno
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pcrgate.cli.text import printable
from pcrgate.errors import Category, ErrorCode, PcrgateError, UsageError

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, what shells expect of an interrupted command."""

EXIT_PIPE_CLOSED: Final = 141
"""128 + SIGPIPE: the reader went away, which is neither a verdict nor our failure."""

TRACEBACK_VARIABLE: Final = "PCRGATE_TRACEBACK"
"""Environment variable: when set to ``1``, an unexpected error keeps its traceback, for a bug report."""


_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a full disk answers; not our failure either, but nothing was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Name one command group.

    Attributes:
        name: the word after ``pcrgate``; the module is ``pcrgate.cli.NAME`` and exposes a Typer named ``app``.
        extra: the extra of the distribution that installs what the module imports.
        summary: one line for the list of groups.
    """

    name: str
    extra: str
    summary: str

    @property
    def module(self) -> str:
        """The import name of the group's module."""
        return f"pcrgate.cli.{self.name}"


GROUPS: Final = (
    Group(name="evidence", extra="cli", summary="Inspect, verify and record attestation documents."),
    Group(name="policy", extra="policies", summary="Render, check and prove KMS key policies."),
    Group(name="measurements", extra="policies", summary="Sign and verify the measurements that Terraform reads."),
    Group(name="twin", extra="twin", summary="Run the AWS of a laptop: KMS with Recipient, and a software NSM."),
    Group(name="manifest", extra="cli", summary="Make, sign and check release manifests."),
    Group(name="seal", extra="enclave", summary="Encrypt secrets for release."),
    Group(name="receipt", extra="cli", summary="Check receipts and chains of receipts."),
    Group(name="agent", extra="client", summary="Call an attested service."),
    Group(name="publish", extra="client", summary="Put a release where enclaves find it."),
)
"""Every group there will be; a group whose module is not in the tree yet is not mounted."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code; a traceback is never shown.

    Args:
        arguments: the words after ``pcrgate``; ``sys.argv`` without its first word when None.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(words)
        sys.stdout.flush()
    except PcrgateError as error:
        code = _refuse(error, as_json=_wants_json(words))
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except OSError as error:
        code = _cannot_write(error, words)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a refusal, not a traceback
        code = _unexpected(error, words)
    sys.exit(code)


def _run(words: Sequence[str]) -> int:
    try:
        from pcrgate.cli.mount import run  # noqa: PLC0415 - without the cli extra this import is what fails
    except ModuleNotFoundError as error:
        raise missing_extra("the command line", "cli", error) from error
    return run(words, GROUPS)


def missing_extra(what: str, extra: str, error: ModuleNotFoundError) -> UsageError:
    """Return the refusal that says which extra to install.

    Raises:
        ModuleNotFoundError: ``error`` itself when the missing module is one of ours, which no extra can mend.
    """
    package = (error.name or "").partition(".")[0]
    if package in {"pcrgate", "kms_policies", ""}:
        raise error
    return UsageError(
        ErrorCode.USAGE_EXTRA, f"{what} needs the package {package}, expected: pip install 'pcrgate[{extra}]'"
    )


def _wants_json(words: Sequence[str]) -> bool:
    head = words[: words.index("--")] if "--" in words else words
    return "--json" in head


def tell_refusal(error: PcrgateError) -> None:
    """Write the two lines of a refusal on stderr; a command that prints its own JSON verdict calls this itself."""
    # The message may quote a name that somebody else chose.
    sys.stderr.write(f"refused: {error.code.code}: {printable(error.message)}\nnext: {error.code.advice}\n")


def _refuse(error: PcrgateError, *, as_json: bool) -> int:
    code = error.code
    try:
        if as_json:
            verdict = {"verdict": "rejected", "code": code.code, "message": error.message, "advice": code.advice}
            sys.stdout.write(json.dumps(verdict, indent=2) + "\n")
        sys.stdout.flush()
    except OSError:
        _discard_output()  # nobody reads it, or there is no room: stderr and the exit code still tell
    with suppress(OSError):
        tell_refusal(error)
    return EXIT_USAGE if code.category is Category.USAGE else EXIT_REFUSED


def _unexpected(error: Exception, words: Sequence[str]) -> int:
    if os.environ.get(TRACEBACK_VARIABLE) == "1":
        raise error
    # The text of a foreign exception may hold what a refusal must not: only its type is told.
    refusal = PcrgateError(ErrorCode.INTERNAL, f"unexpected {type(error).__name__}, expected one of our own refusals")
    return _refuse(refusal, as_json=_wants_json(words))


def _cannot_write(error: OSError, words: Sequence[str]) -> int:
    if error.errno == errno.EPIPE:
        _discard_output()
        return EXIT_PIPE_CLOSED
    if error.errno in _NO_ROOM:
        reason = os.strerror(error.errno).lower()
        return _refuse(
            UsageError(ErrorCode.USAGE_FILE, f"the output cannot be written: {reason}"), as_json=_wants_json(words)
        )
    return _unexpected(error, words)


def _discard_output() -> None:
    # Python flushes stdout once more on the way out; give it somewhere to write to.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
