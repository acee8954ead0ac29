"""Write the generated documents: ``python -m tests.docs``; with ``--check`` only compare, and show the difference.

A generated document is one entry of :data:`DOCUMENTS`: its path, and the function that returns its whole text. A
module whose dependencies are not there yet must not be imported at the top of another's.
"""

import argparse
import difflib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.docs import command_line, error_codes, rest_api, terraform_reference

ROOT = Path(__file__).resolve().parents[2]

DOCUMENTS: Mapping[str, Callable[[], str]] = {
    "docs/errors.md": error_codes.render,
    "docs/cli.md": command_line.render,
    "docs/api.md": rest_api.render,
    "docs/terraform-reference.md": terraform_reference.render,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or compare every document; return 1 when a compared one differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    options = parser.parse_args(arguments)
    stale = 0
    for name, render in DOCUMENTS.items():
        path, new = ROOT / name, render()
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old == new:
            continue
        if options.check:
            stale += 1
            lines = difflib.unified_diff(old.splitlines(), new.splitlines(), name, f"{name} (generated)", lineterm="")
            sys.stdout.write("\n".join(lines) + "\n")
        else:
            path.write_text(new, encoding="utf-8")
            sys.stdout.write(f"docs: wrote {name}\n")
    if stale:
        sys.stdout.write("docs: out of date, run: make docs\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
