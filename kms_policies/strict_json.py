"""JSON for policies: no key twice, no NaN, bounded size and depth, numbers kept as they were written."""

import json
import re
from typing import Any, Final, NoReturn

from pcrgate.errors import ErrorCode, KeyPolicyError

DEPTH_MAX: Final = 8
"""Deepest nesting of objects and lists: a policy needs 6, from the document down to a condition's values."""

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
"""A string, or what is left of the text after a quote that nothing closes: each character is read once."""

_BRACKETS: Final = re.compile(r"[][{}]")
_WHITE_SPACE: Final = re.compile(r"[ \t\r\n]+")


class NumberText(str):
    """Hold a JSON number as it was written."""

    __slots__ = ()


def _refuse_constant(name: str) -> NoReturn:
    raise KeyPolicyError(ErrorCode.POLICY_JSON, f"{name} is not JSON")


def unambiguous(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object of JSON, for ``json.loads`` as its hook.

    Raises:
        KeyPolicyError: ``policy-duplicate-key``.
    """
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise KeyPolicyError(ErrorCode.POLICY_DUPLICATE_KEY, f"{name[:80]!a} is given twice in one object")
        found[name] = value
    return found


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=unambiguous,
    parse_int=NumberText,
    parse_float=NumberText,
    parse_constant=_refuse_constant,
)


def read_text(source: str | bytes, max_bytes: int, what: str) -> tuple[str, bytes]:
    """Return ``source`` as text and as its UTF-8 bytes.

    Raises:
        KeyPolicyError: ``policy-too-large`` beyond ``max_bytes``, ``policy-json`` when it is not UTF-8.
    """
    try:
        data = source.encode() if isinstance(source, str) else bytes(source)
        if len(data) > max_bytes:
            raise KeyPolicyError(
                ErrorCode.POLICY_TOO_LARGE, f"the {what} has {len(data)} bytes, expected at most {max_bytes}"
            )
        text = data.decode()
    except UnicodeError:
        raise KeyPolicyError(ErrorCode.POLICY_JSON, f"the {what} is not UTF-8 text") from None
    if text.startswith("\ufeff"):
        raise KeyPolicyError(
            ErrorCode.POLICY_JSON, f"the {what} begins with a byte order mark, expected UTF-8 text without one"
        )
    return text, data


def without_white_space(text: str) -> str:
    """Return JSON text without its insignificant white space."""
    parts: list[str] = []
    end = 0
    for match in _STRING.finditer(text):
        parts.append(_WHITE_SPACE.sub("", text[end : match.start()]))
        parts.append(match.group())
        end = match.end()
    parts.append(_WHITE_SPACE.sub("", text[end:]))
    return "".join(parts)


def parse_strict(text: str, what: str) -> Any:
    """Return the JSON value of ``text``: dict, list, str, NumberText, bool or None, at most ``DEPTH_MAX`` deep.

    Raises:
        KeyPolicyError: ``policy-json``, ``policy-duplicate-key`` or ``policy-too-large`` (too deep).
    """
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    if deepest > DEPTH_MAX:
        raise KeyPolicyError(
            ErrorCode.POLICY_TOO_LARGE, f"the {what} is nested {deepest} deep, expected at most {DEPTH_MAX}"
        )
    try:
        value = _DECODER.decode(text)
        # A lone surrogate escape decodes, but no reader downstream could write it again.
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        raise KeyPolicyError(ErrorCode.POLICY_JSON, f"the {what} is not JSON") from None
    return value
