"""Judge a finished test run: the coverage gates, then one plain line that counts the tests.

``make test`` runs it after pytest. Coverage of every process (pytest's workers, spawned commands and servers) is
combined first. ``--count-only`` prints the count alone.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree as ET

from coverage import Coverage

ROOT = Path(__file__).resolve().parents[1]
JUNIT = ROOT / "build" / "junit.xml"

STRICT = "pcrgate/attestation/*"

GATES = ((STRICT, None, 100.0), (None, STRICT, 95.0))
"""Files to judge together (all when None), files to leave out, and the least percentage of lines and branches."""


def count(junit: Path) -> str:
    """Return ``N passed, N failed, N skipped`` from pytest's JUnit file."""
    total = failed = skipped = 0
    for suite in ET.parse(junit).getroot().iter("testsuite"):
        total += int(suite.get("tests", "0"))
        failed += int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
        skipped += int(suite.get("skipped", "0"))
    return f"{total - failed - skipped} passed, {failed} failed, {skipped} skipped"


class Report(Protocol):
    """Print a table of some files and return their percentage, as ``Coverage.report`` does."""

    def __call__(self, *, include: str | None, omit: str | None) -> float: ...


def judge(report: Report) -> list[str]:
    """Print a table for each gate and return one line for each that is not kept."""
    broken = []
    for include, omit, least in GATES:
        name = include or "everything else"
        sys.stdout.write(f"\ncoverage: {name}, at least {least:g} % of lines and branches\n")
        reached = report(include=include, omit=omit)
        if round(reached, 2) < least:
            broken.append(f"coverage: {name} reaches {reached:.2f} %, expected at least {least:g} %")
    return broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Combine, judge, count; return 1 when a gate is not kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.gate", description=__doc__)
    parser.add_argument("--count-only", action="store_true")
    broken: list[str] = []
    if not parser.parse_args(arguments).count_only:
        coverage = Coverage()
        coverage.combine()
        coverage.save()
        broken = judge(coverage.report)
    for line in broken:
        sys.stderr.write(line + "\n")
    sys.stderr.flush()
    sys.stdout.write("\n" + count(JUNIT) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
