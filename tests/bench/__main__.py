"""Run the bench groups: ``python -m tests.bench [--group NAME]`` prints a table and writes ``build/bench.json``."""

import argparse
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.figure import Figure

RESULT = Path(__file__).resolve().parents[2] / "build" / "bench.json"
HERE = Path(__file__).parent
BENCH_SITE = Path(sys.prefix) / "bench-site"
"""Where ``make bench`` puts packages that only benches compare with; seen here and nowhere else."""

Results = dict[str, dict[str, dict[str, object]]]


def groups() -> list[str]:
    """Return the names of all groups: the modules of this package that expose ``figures``."""
    return sorted(path.stem for path in HERE.glob("*.py") if "\ndef figures(" in path.read_text())


def measure(group: str) -> list[Figure]:
    """Import one group and return its figures."""
    figures: list[Figure] = importlib.import_module(f"tests.bench.{group}").figures()
    return figures


def merge(results: Results, group: str, figures: Sequence[Figure]) -> Results:
    """Return the results with this group's figures in the place of its former ones."""
    rows: dict[str, dict[str, object]] = {
        figure.name: {"value": figure.value, "unit": figure.unit, "bound": figure.bound, "ok": figure.ok}
        for figure in figures
    }
    return {**results, group: rows}


def show(measured: Mapping[str, Sequence[Figure]], console: Console) -> None:
    """Print one table of all figures."""
    table = Table(title="pcrgate bench", title_justify="left")
    for column in ("group", "figure", "value", "bound", "kept"):
        table.add_column(column, justify="right" if column == "value" else "left", overflow="fold")
    for group, figures in measured.items():
        for figure in figures:
            kept = ("yes" if figure.ok else "NO") if figure.bound else ""
            table.add_row(group, figure.name, f"{figure.value:.4g} {figure.unit}", figure.bound, kept)
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the asked groups; return 1 when a bound is broken, else 0."""
    known = groups()
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--group", choices=known, help="run only this group and keep the others' results")
    parser.add_argument(
        "--result", type=Path, default=RESULT, help="the JSON file to write (default: build/bench.json)"
    )
    options = parser.parse_args(arguments)
    if BENCH_SITE.is_dir():
        sys.path.append(str(BENCH_SITE))
    asked = [options.group] if options.group else known
    results: Results = json.loads(options.result.read_text()) if options.result.exists() else {}
    results = {group: rows for group, rows in results.items() if group in known}
    measured: dict[str, list[Figure]] = {}
    for group in asked:
        sys.stderr.write(f"bench: {group}\n")
        measured[group] = measure(group)
        results = merge(results, group, measured[group])
        options.result.parent.mkdir(parents=True, exist_ok=True)
        options.result.write_text(json.dumps(results, indent=2) + "\n")
    show(measured, Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False))
    return 0 if all(figure.ok for figures in measured.values() for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
