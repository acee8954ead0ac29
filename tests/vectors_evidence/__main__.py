"""Write the evidence vectors, or with ``--check`` say whether they are as generated."""

import sys

from tests.support.vector_command import run
from tests.vectors_evidence.catalogue import differences, write


def main(arguments: list[str]) -> int:
    return run(arguments, "tests.vectors_evidence", "the evidence vectors", differences=differences, write=write)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
