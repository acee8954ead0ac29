"""Patterns of the policy language: wildcards, ARNs in six parts, and policy variables.

A star is matched without backtracking (each piece at its first possible place, the last at the end), so a hostile
policy cannot make a match slow.

Spec: IAM User Guide, "IAM JSON policy elements: Resource", "IAM policy elements: Variables and tags", "ARN condition
operators".
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

Context: TypeAlias = Mapping[str, str | tuple[str, ...]]
"""Condition keys in lower case and their values; a tuple makes a key multi-valued."""

ARN_PARTS: Final = 6
"""Parts of an ARN between colons; the last may hold colons of its own."""

_CACHED_PATTERNS: Final = 8192
"""Compiled patterns kept: a few dozen policies of full size."""

_ANY: Final = "any"
_ONE: Final = "one"
_WILDCARDS: Final = {"*": _ANY, "?": _ONE}
_VARIABLE: Final = re.compile(r"\$\{([^{}]*)\}")
_WITH_DEFAULT: Final = re.compile(r"([^,]*),\s*'([^']*)'\s*")
_ESCAPES: Final = frozenset({"*", "?", "$"})

Atoms: TypeAlias = tuple[str, ...]
"""A pattern piece by piece: one character each, or one of the two words above for a wildcard."""


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    default: str | None


@dataclass(frozen=True, slots=True)
class Template:
    """Hold a policy value or resource with its variables set apart.

    Attributes:
        parts: text with wildcards, literal text (a one-element tuple), or a variable.
    """

    parts: tuple[str | tuple[str] | _Variable, ...]

    @property
    def is_fixed(self) -> bool:
        """Whether it holds no variable."""
        return not any(isinstance(part, _Variable) for part in self.parts)

    def text(self, context: Context) -> str | None:
        """Return it as plain text with variables replaced, or ``None`` when one has no single value."""
        out: list[str] = []
        for part in self.parts:
            if isinstance(part, _Variable):
                value = _resolve(part, context)
                if value is None:
                    return None
                out.append(value)
            else:
                out.append(part if isinstance(part, str) else part[0])
        return "".join(out)

    def atoms(self, context: Context) -> Atoms | None:
        """Return it as atoms with variables replaced; what a variable brings is never a wildcard."""
        out: list[str] = []
        for part in self.parts:
            if isinstance(part, _Variable):
                value = _resolve(part, context)
                if value is None:
                    return None
                out.extend(value)
            elif isinstance(part, str):
                out.extend(_WILDCARDS.get(character, character) for character in part)
            else:
                out.extend(part[0])
        return tuple(out)


def _resolve(variable: _Variable, context: Context) -> str | None:
    value = context.get(variable.name)
    return value if isinstance(value, str) else variable.default


@lru_cache(maxsize=_CACHED_PATTERNS)
def parse_template(text: str, *, variables: bool) -> Template:
    """Set the variables of a policy value apart.

    Args:
        text: the value or resource as written.
        variables: whether the policy's version knows variables; without, ``${...}`` is plain text.
    """
    if not variables or "${" not in text:
        return Template((text,))
    parts: list[str | tuple[str] | _Variable] = []
    end = 0
    for match in _VARIABLE.finditer(text):
        if match.start() > end:
            parts.append(text[end : match.start()])
        end = match.end()
        inner = match.group(1)
        with_default = _WITH_DEFAULT.fullmatch(inner)
        if inner in _ESCAPES:
            parts.append((inner,))
        elif with_default is not None:
            parts.append(_Variable(with_default.group(1).strip().lower(), with_default.group(2)))
        else:
            parts.append(_Variable(inner.strip().lower(), None))
    if end < len(text):
        parts.append(text[end:])
    return Template(tuple(parts))


def _source(atoms: Iterable[str]) -> str:
    pieces: list[str] = [""]
    for atom in atoms:
        if atom == _ANY:
            pieces.append("")
        else:
            pieces[-1] += "." if atom == _ONE else re.escape(atom)
    if len(pieces) == 1:
        return pieces[0]
    middle = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1] if piece)
    return f"{pieces[0]}{middle}.*{pieces[-1]}"


@lru_cache(maxsize=_CACHED_PATTERNS)
def _compile(atoms: Atoms) -> re.Pattern[str]:
    return re.compile(_source(atoms), re.DOTALL)


@lru_cache(maxsize=_CACHED_PATTERNS)
def _compile_arn(atoms: Atoms) -> tuple[re.Pattern[str], ...] | None:
    parts: list[list[str]] = [[]]
    for atom in atoms:
        if atom == ":" and len(parts) < ARN_PARTS:
            parts.append([])
        else:
            parts[-1].append(atom)
    return tuple(_compile(tuple(part)) for part in parts) if len(parts) == ARN_PARTS else None


def match_glob(atoms: Atoms, value: str) -> bool:
    """Tell whether ``value`` as a whole fits the pattern, upper and lower case apart."""
    return _compile(atoms).fullmatch(value) is not None


def match_arn(atoms: Atoms, value: str) -> bool | None:
    """Tell whether each of the six parts of ``value`` fits that part of the pattern; ``None`` unless both have six."""
    compiled = _compile_arn(atoms)
    parts = value.split(":", ARN_PARTS - 1)
    if compiled is None or len(parts) != ARN_PARTS:
        return None
    return all(pattern.fullmatch(part) for pattern, part in zip(compiled, parts, strict=True))


@lru_cache(maxsize=_CACHED_PATTERNS)
def action_pattern(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Compile action patterns into one that is matched in full against a lower-case action."""
    sources = (_source(_WILDCARDS.get(character, character) for character in text.lower()) for text in patterns)
    return re.compile("|".join(f"(?:{source})" for source in sources), re.DOTALL)
