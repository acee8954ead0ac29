"""Render ``docs/terraform-reference.md`` from the variables and outputs of the Terraform modules and environments."""

import re
from collections.abc import Iterator
from pathlib import Path

TERRAFORM = Path(__file__).resolve().parents[2] / "terraform"

HEAD = """# Terraform: inputs and outputs

Generated from `terraform/` by `make docs`; `make check` fails when the two differ. How to use the modules:
[terraform.md](terraform.md).

An input without a default must be given. None that decides who gets plaintext has one.
"""

_BLOCK = re.compile(r'^(?P<kind>variable|output) "(?P<name>\w+)" \{\n(?P<body>.*?)^\}', re.MULTILINE | re.DOTALL)
_DESCRIPTION = re.compile(r'^  description = "(?P<text>(?:[^"\\]|\\.)*)"$', re.MULTILINE)
_TYPE = re.compile(r"^  type +=\s(?P<text>\w+(?:\([^\n]*\))?)$", re.MULTILINE)
_DEFAULT = re.compile(r"^  default +=\s(?P<text>.+?)(?: #.*)?$", re.MULTILINE)
_OBJECT = re.compile(r"^  type *= (?P<text>[\w(]*object\(\{.*?^  \}\)+)$", re.MULTILINE | re.DOTALL)


def render() -> str:
    """Return the whole document.

    Raises:
        ValueError: for a variable or output without description, which a reader of the table would miss.
    """
    parts = [HEAD]
    for kind in ("modules", "environments"):
        for folder in sorted((TERRAFORM / kind).iterdir()):
            parts.append(f"\n## {kind}/{folder.name}\n")
            parts += _table(folder)
    return "".join(parts)


def _table(folder: Path) -> Iterator[str]:
    blocks = [
        block for path in sorted(folder.glob("*.tf")) for block in _BLOCK.finditer(path.read_text(encoding="utf-8"))
    ]
    inputs = [block for block in blocks if block["kind"] == "variable"]
    yield "\n| input | type | default | |\n|---|---|---|---|\n"
    for block in inputs:
        default = _DEFAULT.search(block["body"])
        shown = f"`{default['text']}`" if default else "**required**"
        yield f"| `{block['name']}` | `{_type(block['body'])}` | {shown} | {_description(folder, block)} |\n"
    outputs = [block for block in blocks if block["kind"] == "output"]
    yield "\n| output | |\n|---|---|\n"
    for block in outputs:
        yield f"| `{block['name']}` | {_description(folder, block)} |\n"


def _type(body: str) -> str:
    found = _OBJECT.search(body)
    if found:
        return re.sub(r"\s+", " ", re.sub(r"(\w)\n", r"\1,\n", found["text"])).replace(", }", " }")
    plain = _TYPE.search(body)
    if plain is None:
        raise ValueError(f"no type in {body!r}")
    return plain["text"]


def _description(folder: Path, block: re.Match[str]) -> str:
    found = _DESCRIPTION.search(block["body"])
    if found is None:
        raise ValueError(f"{folder.name}: {block['name']} has no description")
    return found["text"].replace('\\"', '"').replace("|", "\\|").replace("<", "&lt;")
