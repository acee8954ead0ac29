"""Write the question as SMT-LIB 2: truth values and small enumerations, nothing else.

The text written here is what the solver reads, and what is handed out for a second solver: both see the same.

Spec: SMT-LIB Standard 2.6, logic QF_BV.
"""

from collections.abc import Iterable
from typing import Final

TRUE: Final = "true"
FALSE: Final = "false"

NAME_ABOVE_CHARACTERS: Final = 40
"""Formulas longer than this get a name, so that a formula used in many statements is written once."""


def both(parts: Iterable[str]) -> str:
    """Return the conjunction."""
    left = [part for part in dict.fromkeys(parts) if part != TRUE]
    if FALSE in left:
        return FALSE
    return TRUE if not left else left[0] if len(left) == 1 else f"(and {' '.join(left)})"


def either(parts: Iterable[str]) -> str:
    """Return the disjunction."""
    left = [part for part in dict.fromkeys(parts) if part != FALSE]
    if TRUE in left:
        return TRUE
    return FALSE if not left else left[0] if len(left) == 1 else f"(or {' '.join(left)})"


def negate(part: str) -> str:
    """Return the negation."""
    if part in {TRUE, FALSE}:
        return FALSE if part == TRUE else TRUE
    return part[5:-1] if part.startswith("(not ") else f"(not {part})"


class Script:
    """Collect declarations, named formulas and assertions in the order of their use."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._names: dict[str, str] = {}
        self._widths: dict[str, int] = {}
        self._declared: set[str] = set()

    def comment(self, text: str) -> None:
        """Write one line that solvers skip."""
        self._lines.append("; " + text.replace("\n", " "))

    def truth(self, name: str) -> str:
        """Declare a truth value once and return its name."""
        if name not in self._declared:
            self._declared.add(name)
            self._lines.append(f"(declare-const {name} Bool)")
        return name

    def choice(self, name: str, count: int) -> None:
        """Declare an enumeration of ``count`` members, numbered from 0."""
        width = max(1, (count - 1).bit_length())
        self._widths[name] = width
        self._lines.append(f"(declare-const {name} (_ BitVec {width}))")
        if count < 1 << width:
            self.require(f"(bvult {name} {self._number(count, width)})")

    def is_one_of(self, name: str, members: Iterable[int], count: int) -> str:
        """Return that an enumeration takes one of the given members, of ``count``."""
        chosen = sorted(set(members))
        if len(chosen) == count:
            return TRUE
        width = self._widths[name]
        if 2 * len(chosen) > count:
            others = sorted(set(range(count)) - set(chosen))
            return self.named(negate(either(f"(= {name} {self._number(i, width)})" for i in others)))
        return self.named(either(f"(= {name} {self._number(i, width)})" for i in chosen))

    def equals(self, name: str, member: int) -> str:
        """Return that an enumeration takes one member, in names that are declared, not defined."""
        return f"(= {name} {self._number(member, self._widths[name])})"

    @staticmethod
    def _number(number: int, width: int) -> str:
        return f"#b{number:0{width}b}"

    def named(self, formula: str) -> str:
        """Return a name for a long formula; the same formula gets the same name."""
        if len(formula) <= NAME_ABOVE_CHARACTERS:
            return formula
        if formula not in self._names:
            name = f"f{len(self._names)}"
            self._names[formula] = name
            self._lines.append(f"(define-fun {name} () Bool {formula})")
        return self._names[formula]

    def define(self, name: str, formula: str) -> str:
        """Declare a truth value that stands for a formula, so that the solver can be asked about it by name."""
        self.require(f"(= {self.truth(name)} {formula})")
        return name

    def require(self, formula: str) -> None:
        """Assert a formula."""
        if formula != TRUE:
            self._lines.append(f"(assert {formula})")

    def text(self) -> str:
        """Return everything written so far."""
        return "\n".join(self._lines) + "\n"
