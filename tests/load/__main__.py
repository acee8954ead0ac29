"""Load a twin, a service and an enclave of their own by hand: ``python -m tests.load --sessions 200 --seconds 60``."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tests.load.drive import Driver, Measured
from tests.support.process_stage import open_process_stage


def loaded(sessions: int, seconds: float) -> Measured:
    """Return what a run came to."""
    with open_process_stage() as stage:
        return asyncio.run(Driver(stage, sessions).run(seconds))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and return 1 when there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    measured = loaded(options.sessions, options.seconds)
    if options.json:
        sys.stdout.write(json.dumps(measured.table()) + "\n")
    else:
        table = Table("what", "value")
        for name, value in measured.table().items():
            table.add_row(name, json.dumps(value))
        Console().print(table)
    return 1 if measured.faults or not measured.done else 0


if __name__ == "__main__":
    sys.exit(main())
