"""Write the whole question: who asks for what is allowed, and is that what must not be.

The formula says: no Deny matches, some Allow or grant does, and the request is of the kind a tier is about. A solution
is a request that should not get through; no solution is the proof.

Spec: IAM User Guide, "Policy evaluation logic"; KMS Developer Guide, "Key policies", "Grants in AWS KMS".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Final

from kms_policies.matching import Reach
from kms_policies.operations import OPERATIONS
from kms_policies.prover_callers import DERIVED_KEYS
from kms_policies.prover_comparisons import Comparison, Match
from kms_policies.prover_domains import ATTESTATION_PREFIX, MANY_VALUED, Domain, build_domain
from kms_policies.prover_keys import NITROTPM_PREFIX, PCR0, KeyWriter, canonical
from kms_policies.prover_question import ANY_PRINCIPAL, ApprovedMeasurements
from kms_policies.prover_script import FALSE, TRUE, Script, both, either, negate
from kms_policies.prover_tiers import LEAKING_GRANT_OPERATIONS, Tier
from kms_policies.prover_universe import CONTEXT_PREFIX, Sourced, Universe, grant_pairs, group_actions
from kms_policies.request import Grant

APPROVED: Final = "approved"
LEAKING: Final = "leaking"
BY_ANYONE: Final = f"{Tier.ESCALATION.value}_by_anyone"
"""Name of the escalation tier with declared administrators counted in."""

GRANT_OPERATIONS: Final = "kms:grantoperations"
_CONTEXT_ACTIONS: Final = frozenset(
    action for operation in OPERATIONS.values() if operation.takes_encryption_context for action in operation.actions
)


class Via(Enum):
    """Name how an Allow lets a caller through."""

    DIRECT = "named by the key policy"
    ACCOUNT = "account named by the key policy, then IAM"
    GRANT = "grant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Hold one way to be allowed.

    Attributes:
        name: its name in the script.
        via: how it lets a caller through.
        statement: the Allow of the key policy, or ``None``.
        grant: the grant, or ``None``.
    """

    name: str
    via: Via
    statement: Sourced | None = None
    grant: Grant | None = None


