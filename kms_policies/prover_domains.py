"""The values a condition key can take, reduced to what the policies can tell apart.

Every text that a policy compares with is a value of its own, and one further value stands for all other texts. Values
that all comparisons treat alike fall together, so four hundred approved measurements in twenty statements become a
handful of cases. What a wildcard makes of the further value stays open for the solver.

Spec: IAM User Guide, "Single-valued vs. multivalued context keys".
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from kms_policies.operators import ValueType
from kms_policies.prover_comparisons import Comparison, Match
from kms_policies.prover_witness import ANYTHING, PCR_HEX, Alphabet, Impossible, Pattern, find_string

ATTESTATION_PREFIX: Final = "kms:recipientattestation:"
"""What every attestation condition key starts with, lower case."""

MANY_VALUED: Final = frozenset(
    {
        "aws:calledvia",
        "aws:principalorgpaths",
        "aws:principalservicenameslist",
        "aws:resourceorgpaths",
        "aws:sourceorgpaths",
        "aws:tagkeys",
        "kms:encryptioncontextkeys",
        "kms:grantoperations",
        "kms:resourcealiases",
    }
)
"""Condition keys that hold several values at once, lower case. Spec: IAM and KMS lists of condition keys."""

ARN_SHAPE: Final = Pattern.of("*:*:*:*:*:*")
"""What a text must look like for an ARN operator to compare it."""

OTHER_TEXT: Final = "a-value-in-no-policy"
OTHER_PCR: Final = "9e" * 48

Mark = Callable[[str], frozenset[str]]
"""Returns what a concrete value means beyond the comparisons, for example that it is approved."""


@dataclass(frozen=True, slots=True)
class Open:
    """Hold what a value leaves open.

    Attributes:
        patterns: patterns by their place in the key's list; it matches when any of them does.
        shape: the pattern of all texts that can be compared at all, by its place; None when every text can.
        never_differs: whether it can match but never surely differ.
        free: whether the solver may choose freely, without a pattern behind it.
    """

    patterns: tuple[int, ...] = ()
    shape: int | None = None
    never_differs: bool = False
    free: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """Hold one value of a key, standing for all that the policies treat alike.

    Attributes:
        text: a member of it; for an abstract value a suggestion.
        abstract: whether it stands for texts that no policy spells out.
        fold: for texts that differ from a literal only in case: the literal, lower case.
        answers: how it compares, for each comparison of the key, or what that depends on.
        marks: what the value means beyond the comparisons.
    """

    text: str
    abstract: bool = False
    fold: str | None = None
    answers: tuple[Match | Open, ...] = ()
    marks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Hold all that the policies can tell apart about one key.

    Attributes:
        key: lower case.
        many: whether it holds several values at once.
        comparisons: everything it is compared with.
        patterns: every wildcard pattern among them.
        values: what it can take; the abstract ones last.
        literals: every text that a policy spells out for it.
    """

    key: str
    many: bool
    comparisons: tuple[Comparison, ...]
    patterns: tuple[Pattern, ...]
    values: tuple[Value, ...]
    literals: frozenset[str]

    @property
    def alphabet(self) -> Alphabet:
        """What its texts are made of."""
        return alphabet_of(self.key)


def alphabet_of(key: str) -> Alphabet:
    """Return what the texts of a key are made of: lower-case hex of 48 bytes for a PCR."""
    return PCR_HEX if is_measurement(key) else ANYTHING


def is_measurement(key: str) -> bool:
    """Whether KMS fills the key, given in lower case, from an attestation document."""
    name = key.removeprefix(ATTESTATION_PREFIX)
    if name == key:
        return False
    for prefix, count in (("nitrotpmpcr", 24), ("pcr", 32)):
        index = name.removeprefix(prefix)
        if index != name:
            return index.isascii() and index.isdigit() and str(int(index)) == index and int(index) < count
    return name == "imagesha384"


