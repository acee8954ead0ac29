"""Judge a CloudTrail record by a filter pattern, as CloudWatch Logs does with the forms that our alarms use.

Spec: CloudWatch Logs User Guide, "Filter pattern syntax", for JSON: ``{ (SELECTOR = "TEXT") && (...) || (...) }``, ``*`` in
texts, ``NOT EXISTS``; ``&&`` binds closer than ``||``.
"""

import fnmatch
import re
from collections.abc import Mapping
from typing import Any

_TOKEN = re.compile(r'\s*(&&|\|\||\(|\)|=|NOT EXISTS|\$[\w.\[\]]+|"[^"]*")')
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


def matches(pattern: str, record: Mapping[str, Any]) -> bool:
    """Whether the pattern counts the record."""
    text = pattern.strip()
    assert text[0] == "{"
    assert text[-1] == "}"
    inner = text[1:-1].strip()
    tokens = _TOKEN.findall(inner)
    assert "".join(tokens).replace(" ", "") == inner.replace(" ", ""), "the pattern holds a form that is not read here"
    verdict, rest = _either(tokens, record)
    assert rest == []
    return verdict


def _either(tokens: list[str], record: Mapping[str, Any]) -> tuple[bool, list[str]]:
    verdict, tokens = _both(tokens, record)
    while tokens[:1] == ["||"]:
        other, tokens = _both(tokens[1:], record)
        verdict = verdict or other
    return verdict, tokens


def _both(tokens: list[str], record: Mapping[str, Any]) -> tuple[bool, list[str]]:
    verdict, tokens = _one(tokens, record)
    while tokens[:1] == ["&&"]:
        other, tokens = _one(tokens[1:], record)
        verdict = verdict and other
    return verdict, tokens


def _one(tokens: list[str], record: Mapping[str, Any]) -> tuple[bool, list[str]]:
    if tokens[0] == "(":
        verdict, tokens = _either(tokens[1:], record)
        assert tokens[0] == ")"
        return verdict, tokens[1:]
    value = _select(tokens[0], record)
    if tokens[1] == "NOT EXISTS":
        return value is None, tokens[2:]
    assert tokens[1] == "="
    return isinstance(value, str) and fnmatch.fnmatchcase(value, tokens[2].strip('"')), tokens[3:]


def _select(selector: str, record: Mapping[str, Any]) -> object:
    value: Any = record
    for name, index in _STEP.findall(selector):
        if name:
            value = value.get(name) if isinstance(value, Mapping) else None
        else:
            value = value[int(index)] if isinstance(value, list) and len(value) > int(index) else None
    return value
