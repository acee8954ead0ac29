"""The command of every set of vectors: write them, or with ``--check`` say whether they are as generated."""

import sys
from collections.abc import Callable


def run(
    arguments: list[str], module: str, named: str, *, differences: Callable[[], list[str]], write: Callable[[], int]
) -> int:
    """Carry out a command line and return the exit code.

    Args:
        arguments: nothing, or ``--check``.
        module: what ``python -m`` runs.
        named: the vectors, for what is printed.
        differences: says what the generator would change, a line each.
        write: writes them all and returns how many there are.
    """
    if arguments == ["--check"]:
        lines = differences()
        print("\n".join(lines) or f"{named} are as generated")
        return 1 if lines else 0
    if arguments:
        print(f"usage: python -m {module} [--check]", file=sys.stderr)
        return 2
    print(f"{write()} files of {named} written")
    return 0
