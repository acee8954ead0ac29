"""Find a string that some patterns match and others do not, or show that there is none.

The solver leaves it open whether a value that the policy does not spell out matches a wildcard. This module closes the
question for one answer of the solver: it looks for a concrete string, and where it can show that no string exists, the
answer is struck out. The search runs all patterns side by side as small automata.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import chain
from typing import Final

from kms_policies.patterns import ARN_PARTS

SEARCH_MAX_STATES: Final = 20_000
"""Most automaton states looked at for one string: some tenths of a second; beyond it the question stays open."""

STRING_MAX_CHARACTERS: Final = 600
"""Longest string tried: the longest ARN that IAM takes has about this length."""


class Piece(Enum):
    """Name what one place of a pattern stands for, when it is not a plain character."""

    ONE = "?"
    MANY = "*"
    ONE_IN_PART = "? without colon"
    MANY_IN_PART = "* without colon"


_WILD: Final = {"any": Piece.MANY, "one": Piece.ONE}
_WILD_IN_PART: Final = {"any": Piece.MANY_IN_PART, "one": Piece.ONE_IN_PART}
WILD_ATOMS: Final = frozenset(_WILD)
"""What stands for a wildcard among the atoms of a template; every other atom is one character."""

_MANY: Final = frozenset({Piece.MANY, Piece.MANY_IN_PART})
_FRESH_FIRST: Final = "xyzwvqjkXYZWVQJK0123456789_-"


@dataclass(frozen=True, slots=True)
class Pattern:
    """Hold one pattern as a sequence of places.

    Attributes:
        pieces: a character, or the wildcard that stands there.
        folded: whether case is ignored.
    """

    pieces: tuple[str | Piece, ...]
    folded: bool = False

    @classmethod
    def glob(cls, atoms: Iterable[str]) -> "Pattern":
        """Read the atoms of a template: a wildcard reaches over everything."""
        return cls(tuple(_WILD.get(atom, atom) for atom in atoms))

    @classmethod
    def of(cls, text: str) -> "Pattern":
        """Read ``*`` and ``?`` of a text as wildcards, everything else as itself."""
        return cls.glob({"*": "any", "?": "one"}.get(character, character) for character in text)

    @classmethod
    def literal(cls, text: str, *, folded: bool = False) -> "Pattern":
        """Read every character as itself."""
        return cls(tuple(text), folded=folded)

    @classmethod
    def arn(cls, atoms: Iterable[str]) -> "Pattern | None":
        """Read the atoms of an ARN: a wildcard stays within its part; None when there are fewer than six parts."""
        pieces: list[str | Piece] = []
        part = 1
        for atom in atoms:
            part += atom == ":"
            pieces.append((_WILD if part >= ARN_PARTS else _WILD_IN_PART).get(atom, atom))
        return cls(tuple(pieces)) if part >= ARN_PARTS else None

    def matches(self, text: str) -> bool:
        """Whether the whole text matches."""
        machine = _Machine(self)
        state = machine.start
        for character in text:
            state = machine.step(state, character)
        return machine.accepts(state)

    def characters(self) -> set[str]:
        """Return the characters that the pattern spells out, in both cases when case is ignored."""
        plain = {p for p in self.pieces if isinstance(p, str)}
        return plain | {q for p in plain for q in (p.lower(), p.upper()) if len(q) == 1} if self.folded else plain


class _Machine:
    """Run one pattern: a state is the set of places reached, one bit each."""

    __slots__ = ("_advancing", "_free", "_pattern", "_staying", "final", "start")

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._free = sum(1 << i for i, piece in enumerate(pattern.pieces) if piece in _MANY)
        self._advancing: dict[str, int] = {}
        self._staying: dict[str, int] = {}
        self.final = 1 << len(pattern.pieces)
        self.start = self._close(1)

    def _close(self, state: int) -> int:
        """Add the places behind a ``*``, which may stand for nothing."""
        while (after := state | (state & self._free) << 1) != state:
            state = after
        return state

    def _learn(self, character: str) -> None:
        """Note at which places the character leads on, and at which it stays."""
        folded = self._pattern.folded
        advancing = staying = 0
        for i, piece in enumerate(self._pattern.pieces):
            if isinstance(piece, str):
                same = piece.lower() == character.lower() if folded else piece == character
                advancing |= same << i
            elif character != ":" or piece in {Piece.MANY, Piece.ONE}:
                staying |= (piece in _MANY) << i
                advancing |= (piece not in _MANY) << i
        self._advancing[character], self._staying[character] = advancing, staying

    def step(self, state: int, character: str) -> int:
        """Return the places reached after one more character; 0 when no match is possible any more."""
        if character not in self._advancing:
            self._learn(character)
        return self._close((state & self._advancing[character]) << 1 | state & self._staying[character])

    def forced(self, state: int) -> set[str] | None:
        """Return the only characters that lead on; None where a wildcard takes any, or case is ignored."""
        if self._pattern.folded:
            return None
        found: set[str] = set()
        for i, piece in enumerate(self._pattern.pieces):
            if state >> i & 1:
                if not isinstance(piece, str):
                    return None
                found.add(piece)
        return found

    def accepts(self, state: int) -> bool:
        """Whether the whole pattern is matched."""
        return bool(state & self.final)


class Impossible(Enum):
    """Say why no string is returned: there is none, or the search was cut off."""

    NONE = "no string"
    UNKNOWN = "search limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alphabet:
    """Hold what a string may be made of.

    Attributes:
        characters: the only characters allowed, or None for any.
        length: the exact number of characters, or None for any up to the limit.
    """

    characters: str | None = None
    length: int | None = None


ANYTHING: Final = Alphabet()
PCR_HEX: Final = Alphabet(characters="0123456789abcdef", length=96)
"""What KMS puts into an attestation condition key: 48 bytes as lower-case hex. Spec: KMS guide, nitro-enclaves keys."""

ACCOUNT_DIGITS: Final = Alphabet(characters="0123456789", length=12)


@lru_cache(maxsize=4096)
def find_string(
    matching: tuple[Pattern, ...], failing: tuple[Pattern, ...], alphabet: Alphabet = ANYTHING
) -> str | Impossible:
    """Return a string that all of ``matching`` match and none of ``failing`` does.

    A string that differs from all spelled-out characters is tried first, so that the answer reads as invented.

    Returns:
        The string, or ``Impossible.NONE`` when there provably is none, or ``Impossible.UNKNOWN`` past the search limit.
    """
    wanted = [_Machine(p) for p in matching]
    unwanted = [_Machine(p) for p in failing]
    letters = _letters([*matching, *failing], alphabet)
    longest = STRING_MAX_CHARACTERS if alphabet.length is None else alphabet.length
    start = (tuple(m.start for m in wanted), tuple(m.start for m in unwanted))
    waiting: deque[tuple[tuple[tuple[int, ...], tuple[int, ...]], str]] = deque([(start, "")])
    seen: set[tuple[object, int]] = set()
    cut = False
    while waiting:
        # A fixed length is searched depth first, or the breadth would hold every value of the alphabet.
        state, text = waiting.popleft() if alphabet.length is None else waiting.pop()
        ends = alphabet.length is None or len(text) == alphabet.length
        if (
            ends
            and all(m.accepts(s) for m, s in zip(wanted, state[0], strict=True))
            and not any(m.accepts(s) for m, s in zip(unwanted, state[1], strict=True))
        ):
            return text
        if len(text) >= longest:
            cut = cut or alphabet.length is None
            continue
        forced = [only for m, s in zip(wanted, state[0], strict=True) if (only := m.forced(s)) is not None]
        for letter in letters:
            if any(letter not in only for only in forced):
                continue
            stepped = tuple(m.step(s, letter) for m, s in zip(wanted, state[0], strict=True))
            if not all(stepped):
                continue
            following = (stepped, tuple(m.step(s, letter) for m, s in zip(unwanted, state[1], strict=True)))
            mark = (following, len(text) + 1 if alphabet.length is not None else 0)
            if mark in seen:
                continue
            if len(seen) >= SEARCH_MAX_STATES:
                return Impossible.UNKNOWN
            seen.add(mark)
            waiting.append((following, text + letter))
    return Impossible.UNKNOWN if cut else Impossible.NONE


def _letters(patterns: Sequence[Pattern], alphabet: Alphabet) -> list[str]:
    """Return one character for each way that the patterns can tell characters apart."""
    spelled = {c for p in patterns for c in p.characters()}
    if alphabet.characters is not None:
        others = [c for c in alphabet.characters if c not in spelled]
        return [*[c for c in alphabet.characters if c in spelled], *others[:1]]
    fresh = next(c for c in chain(_FRESH_FIRST, map(chr, range(0x100, 0x10000))) if c not in spelled)
    return [fresh, *sorted(spelled | {":"})]
