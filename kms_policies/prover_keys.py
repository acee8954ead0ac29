"""Write condition keys into the script: presence, value, and what wildcards and variables leave open.

Spec: IAM User Guide, "Condition operators", "Single-valued vs. multivalued context keys"; KMS Developer Guide,
"Condition keys for AWS Nitro Enclaves", "Condition keys for AWS NitroTPM".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from kms_policies.document import SetOperator
from kms_policies.operators import ValueType, read_bool
from kms_policies.prover_caller_class import CallerClass
from kms_policies.prover_callers import DERIVED_KEYS
from kms_policies.prover_comparisons import Comparison, Match
from kms_policies.prover_domains import ATTESTATION_PREFIX, Domain, Open, Value
from kms_policies.prover_script import FALSE, TRUE, Script, both, either, negate
from kms_policies.statements import Condition

PCR0: Final = "kms:recipientattestation:pcr0"
IMAGE: Final = "kms:recipientattestation:imagesha384"
NITROTPM_PREFIX: Final = "kms:recipientattestation:nitrotpmpcr"


def canonical(key: str) -> str:
    """Return the key that stands for a condition key, lower case: ``ImageSha384`` holds PCR0."""
    return PCR0 if key == IMAGE else key


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Hold the names under which the script knows one key.

    Attributes:
        index: its number.
        domain: what it can take.
        present: the formula that says it is present.
        members: for a key of many values: each value's name, with a number of its own.
    """

    index: int
    domain: Domain
    present: str
    members: tuple[tuple[str, Value, int], ...] = ()

    def pattern(self, place: int, copy: int) -> str:
        """Return the name of the truth value: the abstract value of a copy matches a pattern."""
        return f"p{self.index}_{place}_{copy}"


