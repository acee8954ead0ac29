"""The page, the enumeration and the comments beside the code carry the same numbers."""

import re
from pathlib import Path

from pcrgate.attestation.checklist import Check

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "verification.md").read_text()
CODE = "\n".join(path.read_text() for path in sorted((ROOT / "pcrgate" / "attestation").glob("*.py")))
OF_THE_VERIFIER_ITSELF = {28, 29}


def test_the_page_lists_every_check_by_number_and_label() -> None:
    listed = {int(number): label for number, label in re.findall(r"^(\d+)\. \*([a-z0-9-]+)\*", PAGE, re.MULTILINE)}
    assert listed == {check.number: check.label for check in Check}
    assert [check.number for check in Check] == list(range(1, 31))


def test_every_number_stands_beside_the_code() -> None:
    beside: set[int] = set()
    for comment in re.findall(r"# (\(\d+\)[^\n]*)", CODE):
        numbers = [int(number) for number in re.findall(r"\((\d+)\)", comment)]
        beside.update(numbers)
        if re.search(r"\(\d+\) to \(\d+\)", comment):
            beside.update(range(numbers[0], numbers[1] + 1))
    # what only tests can show has no line of code to stand beside
    assert {check.number for check in Check} - OF_THE_VERIFIER_ITSELF <= beside
