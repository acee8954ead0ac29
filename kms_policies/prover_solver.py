"""Ask z3: one context for each question, so that questions may be asked from several threads.

Spec: SMT-LIB Standard 2.6; Z3 Guide, finite domains.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

import z3

FINITE_DOMAINS: Final = "QF_FD"
"""The solver for truth values and small enumerations: a tenth of the general solver's time, the same answers."""


class Answer(Enum):
    """Name what the solver found out."""

    SAT = "sat"
    UNSAT = "unsat"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverStatistics:
    """Hold what the proof took.

    Attributes:
        checks: questions put to the solver.
        solver_ms: time within the solver, milliseconds.
        total_ms: time for the whole proof, milliseconds.
        script_bytes: length of the SMT-LIB text.
        callers: principals told apart.
        actions: groups of actions told apart.
        keys: condition keys.
        version: the solver's version.
    """

    checks: int
    solver_ms: float
    total_ms: float
    script_bytes: int
    callers: int
    actions: int
    keys: int
    version: str


class Solver:
    """Hold one script in the solver."""

    def __init__(self, script: str, *, timeout_ms: int, steps: int) -> None:
        started = time.perf_counter()
        self._context = z3.Context()
        self._solver = z3.SolverFor(FINITE_DOMAINS, ctx=self._context)
        self._solver.set("timeout", timeout_ms)
        if steps:
            self._solver.set("rlimit", steps)
        self._solver.from_string(script)
        self.checks = 0
        self.reason = ""
        self.seconds = time.perf_counter() - started

    def check(self, names: Iterable[str] = (), *, absent: Iterable[str] = ()) -> Answer:
        """Ask whether there is a solution in which the named truth values hold and the absent ones do not."""
        started = time.perf_counter()
        wanted = [z3.Bool(name, self._context) for name in names]
        wanted += [z3.Not(z3.Bool(name, self._context)) for name in absent]
        found = self._solver.check(*wanted)
        self.checks += 1
        self.seconds += time.perf_counter() - started
        if found == z3.sat:
            return Answer.SAT
        if found == z3.unsat:
            return Answer.UNSAT
        self.reason = str(self._solver.reason_unknown())
        return Answer.UNKNOWN

    def solution(self) -> Mapping[str, int]:
        """Return the last solution: numbers of enumerations, 0 or 1 for truth values; what it leaves open is 0."""
        model = self._solver.model()
        return {
            declared.name(): value.as_long() if z3.is_bv_value(value) else int(z3.is_true(value))
            for declared in model.decls()
            if (value := model[declared]) is not None
        }

    def narrow(self) -> None:
        """Keep what is required from here on only until ``widen``."""
        self._solver.push()

    def widen(self) -> None:
        """Take back everything required since the last ``narrow``."""
        self._solver.pop()

    def require(self, formula: str) -> None:
        """Add an assertion over names that the script declares."""
        self._solver.from_string(f"(assert {formula})")
