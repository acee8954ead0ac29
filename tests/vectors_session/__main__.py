"""Write the vectors of sessions and receipts, or with ``--check`` say whether they are as generated."""

import sys

from tests.vectors_session.catalogue import differences, write


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        lines = differences()
        print("\n".join(lines) or "the vectors of sessions and receipts are as generated")
        return 1 if lines else 0
    if arguments:
        print("usage: python -m tests.vectors_session [--check]", file=sys.stderr)
        return 2
    print(f"{write()} vectors written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