@dataclass(slots=True, kw_only=True)
class KeyWriter:
    """Write every key once and answer what a condition on it comes to.

    Attributes:
        script: where to write.
        domains: what each key can take, by canonical name.
        callers: the callers, for keys that AWS fills from them.
        slots: the keys written so far.
        opened: for each derived key and comparison left open, its name.
        variables: for each value with variables, its name, with the key, comparison and whether it is negated.
    """

    script: Script
    domains: Mapping[str, Domain]
    callers: list[CallerClass]
    slots: dict[str, Slot] = field(default_factory=dict)
    opened: dict[tuple[str, Comparison], str] = field(default_factory=dict)
    variables: dict[tuple[str, Comparison, bool], str] = field(default_factory=dict)

    def slot(self, key: str) -> Slot:
        """Return the names of a key, lower case, writing it first if need be."""
        key = canonical(key)
        if key not in self.slots:
            self.slots[key] = self._write(self.domains[key], len(self.slots))
        return self.slots[key]

    def _write(self, domain: Domain, index: int) -> Slot:
        script = self.script
        script.comment(f"key {index}: {domain.key}, {len(domain.values)} values told apart")
        if domain.many:
            copies = len(domain.comparisons) + 1 if domain.patterns else 1
            # Each abstract member needs wildcards of its own: one for every comparison that may need its own witness.
            wanted = [value for value in domain.values for _ in range(copies if value.abstract else 1)]
            members = tuple((script.truth(f"m{index}_{i}"), value, i) for i, value in enumerate(wanted))
            return Slot(index=index, domain=domain, members=members, present=either(name for name, _, _ in members))
        if len(domain.values) > 1:
            script.choice(f"v{index}", len(domain.values))
        if domain.key == PCR0:
            present = "enclave"
        else:
            present = script.truth(f"h{index}")
            if domain.key.startswith(NITROTPM_PREFIX) and domain.alphabet.length:
                script.require(f"(=> {present} nitrotpm)")
            elif domain.key.startswith(ATTESTATION_PREFIX) and domain.alphabet.length:
                script.require(f"(=> {present} enclave)")
        return Slot(index=index, domain=domain, present=present)

    def takes(self, key: str, chosen: Callable[[Value], bool]) -> str:
        """Return that a key of one value takes a chosen one."""
        slot = self.slot(key)
        values = slot.domain.values
        if len(values) == 1:
            return TRUE if chosen(values[0]) else FALSE
        return self.script.is_one_of(f"v{slot.index}", (i for i, v in enumerate(values) if chosen(v)), len(values))

    def present(self, key: str) -> str:
        """Return that a key is present."""
        if key in DERIVED_KEYS:
            return self._callers(lambda caller: key in caller.present)
        return self.slot(key).present

    def _callers(self, chosen: Callable[[CallerClass], bool]) -> str:
        return self.script.is_one_of("who", (i for i, c in enumerate(self.callers) if chosen(c)), len(self.callers))

    def holds(self, condition: Condition, *, variables: bool) -> str:
        """Return that a condition is fulfilled, as the evaluator decides it."""
        key = condition.folded_key
        present = self.present(key)
        if condition.value_type is ValueType.PRESENCE:
            wanted = {read_bool(value) for value in condition.values}
            return either([negate(present) if True in wanted else FALSE, present if False in wanted else FALSE])
        comparison = Comparison.of(condition, variables=variables)
        negated, every = condition.negated, condition.set_operator is SetOperator.FOR_ALL_VALUES
        unset = condition.set_operator is None
        passes_missing = every or condition.if_exists or (negated and unset)
        if key not in DERIVED_KEYS and self.slot(key).domain.many:
            every = every or (unset and negated)
            outcome = self._of_members(self.slot(key), comparison, negated=negated, every=every)
        else:
            matches = self._matches(key, comparison, negated=negated)
            outcome = negate(matches) if negated else matches
        formula = either([negate(present), outcome]) if passes_missing else both([present, outcome])
        return self.script.named(formula)

    def _of_members(self, slot: Slot, comparison: Comparison, *, negated: bool, every: bool) -> str:
        place = slot.domain.comparisons.index(comparison)
        parts = []
        for name, value, copy in slot.members:
            matches = self._answer(slot, place, value, copy, negated=negated)
            outcome = negate(matches) if negated else matches
            parts.append(either([negate(name), outcome]) if every else both([name, outcome]))
        return both(parts) if every else either(parts)

    def _answer(self, slot: Slot, place: int, value: Value, copy: int, *, negated: bool) -> str:
        """Return that a value matches; for a negated operator, that it does not surely differ."""
        answer = value.answers[place]
        comparison = slot.domain.comparisons[place]
        if answer is Match.YES or (negated and answer is Match.NEITHER):
            return TRUE
        parts = [self._variable(slot.domain.key, comparison, negated=negated)]
        if isinstance(answer, Open):
            parts += [self.script.truth(slot.pattern(pattern, copy)) for pattern in answer.patterns]
            if answer.free:
                parts.append(self.script.truth(f"t{slot.index}_{place}_{copy}_{int(negated)}"))
            if negated and answer.never_differs:
                return TRUE
            if negated and answer.shape is not None:
                parts.append(negate(self.script.truth(slot.pattern(answer.shape, copy))))
        return either(parts)

    def _variable(self, key: str, comparison: Comparison, *, negated: bool) -> str:
        """Return the truth value that stands for values whose text depends on the request."""
        if not comparison.open_values:
            return FALSE
        mark = (key, comparison, negated)
        if mark not in self.variables:
            self.variables[mark] = self.script.truth(f"u{len(self.variables)}")
        return self.variables[mark]

    def _matches(self, key: str, comparison: Comparison, *, negated: bool) -> str:
        """Return that the one value of a key matches, the key being present."""
        if key in DERIVED_KEYS:
            return self._derived(key, comparison, negated=negated)
        slot = self.slot(key)
        place = slot.domain.comparisons.index(comparison)
        sure = {Match.YES, Match.NEITHER} if negated else {Match.YES}
        parts = [
            self.takes(slot.domain.key, lambda value: value.answers[place] in sure),
            self._variable(slot.domain.key, comparison, negated=negated),
        ]
        for value in slot.domain.values:
            if isinstance(value.answers[place], Open):
                taken = self._taken(slot, value)
                parts.append(both([taken, self._answer(slot, place, value, 0, negated=negated)]))
        return self.script.named(either(parts))

    def _taken(self, slot: Slot, value: Value) -> str:
        return self.takes(slot.domain.key, lambda other: other is value)

    def _derived(self, key: str, comparison: Comparison, *, negated: bool) -> str:
        mark = (key, comparison)
        certain = {Match.YES, Match.NEITHER} if negated else {Match.YES}
        sure = self._callers(lambda caller: caller.answers.get(mark) in certain)
        left = self._callers(lambda caller: caller.answers.get(mark) is Match.OPEN)
        variable = self._variable(key, comparison, negated=negated)
        if left == FALSE:
            return either([sure, variable])
        if mark not in self.opened:
            self.opened[mark] = self.script.truth(f"d{len(self.opened)}")
        parts = [self.opened[mark]]
        if negated and (comparison.never_differs or comparison.is_typed):
            # It may be impossible to compare at all, which has no name of its own: the solver may choose.
            parts.append(self.script.truth(f"n{self.opened[mark]}"))
        return self.script.named(either([sure, variable, both([left, either(parts)])]))