class Encoding:
    """Hold the script with the meaning of its names.

    Attributes:
        universe: everything the question speaks of.
        script: the text so far.
        callers: what ``who`` counts.
        actions: what ``act`` counts, each a group of actions.
        ways: every way to be allowed.
    """

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        self.script = Script()
        self.callers = universe.callers
        self.actions = group_actions(universe, universe.statements)
        self.keys = KeyWriter(script=self.script, domains=self.domains, callers=self.callers)
        self.ways: list[Way] = []
        self._write()

    @cached_property
    def domains(self) -> dict[str, Domain]:
        """What every condition key can take, by canonical name; keys filled from the caller are left out."""
        approved = self.universe.question.approved
        compared: dict[str, list[Comparison]] = {PCR0: []}
        for key, comparisons in self.universe.comparisons.items():
            if key not in DERIVED_KEYS:
                compared.setdefault(canonical(key), []).extend(comparisons)
        for key in _approved_values(approved):
            compared.setdefault(key, [])
        sets = {
            condition.folded_key
            for one in self.universe.statements
            for condition in one.compiled.statement.conditions
            if condition.set_operator is not None
        }
        values = _approved_values(approved)
        found = {}
        for key, comparisons in compared.items():
            single = key.startswith((ATTESTATION_PREFIX, CONTEXT_PREFIX))
            marks = values.get(key, {})
            further: Iterable[str] = marks
            if key == GRANT_OPERATIONS:
                marks = dict.fromkeys(LEAKING_GRANT_OPERATIONS, frozenset({LEAKING}))
                further = LEAKING_GRANT_OPERATIONS
            found[key] = build_domain(
                key,
                comparisons,
                many=not single and (key in MANY_VALUED or key in sets),
                further=further,
                mark=lambda text, marks=marks: marks.get(text, frozenset()),  # type: ignore[misc]
            )
        return found

    def _write(self) -> None:
        script = self.script
        script.choice("who", len(self.callers))
        script.choice("act", len(self.actions))
        script.truth("enclave")
        script.truth("nitrotpm")
        script.require("(not (and enclave nitrotpm))")
        script.require(f"(=> (or enclave nitrotpm) {self.acts(self.universe.tiers.attestable)})")
        denied = either([*self._key_denies(), *self._identity_denies()])
        script.define("denied", denied)
        self._write_ways()
        direct = [way.name for way in self.ways if way.via is not Via.ACCOUNT]
        account = [way.name for way in self.ways if way.via is Via.ACCOUNT]
        script.define("directly", either(direct))
        script.define("delegated", either(account))
        script.require("(not denied)")
        script.require("(or directly delegated)")
        self._write_tiers()

    def acts(self, actions: Iterable[str]) -> str:
        """Return that the action is one of those given."""
        wanted = set(actions)
        chosen = (i for i, group in enumerate(self.actions) if not wanted.isdisjoint(group))
        return self.script.is_one_of("act", chosen, len(self.actions))

    def whos(self, chosen: Iterable[int]) -> str:
        """Return that the caller is one of those given by place."""
        return self.script.is_one_of("who", chosen, len(self.callers))

    def _covered(self, one: Sourced) -> str:
        """Return that action, resource and conditions are a statement's."""
        covered = (group[0] for group in self.actions if self.universe.is_covered(one, group[0]))
        conditions = one.compiled.statement.conditions
        return both([self.acts(covered), *(self.keys.holds(c, variables=one.variables) for c in conditions)])

    def _key_denies(self) -> Iterable[str]:
        start = len(self.universe.allows)
        for place, one in enumerate(self.universe.denies, start):
            callers = (
                i
                for i, caller in enumerate(self.callers)
                if caller.reach[place] and not (one.source != "key policy" and caller.is_service_linked)
            )
            self.script.comment(f"{one.source}, {one.compiled.statement.label}: Deny")
            yield self.script.named(both([self.whos(callers), self._covered(one)]))

    def _identity_denies(self) -> Iterable[str]:
        for name, (_, denies) in self.universe.identity.items():
            if name == ANY_PRINCIPAL:
                continue  # It is not known whom they bind, so they bind nobody.
            callers = self.whos(i for i, caller in enumerate(self.callers) if name in caller.attached)
            for one in denies:
                self.script.comment(f"{one.source}, {one.compiled.statement.label}: Deny")
                yield self.script.named(both([callers, self._covered(one)]))

    def _iam(self) -> str:
        """Return that IAM allows the request to the caller."""
        sure = self.whos(i for i, caller in enumerate(self.callers) if caller.iam is True)
        parts = [sure]
        asked = [i for i, caller in enumerate(self.callers) if caller.iam is None]
        for name, (allows, _) in self.universe.identity.items() if asked else ():
            bound = self.whos(i for i in asked if name == ANY_PRINCIPAL or name in self.callers[i].attached)
            for one in allows:
                self.script.comment(f"{one.source}, {one.compiled.statement.label}: Allow")
                parts.append(self.script.named(both([bound, self._covered(one)])))
        return self.script.named(either(parts))

    def _write_ways(self) -> None:
        iam = self._iam()
        account_known = self.universe.question.key is not None
        for place, one in enumerate(self.universe.allows):
            statement = one.compiled.statement
            self.script.comment(f"key policy, {statement.label}: Allow")
            covered = self.script.named(self._covered(one))
            enough, needs_iam, account = list[int](), list[int](), list[int]()
            for i, caller in enumerate(self.callers):
                if caller.reach[place] in {Reach.ROLE, Reach.DIRECT}:
                    alone = caller.home or caller.is_root or caller.is_service or not account_known
                    (enough if alone else needs_iam).append(i)
                elif caller.reach[place] is Reach.ACCOUNT:
                    account.append(i)
            directly = both([covered, either([self.whos(enough), both([self.whos(needs_iam), iam])])])
            delegated = both([covered, self.whos(account), iam])
            for via, formula in ((Via.DIRECT, directly), (Via.ACCOUNT, delegated)):
                if formula != FALSE:
                    name = self.script.define(f"way{len(self.ways)}", formula)
                    self.ways.append(Way(name=name, via=via, statement=one))
        for place, grant in enumerate(self.universe.grants):
            formula = self._grant(place, grant)
            if formula != FALSE:
                self.script.comment(f"grant {place}")
                name = self.script.define(f"way{len(self.ways)}", formula)
                self.ways.append(Way(name=name, via=Via.GRANT, grant=grant))

    def _grant(self, place: int, grant: Grant) -> str:
        actions = {action for group in self.actions for action in group}
        operations = {operation.lower() for operation in grant.operations}
        covered = {action for action in actions if action.removeprefix("kms:").lower() in operations}
        callers = self.whos(i for i, caller in enumerate(self.callers) if place in caller.granted)
        wanted = dict(grant_pairs(grant))
        source = wanted.pop("aws:sourcearn", None)
        carried = [self._equals(key, text) for key, text in wanted.items()]
        if grant.encryption_context_equals is not None:
            exact = {CONTEXT_PREFIX + name.lower() for name in grant.encryption_context_equals}
            others = (key for key in self.domains if key.startswith(CONTEXT_PREFIX) and key not in exact)
            carried += [negate(self.keys.present(key)) for key in others]
        return both(
            [
                self.acts(covered),
                callers,
                TRUE if source is None else self._equals("aws:sourcearn", source),
                either([negate(self.acts(covered & _CONTEXT_ACTIONS)), both(carried)]),
            ]
        )

    def _equals(self, key: str, text: str) -> str:
        comparison = Comparison("StringEquals", (text,), variables=False)
        slot = self.keys.slot(key)
        place = slot.domain.comparisons.index(comparison)
        if slot.domain.many:
            return either(name for name, value, _ in slot.members if value.answers[place] is Match.YES)
        return both([slot.present, self.keys.takes(key, lambda value: value.answers[place] is Match.YES)])

    def _write_tiers(self) -> None:
        script, tiers = self.script, self.universe.tiers
        attested = script.define("approved", both([self.acts(tiers.attestable), either(self._approved())]))
        declared = self.whos(i for i, caller in enumerate(self.callers) if caller.declared)
        delegated = self.whos(i for i, caller in enumerate(self.callers) if caller.delegated)
        undeclared = both([negate(declared), either(["directly", negate(delegated)])])
        raised = both([self.acts(tiers.by_tier[Tier.ESCALATION]), self._passes_on()])
        script.require(f"(=> {script.truth(BY_ANYONE)} {script.named(raised)})")
        for tier in Tier:
            parts = [self.acts(tiers.by_tier[tier])]
            if tier is Tier.PLAINTEXT:
                parts.append(negate(attested))
            elif tier is Tier.ESCALATION:
                parts += [undeclared, self._passes_on()]
            script.truth(tier.value)
            script.comment(f"tier {tier.value}")
            script.require(f"(=> {tier.value} {script.named(both(parts))})")

    def _passes_on(self) -> str:
        """Return that a grant to be created could yield plaintext."""
        if GRANT_OPERATIONS not in self.domains:
            return TRUE
        slot = self.keys.slot(GRANT_OPERATIONS)
        leaking = either(name for name, value, _ in slot.members if value.abstract or LEAKING in value.marks)
        return either([negate(self.acts({"kms:CreateGrant"})), leaking])

    def _approved(self) -> Iterable[str]:
        approved = self.universe.question.approved
        if approved.pcr0:
            parts = ["enclave", self.keys.takes(PCR0, lambda value: APPROVED in value.marks)]
            for index in approved.further:
                key = f"{ATTESTATION_PREFIX}pcr{index}"
                parts += [self.keys.present(key), self.keys.takes(key, lambda value: APPROVED in value.marks)]
            yield both(parts)
        for number, measurement in enumerate(approved.nitrotpm):
            parts = ["nitrotpm"]
            for index in measurement:
                key = f"{NITROTPM_PREFIX}{index}"
                mark = f"{APPROVED}{number}"
                parts.append(self.keys.present(key))
                parts.append(self.keys.takes(key, lambda value, mark=mark: mark in value.marks))  # type: ignore[misc]
            yield both(parts)


def _approved_values(approved: ApprovedMeasurements) -> dict[str, dict[str, frozenset[str]]]:
    """Return for each key which of its values are approved, and in which measurement."""
    found: dict[str, dict[str, frozenset[str]]] = {}

    def add(key: str, text: str, mark: str) -> None:
        marks = found.setdefault(key, {})
        marks[text] = marks.get(text, frozenset()) | {mark}

    for value in approved.pcr0:
        add(PCR0, value.hex(), APPROVED)
    for index, values in approved.further.items():
        for value in values:
            add(f"{ATTESTATION_PREFIX}pcr{index}", value.hex(), APPROVED)
    for number, measurement in enumerate(approved.nitrotpm):
        for index, value in measurement.items():
            add(f"{NITROTPM_PREFIX}{index}", value.hex(), f"{APPROVED}{number}")
    return found
