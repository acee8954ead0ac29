"""Find a string that some patterns match and others do not, or show that there is none.

The solver leaves it open whether a value that the policy does not spell out matches a wildcard. This module closes the
question for one answer of the solver: it looks for a concrete string, and where it can show that no string exists, the
answer is struck out. The search runs all patterns side by side as small automata.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

SEARCH_MAX_STATES: Final = 20_000
"""Most automaton states looked at for one string: some tenths of a second; beyond it the question stays open."""

STRING_MAX_CHARACTERS: Final = 600
"""Longest string tried: the longest ARN that IAM takes has about this length."""

ARN_PARTS: Final = 6
"""Parts of an ARN, separated by colons; the last one may hold colons itself."""


class Piece(Enum):
    """Name what one place of a pattern stands for, when it is not a plain character."""

    ONE = "?"
    MANY = "*"
    ONE_IN_PART = "? without colon"
    MANY_IN_PART = "* without colon"





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
    def glob(cls, text: str, *, folded: bool = False) -> "Pattern":
        """Read ``*`` and ``?`` as wildcards, everything else as itself."""
        wild = {"*": Piece.MANY, "?": Piece.ONE}
        return cls(tuple(wild.get(c, c) for c in text), folded=folded)

    @classmethod
    def literal(cls, text: str, *, folded: bool = False) -> "Pattern":
        """Read every character as itself."""
        return cls(tuple(text), folded=folded)

    @classmethod
    def arn(cls, text: str) -> "Pattern | None":
        """Read an ARN pattern, whose wildcards stay within their part; None when it has fewer than six parts."""
        parts = text.split(":", ARN_PARTS - 1)
        if len(parts) != ARN_PARTS:
            return None
        pieces: list[str | Piece] = []
        for part in parts[:-1]:
            wild = {"*": Piece.MANY_IN_PART, "?": Piece.ONE_IN_PART}
            pieces += [wild.get(c, c) for c in part]
            pieces.append(":")
        return cls((*pieces, *cls.glob(parts[-1]).pieces))

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

    __slots__ = ("final", "pattern", "start")

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern
        self.final = 1 << len(pattern.pieces)
        self.start = self._close(1)

    def _close(self, state: int) -> int:
        """Add the places behind a ``*``, which may stand for nothing."""
        for i, piece in enumerate(self.pattern.pieces):
            if state >> i & 1 and piece in {Piece.MANY, Piece.MANY_IN_PART}:
                state |= 1 << (i + 1)
        return state

    def step(self, state: int, character: str) -> int:
        """Return the places reached after one more character; 0 when no match is possible any more."""
        after = 0
        for i, piece in enumerate(self.pattern.pieces):
            if not state >> i & 1:
                continue
            if isinstance(piece, str):
                same = piece.lower() == character.lower() if self.pattern.folded else piece == character
                after |= (1 << (i + 1)) if same else 0
            elif piece is Piece.MANY or (piece is Piece.MANY_IN_PART and character != ":"):
                after |= 1 << i
            elif piece is Piece.ONE or (piece is Piece.ONE_IN_PART and character != ":"):
                after |= 1 << (i + 1)
        return self._close(after)

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


def find_string(
    matching: Sequence[Pattern], failing: Sequence[Pattern], alphabet: Alphabet = ANYTHING
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
        for letter in letters:
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
    fresh = next(c for c in "xyzwvqjkXYZWVQJK0123456789_" + "".join(map(chr, range(0x100, 0x10000))) if c not in spelled)
    return [fresh, *sorted(spelled | {":"})]
