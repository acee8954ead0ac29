"""Render ``docs/errors.md`` from the error family."""

from pcrgate.errors import Category, ErrorCode

HEAD = """# Error codes

Generated from `pcrgate/errors.py` by `make docs`; `make check` fails when the two differ.

Every refusal has one code, and it is the same string wherever it appears: `error.code.code` in Python, the first line
of stderr (`refused: CODE: MESSAGE`), `code` in `--json`, `expect` in a test vector, the `type` of a REST problem, the
log. Codes are stable: one may be added, none changes its meaning. The category names the step that refused.

The command line exits with 2 for category `usage` and with 1 for every other.
"""


def render() -> str:
    """Return the whole document."""
    parts = [HEAD]
    for category in Category:
        members = [member for member in ErrorCode if member.category is category]
        if not members:
            continue
        parts.append(f"\n## {category.value}\n\n| code | what was found | what to do |\n|---|---|---|\n")
        parts += [f"| `{m.code}` | {_cell(m.meaning)} | {_cell(m.advice)} |\n" for m in members]
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
