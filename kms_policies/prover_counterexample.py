"""Make a concrete request out of a solution, and replay it through the evaluator.

Spec: IAM User Guide, "AWS global condition context keys"; KMS Developer Guide, "Condition keys for AWS Nitro Enclaves".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kms_policies.document import Policy, PolicyKind, parse_policy
from kms_policies.evaluator import evaluate
from kms_policies.prover_caller_class import CallerClass
from kms_policies.prover_callers import Caller
from kms_policies.prover_comparisons import Match
from kms_policies.prover_domains import Value, alphabet_of
from kms_policies.prover_encoding import Encoding
from kms_policies.prover_keys import IMAGE, PCR0, Slot
from kms_policies.prover_question import ANY_PRINCIPAL
from kms_policies.prover_script import TRUE, both, negate
from kms_policies.prover_witness import ANYTHING, Impossible, Pattern, find_string
from kms_policies.request import Request
from pcrgate.errors import KeyPolicyError

FULL_ACCESS: Final = parse_policy(
    json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]}),
    kind=PolicyKind.IDENTITY,
)
"""What everyone in an account is taken to have whose identity policies are not declared complete."""

Context = dict[str, str | tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Concrete:
    """Hold the request made out of a solution.

    Attributes:
        request: the request.
        notes: where no concrete value could be found for what the solver assumed.
    """

    request: Request
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spurious:
    """Hold the part of a solution that no text can fulfil, as a formula over declared names."""

    formula: str


class Concretizer:
    """Make requests out of the solutions of one encoding."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._universe = encoding.universe

    def request(self, solution: Mapping[str, int], actions: frozenset[str]) -> Concrete | Spurious:
        """Return the request that a solution describes, or what in it cannot be.

        Args:
            solution: numbers by name.
            actions: the actions that the question is about; the request takes the first of the solution's group.
        """
        encoding = self._encoding
        notes: list[str] = []
        described = encoding.callers[solution.get("who", 0)]
        caller = self._caller(described, solution, notes)
        if isinstance(caller, Spurious):
            return caller
        context: Context = {}
        for slot in encoding.keys.slots.values():
            found = self._slot(slot, solution, notes)
            if isinstance(found, Spurious):
                return found
            if found:
                context[slot.domain.key] = found
        if solution.get("enclave") and PCR0 not in context:
            context[PCR0] = encoding.domains[PCR0].values[-1].text
        if PCR0 in context:
            context[IMAGE] = context[PCR0]
        self._variables(solution, caller, context)
        group = encoding.actions[solution.get("act", 0)]
        action = next((action for action in group if action in actions), group[0])
        spelled = {self._universe.spellings.get(key, key): value for key, value in context.items()}
        request = Request(principal=caller.principal, action=action, resource=self._universe.key_arn, context=spelled)
        return Concrete(request=request, notes=tuple(notes))

    def _slot(
        self, slot: Slot, solution: Mapping[str, int], notes: list[str]
    ) -> str | tuple[str, ...] | Spurious | None:
        """Return what a key holds: one text, several, or None when it is absent."""
        domain = slot.domain
        if domain.many:
            texts: list[str] = []
            for name, value, copy in slot.members:
                if solution.get(name):
                    text = self._text(slot, value, solution, notes, copy=copy, taken=name)
                    if isinstance(text, Spurious):
                        return text
                    texts.append(text)
            return tuple(dict.fromkeys(texts))
        if not solution.get(slot.present):
            return None
        place = solution.get(f"v{slot.index}", 0)
        taken = self._encoding.script.equals(f"v{slot.index}", place) if len(domain.values) > 1 else TRUE
        return self._text(slot, domain.values[place], solution, notes, copy=0, taken=taken)

    @staticmethod
    def _text(
        slot: Slot, value: Value, solution: Mapping[str, int], notes: list[str], *, copy: int, taken: str
    ) -> str | Spurious:
        """Return a text for a value; for an abstract one a text that fits the wildcards as the solver assumed."""
        if not value.abstract or not slot.domain.patterns:
            return value.text
        names = [slot.pattern(place, copy) for place in range(len(slot.domain.patterns))]
        matching = [p for p, name in zip(slot.domain.patterns, names, strict=True) if solution.get(name)]
        failing = [p for p, name in zip(slot.domain.patterns, names, strict=True) if solution.get(name) == 0]
        if value.fold is not None:
            matching.append(Pattern.literal(value.fold, folded=True))
        found = find_new_string(matching, failing, slot.domain.literals, slot.domain.key)
        if found is Impossible.NONE:
            return Spurious(both([taken, slot.present, *_assumed(names, solution)]))
        if isinstance(found, Impossible):
            notes.append(f"no text was found for {slot.domain.key} within the search limit")
            return value.text
        return found

    def _caller(self, described: CallerClass, solution: Mapping[str, int], notes: list[str]) -> Caller | Spurious:
        """Return the caller of a solution; an unnamed one under an ARN that fits what the solver assumed."""
        caller = described.caller
        opened = {
            comparison: name
            for (key, comparison), name in self._encoding.keys.opened.items()
            if key == "aws:principalarn" and described.answers.get((key, comparison)) is Match.OPEN
        }
        if not opened or caller.shape is None:
            return caller
        wanted = {name: bool(solution.get(name)) for name in opened.values() if name in solution}
        matching: list[Pattern] = [caller.shape]
        failing: list[Pattern] = []
        for comparison, name in opened.items():
            if comparison.is_typed or comparison.folded:
                notes.append("a comparison of aws:PrincipalArn is left to the solver")
            elif wanted.get(name) and len(comparison.patterns) == 1:
                matching.append(comparison.patterns[0])
            elif wanted.get(name):
                matching.append(self._fitting(caller.shape, comparison.patterns))
            elif name in wanted:
                failing += comparison.patterns
        literals = frozenset(
            text for comparison in self._universe.comparisons["aws:principalarn"] for text in comparison.literals()
        )
        found = find_new_string(matching, failing, literals, "aws:principalarn")
        if found is Impossible.NONE and not notes and all(len(c.patterns) == 1 for c in opened):
            place = self._encoding.callers.index(described)
            return Spurious(both([self._encoding.script.equals("who", place), *_assumed(wanted, solution)]))
        if isinstance(found, Impossible):
            notes.append("no ARN was found that fits the wildcards on aws:PrincipalArn as the solver assumed")
            return caller
        try:
            return caller.renamed(found)
        except KeyPolicyError:
            notes.append(f"the ARN that fits the wildcards on aws:PrincipalArn cannot be one of a principal: {found!a}")
            return caller

    @staticmethod
    def _fitting(shape: Pattern, patterns: Sequence[Pattern]) -> Pattern:
        """Return the first of several patterns that a shape can fit."""
        fitting = (p for p in patterns if isinstance(find_string((shape, p), ()), str))
        return next(fitting, patterns[0])

    def _variables(self, solution: Mapping[str, int], caller: Caller, context: Context) -> None:
        """Give variables, or the key compared with them, a value that makes the comparison come out as assumed."""
        for (key, comparison, negated), name in self._encoding.keys.variables.items():
            held = context.get(key, caller.derived().get(key))
            if negated or not solution.get(name) or not isinstance(held, str):
                continue
            template = comparison.open_values[0]
            names = comparison.open_names[0]
            known: Context = {**caller.derived(), **{k.lower(): v for k, v in context.items()}}
            if len(template.parts) == 1 and names[0] not in known:
                context[names[0]] = held
                continue
            for missing in (other for other in names if other not in known):
                known[missing] = context[missing] = "x"
            if (text := template.text(known)) is not None and alphabet_of(key) is ANYTHING and key in context:
                context[key] = text

    def replay(self, request: Request, described: CallerClass) -> bool:
        """Whether the evaluator allows a request, under the same assumptions about IAM."""
        question = self._universe.question
        attached: list[Policy] = [FULL_ACCESS] if described.iam is True else []
        names = described.attached if described.iam is True else (*described.attached, ANY_PRINCIPAL)
        for name in names:
            attached += question.identity_policies.get(name, ())
        decision = evaluate(
            request,
            key_policy=question.key_policy,
            identity_policies=attached,
            resource_control_policies=question.resource_control_policies,
            grants=question.grants,
        )
        return decision.allowed


def find_new_string(
    matching: Sequence[Pattern], failing: Sequence[Pattern], literals: frozenset[str], key: str
) -> str | Impossible:
    """Return a string as ``find_string`` does, but none of the literals; they are excluded as they turn up."""
    excluded: list[Pattern] = []
    while True:
        found = find_string(tuple(matching), (*failing, *excluded), alphabet_of(key))
        if isinstance(found, Impossible) or found not in literals:
            return found
        excluded.append(Pattern.literal(found))


def _assumed(names: Sequence[str] | Mapping[str, bool], solution: Mapping[str, int]) -> list[str]:
    return [name if solution[name] else negate(name) for name in names if name in solution]
