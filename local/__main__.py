"""Run the laptop's deployment: ``python -m local demo [--json]``."""

import argparse
import sys
from collections.abc import Sequence

from local import demo

EXIT_INTERRUPTED = 130
"""128 + SIGINT."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m local", description="pcrgate on one machine, without AWS.")
    commands = parser.add_subparsers(dest="command", required=True)
    demonstrate = commands.add_parser("demo", help="record evidence, verify it, tamper with it, see it refused")
    demonstrate.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args(arguments)
    try:
        return demo.run(as_json=options.json)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
