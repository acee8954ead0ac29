"""Show the demonstration: as a story on the terminal while it is played, with a table at its end, or not at all."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from rich.padding import Padding
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from local.scene import Act, Outcome, Scene
from pcrgate.cli.output import console, table
from pcrgate.cli.text import printable

NEXT: Final = """\
Everything is ended and removed. What next:
  make dev                  the same for you: it stays up, and prints the agent's commands
  .venv/bin/pcrgate --help  seal, manifest, policy, evidence, agent, receipt
  docs/verification.md      what an agent checks, in order; docs/threat-model.md says against whom
"""

INDENT: Final = 6
"""Columns before what was said."""


class Silent:
    """Show nothing."""

    def begin(self, text: str) -> None:
        """Say by which means it is played."""

    def act(self, number: int, act: Act) -> None:
        """Say that an act begins."""

    def waiting(self, scene: Scene) -> AbstractContextManager[object]:
        """Return what is entered while a scene is played."""
        del scene
        return nullcontext()

    def outcome(self, outcome: Outcome) -> None:
        """Say what came of a scene."""

    def end(self, played: Sequence[tuple[Act, tuple[Outcome, ...]]], *, took_s: float) -> None:
        """Say what came of everything."""


class Story(Silent):
    """Tell it on stdout, and on a terminal show that something is being waited for."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._out: Final = console()
        self._err: Final = console(on_stderr=True)

    def begin(self, text: str) -> None:
        """Say by which means it is played."""
        self._out.print(text)

    def act(self, number: int, act: Act) -> None:
        """Say that an act begins."""
        self._out.print(f"\n({number}) {act.name}: {act.about}", style="bold")

    def waiting(self, scene: Scene) -> AbstractContextManager[object]:
        """Return a spinner with a clock, which stands while a scene is played."""
        if scene.has_bar or not sys.stderr.isatty():
            return nullcontext()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        spinner = Progress(*columns, console=self._err, transient=True)
        spinner.add_task(scene.title, total=None)
        return spinner

    def outcome(self, outcome: Outcome) -> None:
        """Say what came of a scene."""
        mark = "ok" if outcome.as_announced else "NO"
        self._out.print(f"  {mark}  {outcome.title}: {outcome.verdict} ({took(outcome)})")
        self._out.print(Padding(Text(printable(outcome.fact), style="dim"), (0, 0, 0, INDENT), expand=False))

    def end(self, played: Sequence[tuple[Act, tuple[Outcome, ...]]], *, took_s: float) -> None:
        """Print the table, what to try, and how many verdicts were as announced."""
        rows = [
            (act.name, outcome.title, outcome.verdict, "yes" if outcome.as_announced else f"NO: {outcome.expected}")
            for act, outcomes in played
            for outcome in outcomes
        ]
        as_announced = sum(outcome.as_announced for _, outcomes in played for outcome in outcomes)
        self._out.print()
        self._out.print(table("", ("act", "scene", "verdict", "as announced"), rows))
        self._out.print(NEXT)
        self._out.print(f"{as_announced} of {len(rows)} verdicts as announced, in {took_s:.0f} s")


def took(outcome: Outcome) -> str:
    """Return how long a scene took, for people."""
    return f"{outcome.took_ms / 1000:.1f} s" if outcome.took_ms >= 1000 else f"{outcome.took_ms:.0f} ms"
