"""Explanations: why a request is denied, statement by statement, and what would change that.

The proposal is tried: the request is changed as proposed and judged again, so that what is said to help does help.

Spec: IAM User Guide, "Policy evaluation logic"; KMS Developer Guide, "Condition keys for AWS Nitro Enclaves".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from kms_policies.condition_keys import ATTESTATION_KEYS, is_attestation_key
from kms_policies.decision import ConditionReport, Decision, NearMiss, Shortfall
from kms_policies.document import Effect
from kms_policies.operations import ATTESTABLE_ACTIONS
from kms_policies.request import IMAGE_KEY, NITROTPM_KEY_PREFIX, PCR_KEY_PREFIX, Principal, Request
from pcrgate.errors import KeyPolicyError

SHOWN_DIGITS: Final = 16
"""Hex digits of a PCR shown in a sentence: enough to tell builds apart, the rest is in the policy."""

_CONTEXT_PREFIX: Final = "kms:encryptioncontext:"
_PCR0_KEY: Final = f"{PCR_KEY_PREFIX}0"
_SAME_REGISTER: Final = dict.fromkeys((_PCR0_KEY.lower(), IMAGE_KEY.lower()), (_PCR0_KEY, IMAGE_KEY))
_PRINCIPAL_KEYS: Final = frozenset({"aws:principalarn", "aws:principalaccount", "kms:calleraccount"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Hold one statement that stands in the way.

    Attributes:
        source: which policy it stands in.
        index: its place there, from 0.
        sid: its ``Sid``, if it has one.
        denies: whether it denies, or is an Allow that falls short.
        facts: what of it is not met, one sentence each.
    """

    source: str
    index: int
    sid: str | None
    denies: bool
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Hold why a request came out as it did.

    Attributes:
        decision: the decision.
        obstacles: what stands in the way, empty when it is allowed.
        changes: what to change in the request, one sentence each; empty when no request like it can pass.
        works: whether the request so changed is allowed.
        advice: one sentence for a person.
    """

    decision: Decision
    obstacles: tuple[Obstacle, ...]
    changes: tuple[str, ...]
    works: bool
    advice: str


def explain(request: Request, decide: Callable[[Request], Decision]) -> Explanation:
    """Say why a request is denied and what would change it.

    Args:
        request: the request.
        decide: judges a request, with all policies, grants and the key's state bound.
    """
    decision = decide(request)
    if decision.allowed:
        return Explanation(decision=decision, obstacles=(), changes=(), works=True, advice="nothing: it is allowed")
    obstacles = tuple(
        Obstacle(
            source=miss.source,
            index=miss.statement.index,
            sid=miss.statement.sid,
            denies=miss.statement.effect is Effect.DENY,
            facts=tuple(_facts(miss, request)),
        )
        for miss in decision.near_misses
    )
    for allow in sorted((m for m in decision.near_misses if m.statement.effect is Effect.ALLOW), key=_distance):
        changed = _changed(request, allow)
        for _ in range(len(decision.near_misses) + 2):
            judged = decide(changed)
            if judged.allowed:
                changes = tuple(_changes(request, changed))
                return Explanation(
                    decision=decision,
                    obstacles=obstacles,
                    changes=changes,
                    works=True,
                    advice="so changed, KMS carries it out; values are examples of what the policy lists",
                )
            denying = [miss for miss in judged.near_misses if miss.statement.effect is Effect.DENY]
            again = changed
            for miss in denying:
                again = _with_conditions(again, miss)
            if again == changed:
                break
            changed = again
    return Explanation(
        decision=decision, obstacles=obstacles, changes=(), works=False, advice=_advice(request, decision)
    )


def _advice(request: Request, decision: Decision) -> str:
    flat = [m for m in decision.near_misses if m.shortfall is Shortfall.DENIES and not m.statement.conditions]
    if flat:
        return f"no request can pass: {flat[0].statement.label} denies {request.action} without condition"
    if not decision.near_misses:
        return f"no statement allows {request.action}: the policy would have to list it"
    return (
        "no change of the request alone was found that passes: the policy, the grants or the key would have to change"
    )


def _distance(miss: NearMiss) -> tuple[bool, int]:
    """Order Allows: those that name the principal first, then those with fewer unmet conditions."""
    other = miss.shortfall in {Shortfall.PRINCIPAL, Shortfall.PRINCIPAL_AND_CONDITION}
    return other, sum(not report.held for report in miss.conditions)


def _facts(miss: NearMiss, request: Request) -> Iterator[str]:
    if miss.shortfall is Shortfall.DENIES:
        if not miss.conditions:
            yield f"it denies {request.action} to everyone, always"
        for report in miss.conditions:
            yield _fact(report, request)
        return
    if miss.shortfall in {Shortfall.PRINCIPAL, Shortfall.PRINCIPAL_AND_CONDITION}:
        yield f"it speaks of other principals than {request.principal}"
    if miss.shortfall is Shortfall.NOT_ENOUGH:
        yield "it lets IAM policies decide, and none that was given allows this"
    for report in miss.conditions:
        if not report.held:
            yield _fact(report, request)


def _fact(report: ConditionReport, request: Request) -> str:
    condition = report.condition
    key = ATTESTATION_KEYS.get(condition.folded_key, condition.key)
    wanted = _listed(condition.values, shorten=is_attestation_key(condition))
    if is_attestation_key(condition):
        name = key.rpartition(":")[2]
        if not report.present:
            if request.action not in ATTESTABLE_ACTIONS:
                return f"{name} is asked for, and {request.action} cannot carry an attestation"
            return f"{name} is missing: no attestation document that holds it came along; listed: {wanted}"
        return f"{name} is {_listed(report.present, shorten=True)}; listed: {wanted}"
    present = _listed(report.present, shorten=False) if report.present else "missing"
    return f"{key} is {present}; {condition.operator_text} {wanted}"


def _listed(values: tuple[str, ...], *, shorten: bool) -> str:
    shown = [f"{value[:SHOWN_DIGITS]}…" if shorten and len(value) > SHOWN_DIGITS else value for value in values]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")


def _changed(request: Request, allow: NearMiss) -> Request:
    """Return the request changed so that an Allow speaks of it and its conditions hold."""
    changed = request
    principal = allow.statement.principal
    if allow.shortfall in {Shortfall.PRINCIPAL, Shortfall.PRINCIPAL_AND_CONDITION} and principal is not None:
        changed = _as_principal(changed, principal.aws)
    return _with_conditions(changed, allow)


def _with_conditions(request: Request, miss: NearMiss) -> Request:
    """Return the request with values that make an Allow's conditions hold, or a Deny's not."""
    wanted_held = miss.statement.effect is Effect.ALLOW
    changed = request
    for report in miss.conditions:
        if report.held is wanted_held:
            continue
        condition = report.condition
        gives = condition.negated is not wanted_held  # comparing equal is what helps
        if not gives or condition.operator == "Null" or any(set("*?$") & set(v) for v in condition.values):
            continue
        if condition.folded_key in _PRINCIPAL_KEYS:
            changed = _as_principal(changed, condition.values)
        elif is_attestation_key(condition) and request.action not in ATTESTABLE_ACTIONS:
            continue  # the evaluator would take the key, but no such request can carry it
        else:
            names = _SAME_REGISTER.get(condition.folded_key, (condition.key,))
            folded = {name.lower() for name in names}
            given = {name: value for name, value in changed.context.items() if name.lower() not in folded}
            changed = replace(changed, context=given | dict.fromkeys(names, condition.values[0]))
    return changed


def _as_principal(request: Request, names: tuple[str, ...]) -> Request:
    for name in names:
        try:
            return replace(request, principal=Principal.from_arn(name))
        except KeyPolicyError:
            continue
    return request


def _changes(before: Request, after: Request) -> Iterator[str]:
    if before.principal != after.principal:
        yield f"ask as {after.principal.identity_arn}"
    old = {name.lower(): value for name, value in before.context.items()}
    attested = False
    for name, value in after.context.items():
        key = name.lower()
        if old.get(key) == value:
            continue
        text = value if isinstance(value, str) else ", ".join(value)
        if key in ATTESTATION_KEYS:
            if not attested and not any(other in ATTESTATION_KEYS for other in old):
                yield "attach a fresh attestation document as Recipient"
                attested = True
            if key != IMAGE_KEY.lower():
                yield f"attest {_pcr_name(key)} = {text}"
        elif key.startswith(_CONTEXT_PREFIX):
            yield f"put {name[len(_CONTEXT_PREFIX) :]} = {text} into the encryption context"
        else:
            yield f"make {name} = {text}"


def _pcr_name(folded: str) -> str:
    key = ATTESTATION_KEYS[folded]
    kind = "NitroTPM PCR" if key.startswith(NITROTPM_KEY_PREFIX) else "PCR"
    return kind + key.removeprefix(NITROTPM_KEY_PREFIX).removeprefix(PCR_KEY_PREFIX)
