"""Every file and every test that the threat model names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| .* \| `[^|]+` \| `[^|]+` \|$", line)]


def test_the_table_is_read() -> None:
    assert len(ROWS) >= 35


def test_code_and_tests_that_are_named_exist() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"^(?:async )?def (test_\w+)", sources, re.MULTILINE))
    missing = []
    for row in ROWS:
        code, test = (cell.strip().strip("`") for cell in row.strip("|").split("|")[-2:])
        missing += [code] if not (ROOT / code).exists() else []
        missing += [test] if not ((ROOT / test).exists() if "/" in test else test in defined) else []
    assert not missing
