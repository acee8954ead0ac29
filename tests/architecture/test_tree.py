"""The tree's own rules: no assert, no bare except, rooms of a size, no name of a machine, one door with few handles."""

import ast
import re

from pcrgate.errors import ErrorCode
from tests.architecture.sources import ROOT, modules, tracked

MAX_LINES = 350
"""A file longer than this holds more than its name says."""

LONG_FILES = {
    "pcrgate/errors.py": "one family in one file: the table grows with every part, and must not be split",
}
"""Files that may be longer, each with the reason."""

MAX_VERBS = 12


def test_no_assert_and_no_bare_except_outside_tests() -> None:
    found = [
        f"{source.path}:{node.lineno}"
        for source in modules()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Assert) or (isinstance(node, ast.ExceptHandler) and node.type is None)
    ]
    assert found == []


def test_files_have_a_size() -> None:
    long = {s.path: s.text.count("\n") for s in modules() if s.text.count("\n") > MAX_LINES}
    assert {path: lines for path, lines in long.items() if path not in LONG_FILES} == {}


def test_file_names_say_what_they_hold() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "core", "models", "manager", "base", "misc"}
    assert [s.path for s in modules() if s.name.rpartition(".")[2] in vague] == []


def test_no_machine_path_or_registry_host_in_any_tracked_file() -> None:
    # Written in pieces, so that this file does not find itself.
    pattern = re.compile(
        "|".join(("/wo" + r"rk/", "/ro" + r"ot/", "/ho" + r"me/\w+/", r"pypi\.o" + "rg", "pythonho" + "sted",
                  r"npmjs\.(?:org|com)", r"deb\.deb" + "ian"))
    )  # fmt: skip
    found = []
    for name in tracked():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {match.group()}" for match in pattern.finditer(text)]
    assert found == []


def test_the_door_has_few_handles() -> None:
    text = (ROOT / "Makefile").read_text()
    verbs = re.findall(r"^([a-z][a-z-]*):(?!=)", text, flags=re.MULTILINE)
    phony = re.findall(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)
    assert verbs
    assert len(verbs) <= MAX_VERBS
    assert sorted(phony[0].split()) == sorted(verbs)


def test_every_verb_is_told_without_make() -> None:
    told = (ROOT / "CONTRIBUTING.md").read_text()
    verbs = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert [verb for verb in verbs if f"| `{verb}` |" not in told] == []


def test_every_error_code_is_raised_somewhere() -> None:
    used = {
        node.attr
        for source in modules()
        if source.name != "pcrgate.errors"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ErrorCode"
    }
    unused = {member.name for member in ErrorCode} - used
    assert unused == set()


def test_codes_are_unique_words_joined_by_hyphens() -> None:
    codes = [member.code for member in ErrorCode]
    assert len(set(codes)) == len(codes) == len(ErrorCode.__members__)
    assert [code for code in codes if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)] == []
    told = [m.name for m in ErrorCode if not m.meaning.endswith(".") or not m.advice.endswith(".")]
    assert told == []
