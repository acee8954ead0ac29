"""What every command group shares: JSON and tables on stdout, progress on stderr, input with a limit.

Text from evidence, manifests or the network reaches a terminal only through :func:`pcrgate.cli.text.printable`: a
document's author must not be able to move the cursor or recolour a verdict.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pcrgate.cli.text import printable
from pcrgate.errors import ErrorCode, PcrgateError, UsageError

STANDARD_INPUT: Final = "-"
"""The file name that means standard input."""

PIPED_WIDTH_COLUMNS: Final = 120
"""Width when nobody watches: a PCR of 96 hex digits and its name fit on one line, for grep."""


def print_json(value: Mapping[str, object]) -> None:
    """Print one JSON object on stdout, indented, ASCII only, keys in the given order."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def console(*, on_stderr: bool = False) -> Console:
    """Return a console that honours ``NO_COLOR``, prints plain text to a pipe, and reads no markup."""
    stream = sys.stderr if on_stderr else sys.stdout
    width = None if stream.isatty() else PIPED_WIDTH_COLUMNS
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table of printable text.

    Args:
        title: stands above it; empty for none.
        columns: the headings.
        rows: one sequence a row, as many cells as headings; each cell is shown as ``str``.
    """
    made = Table(title=printable(title) or None, title_justify="left", header_style="bold")
    for column in columns:
        made.add_column(printable(column), overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(str(cell))) for cell in row))
    return made


def progress() -> Progress:
    """Return a progress bar on stderr that draws nothing unless stderr is a terminal.

    Use it as a context manager: ``with progress() as bar: task = bar.add_task("reading", total=size_bytes)``.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
        console=console(on_stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def read_input(path: str, limit_bytes: int) -> bytes:
    """Read a file, or standard input for ``-``, and no more than the limit.

    Args:
        path: a file name or ``-``.
        limit_bytes: the most bytes that may be there; one more is refused, and nothing beyond that is read.

    Raises:
        UsageError: ``usage-file`` when the file cannot be read.
        PcrgateError: ``input-too-large`` when there is more than the limit.
    """
    if not path:
        raise UsageError(ErrorCode.USAGE_FILE, "the name of the file is empty, expected one, or - for standard input")
    name = "standard input" if path == STANDARD_INPUT else printable(path)
    try:
        if path == STANDARD_INPUT:
            if sys.stdin is None:  # the caller closed it
                raise UsageError(ErrorCode.USAGE_FILE, "cannot read standard input: it is closed")
            data = sys.stdin.buffer.read(limit_bytes + 1)
        else:
            with Path(path).open("rb") as stream:
                data = stream.read(limit_bytes + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a file name"
        raise UsageError(ErrorCode.USAGE_FILE, f"cannot read {name}: {reason.lower()}") from error
    if len(data) > limit_bytes:
        raise PcrgateError(ErrorCode.INPUT_TOO_LARGE, f"{name} is longer than expected, at most {limit_bytes} bytes")
    return data