def build_domain(
    key: str, comparisons: Iterable[Comparison], *, many: bool, further: Iterable[str], mark: Mark
) -> Domain:
    """Return the domain of a key.

    Args:
        key: lower case.
        comparisons: everything the policies compare it with.
        many: whether it holds several values at once.
        further: texts that mean something beyond the comparisons.
        mark: says what.
    """
    wanted = tuple(dict.fromkeys(comparisons))
    alphabet = alphabet_of(key)
    shapes = [ARN_SHAPE for comparison in wanted if comparison.value_type is ValueType.ARN]
    patterns = tuple(dict.fromkeys([*(pattern for comparison in wanted for pattern in comparison.patterns), *shapes]))
    literals = {text for comparison in wanted for text in comparison.literals()} | set(further)
    if alphabet is PCR_HEX:
        # KMS writes lower-case hex, so a measurement given in another case is the same measurement.
        literals = {text.lower() for text in literals if _is_pcr(text.lower())}
    settled = {p: answer for p in patterns if p != ARN_SHAPE and (answer := _settled(p, alphabet)) is not None}
    typed = {comparison.value_type for comparison in wanted if comparison.is_typed}
    pure = len(typed) == 1 and all(c.is_typed and c.has_all_neighbours for c in wanted)
    found: dict[tuple[tuple[Match | Open, ...], frozenset[str]], Value] = {}

    def add(value: Value) -> None:
        found.setdefault((value.answers, value.marks), value)

    for text in sorted(literals):
        add(Value(text=text, answers=tuple(c.answer(text) for c in wanted), marks=mark(text)))

    def open_answer(comparison: Comparison, *, folded: str | None) -> Match | Open:
        if comparison.is_typed:
            return Match.NEITHER if pure else Open(free=True)
        if (folded is not None and folded in comparison.folded) or any(map(settled.get, comparison.patterns)):
            return Match.YES
        left = tuple(patterns.index(pattern) for pattern in comparison.patterns if pattern not in settled)
        shape = patterns.index(ARN_SHAPE) if comparison.value_type is ValueType.ARN else None
        if not left and shape is None:
            return Match.NO
        return Open(patterns=left, shape=shape, never_differs=comparison.never_differs)

    folds = {text for comparison in wanted for text in comparison.folded} if alphabet is not PCR_HEX else set()
    if any(comparison.exact or comparison.patterns for comparison in wanted):
        for fold in sorted(folds):
            answers = tuple(open_answer(comparison, folded=fold) for comparison in wanted)
            if (variant := _variant(fold, literals)) is not None:
                add(Value(text=variant, abstract=True, fold=fold, answers=answers))
    answers = tuple(open_answer(comparison, folded=None) for comparison in wanted)
    add(Value(text=_other(key, literals), abstract=True, answers=answers))
    values = sorted(found.values(), key=lambda value: value.abstract)
    return Domain(
        key=key, many=many, comparisons=wanted, patterns=patterns, values=tuple(values), literals=frozenset(literals)
    )


def _is_pcr(text: str) -> bool:
    return len(text) == PCR_HEX.length and set(text) <= set("0123456789abcdef")


@lru_cache(maxsize=1024)
def _settled(pattern: Pattern, alphabet: Alphabet) -> bool | None:
    """Return whether a pattern matches every text, or none; None when it depends."""
    if find_string((), (pattern,), alphabet) is Impossible.NONE:
        return True
    return False if find_string((pattern,), (), alphabet) is Impossible.NONE else None


def _variant(fold: str, literals: set[str]) -> str | None:
    """Return a text that differs from every literal and from ``fold`` only in case; None when all are literals."""
    found = find_string(
        (Pattern.literal(fold, folded=True),), tuple(Pattern.literal(t) for t in literals if t.lower() == fold)
    )
    return found if isinstance(found, str) else None if found is Impossible.NONE else fold.swapcase()


def _other(key: str, literals: set[str]) -> str:
    """Return a text that no policy spells out."""
    if alphabet_of(key) is PCR_HEX:
        return next(
            text for text in (OTHER_PCR, *(f"{i:096x}" for i in range(1, len(literals) + 2))) if text not in literals
        )
    text = OTHER_TEXT
    while any(text.lower() == literal.lower() for literal in literals):
        text += "-x"
    return text
