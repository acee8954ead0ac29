"""Search one encoding: a verdict for each tier, a counterexample for each way that leaks, and who is trusted.

Spec: IAM User Guide, "Policy evaluation logic".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from kms_policies.operations import PREFIX
from kms_policies.prover_callers import Caller
from kms_policies.prover_counterexample import Concrete, Concretizer, Spurious
from kms_policies.prover_encoding import Encoding, Way
from kms_policies.prover_holes import name_hole
from kms_policies.prover_proof import Counterexample, Minter, TrustAnchor, Verdict
from kms_policies.prover_question import LEAKS_MAX
from kms_policies.prover_script import both, negate
from kms_policies.prover_solver import Answer, Solver
from kms_policies.prover_tiers import Tier
from kms_policies.request import Grant

SPURIOUS_MAX: Final = 200
"""Most solutions struck out as impossible for one tier; past it the next one is reported although unconfirmed."""

ALIKE_MAX: Final = 20
"""Most principals listed beside a counterexample: enough to see the pattern."""

_OPTIONAL: Final = ("enclave", "nitrotpm")


def describe(caller: Caller) -> str:
    """Return how messages name a caller; an unnamed one by what it stands for."""
    principal = caller.principal
    if not caller.unnamed:
        return principal.role_arn or str(principal)
    whose = "any account that no policy names" if caller.stranger else f"account {principal.account}"
    return f"any other {principal.kind.value}" + (f" of {whose}" if principal.account else "")


@dataclass(slots=True)
class Search:
    """Search one encoding.

    Attributes:
        encoding: the script with the meaning of its names.
        solver: the solver that holds it.
        found: counterexamples so far.
        incomplete: whether the limit cut the search off.
        unknown: the solver's own words when it gave up.
        approximations: where more was let through than may be real.
        struck: what no text can fulfil, negated, as formulas.
    """

    encoding: Encoding
    solver: Solver
    found: list[Counterexample] = field(default_factory=list)
    incomplete: bool = False
    unknown: str = ""
    approximations: dict[str, None] = field(default_factory=dict)
    struck: list[str] = field(default_factory=list)

    def verdict(self, tier: Tier) -> Verdict:
        """Decide one tier and collect its counterexamples."""
        answer = self._check([tier.value])
        if answer is Answer.SAT:
            before = len(self.found)
            clean = True
            for way in self.encoding.ways:
                clean = self._explore(tier, way) and clean
            if len(self.found) == before:
                # Every solution was struck out as impossible; the solver must now agree that none is left.
                answer = self._check([tier.value]) if clean else Answer.UNKNOWN
            elif not clean:
                self.incomplete = True
        if answer is Answer.UNSAT:
            return Verdict.PROVEN
        return Verdict.UNKNOWN if answer is Answer.UNKNOWN else Verdict.COUNTEREXAMPLE

    def _check(self, names: Iterable[str], *, absent: Iterable[str] = ()) -> Answer:
        answer = self.solver.check(names, absent=absent)
        if answer is Answer.UNKNOWN:
            self.unknown = self.unknown or self.solver.reason or "no reason given"
        return answer

    def _explore(self, tier: Tier, way: Way) -> bool:
        """Collect one counterexample for each group of actions that a way lets through; whether it came to an end."""
        script, concretizer = self.encoding.script, Concretizer(self.encoding)
        actions = self.encoding.universe.tiers.by_tier[tier]
        struck = len(self.struck)
        self.solver.narrow()
        try:
            while True:
                names = [tier.value, way.name]
                answer = self._check(names)
                if answer is not Answer.SAT:
                    return answer is Answer.UNSAT
                if len(self.found) >= LEAKS_MAX:
                    return False
                solution = self._plainest(names)
                made = concretizer.request(solution, actions)
                if isinstance(made, Spurious) and len(self.struck) - struck < SPURIOUS_MAX:
                    self.struck.append(negate(made.formula))
                    self.solver.require(self.struck[-1])
                    continue
                if isinstance(made, Spurious):
                    self.approximations["a wildcard was left to the solver after too many attempts to fulfil it"] = None
                    return False
                self._add(tier, way, solution, made, concretizer)
                done = script.equals("act", solution.get("act", 0))
                self.solver.require(negate(done))
        finally:
            self.solver.widen()
            for known in self.struck[struck:]:
                self.solver.require(known)

    def _plainest(self, names: list[str]) -> Mapping[str, int]:
        """Return a solution that carries no key which could as well be missing."""
        solution = self.solver.solution()
        absent: list[str] = []
        for name in self._optional():
            if not solution.get(name) or self.solver.check(names, absent=[*absent, name]) is Answer.SAT:
                absent.append(name)
                if solution.get(name):
                    solution = self.solver.solution()
        return solution

    def _optional(self) -> list[str]:
        found = list(_OPTIONAL)
        for slot in self.encoding.keys.slots.values():
            found += [name for name, _, _ in slot.members]
            if not slot.members and slot.present not in _OPTIONAL:
                found.append(slot.present)
        return found

    def _add(self, tier: Tier, way: Way, solution: Mapping[str, int], made: Concrete, concretizer: Concretizer) -> None:
        encoding = self.encoding
        described = encoding.callers[solution.get("who", 0)]
        replayed = concretizer.replay(made.request, described)
        note = "; ".join(made.notes)
        if not replayed:
            note = note or "the evaluator refuses this request: the policy uses what the prover over-approximates"
            self.approximations[note] = None
        source, label, index = _where(way, encoding.universe.grants)
        group = encoding.actions[solution.get("act", 0)]
        wanted = encoding.universe.tiers.by_tier[tier]
        self.found.append(
            Counterexample(
                tier=tier,
                hole=name_hole(encoding.universe, tier, way, made.request),
                request=made.request,
                source=source,
                statement=label,
                statement_index=index,
                via=way.via.value,
                actions_alike=tuple(a for a in group if a in wanted and a != made.request.action),
                principals_alike=tuple(map(describe, described.members[1 : ALIKE_MAX + 1])),
                replayed=replayed,
                note=note,
            )
        )

    def trust_anchors(self) -> tuple[TrustAnchor, ...]:
        """Return who may change the policy or hand the key on, declared as an administrator or not."""
        found = []
        for place, (ways, actions) in self._holders(Tier.ESCALATION, raw=True).items():
            described = self.encoding.callers[place]
            declared = described.declared or (described.delegated and all(way.via.name == "ACCOUNT" for way in ways))
            found.append(
                TrustAnchor(
                    principal=self._names(place), actions=actions, declared=declared, statement=self._labels(ways)
                )
            )
        return tuple(found)

    def minters(self) -> tuple[Minter, ...]:
        """Return who can make new ciphertexts under the key."""
        return tuple(
            Minter(principal=self._names(place), actions=actions, statement=self._labels(ways))
            for place, (ways, actions) in self._holders(Tier.MINTING, raw=False).items()
        )

    def _names(self, place: int) -> str:
        members = self.encoding.callers[place].members
        listed = ", ".join(map(describe, members[:ALIKE_MAX]))
        return listed if len(members) <= ALIKE_MAX else f"{listed} and {len(members) - ALIKE_MAX} more"

    def _labels(self, ways: list[Way]) -> str:
        return ", ".join(dict.fromkeys(_where(way, self.encoding.universe.grants)[1] for way in ways))

    def _holders(self, tier: Tier, *, raw: bool) -> dict[int, tuple[list[Way], tuple[str, ...]]]:
        """Return the callers that may do something of a tier, by place, with the ways and the actions."""
        script = self.encoding.script
        name = f"{tier.value}_by_anyone" if raw else tier.value
        wanted = self.encoding.universe.tiers.by_tier[tier]
        found: dict[int, tuple[list[Way], tuple[str, ...]]] = {}
        self.solver.narrow()
        try:
            while self._check([name]) is Answer.SAT and len(found) < LEAKS_MAX:
                solution = self.solver.solution()
                who, act = solution.get("who", 0), solution.get("act", 0)
                ways = [way for way in self.encoding.ways if solution.get(way.name)]
                known_ways, known = found.get(who, ([], ()))
                group = tuple(a.removeprefix(PREFIX) for a in self.encoding.actions[act] if a in wanted)
                found[who] = ([*known_ways, *(way for way in ways if way not in known_ways)], (*known, *group))
                done = both([script.equals("who", who), script.equals("act", act)])
                self.solver.require(negate(done))
        finally:
            self.solver.widen()
        return found


def _where(way: Way, grants: Sequence[Grant]) -> tuple[str, str, int]:
    if way.statement is not None:
        statement = way.statement.compiled.statement
        return way.statement.source, statement.label, statement.index
    place = next((i for i, grant in enumerate(grants) if grant is way.grant), 0)
    label = f"grant {place}" + (f" ({way.grant.grant_id})" if way.grant is not None and way.grant.grant_id else "")
    return "grant", label, place
