"""Differences of two key policies: which statements changed, which measurements, and who may do what now.

The statements are compared as sets of words, so order and formatting do not count. Who may do what is seen by the
evaluator, once without attestation and once with the measurements that each policy lists itself, for every principal
that either names, one unnamed member of every account and one stranger, all with every permission IAM can give. That
is a reading aid: whether anything leaks is for the prover to say.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from kms_policies.condition_keys import ATTESTATION_KEYS, is_attestation_key
from kms_policies.document import Effect, Policy, PolicyKind, Statement, parse_policy
from kms_policies.evaluator import evaluate
from kms_policies.operations import ATTESTABLE_ACTIONS, FUTURE_ACTION, KEY_ACTIONS
from kms_policies.patterns import action_pattern
from kms_policies.request import Principal, Request
from pcrgate.errors import KeyPolicyError

_FULL: Final = parse_policy(
    json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}),
    kind=PolicyKind.IDENTITY,
)
_EVERY: Final = action_pattern(("*",))
_KEY_ID: Final = "key/00000000-0000-0000-0000-000000000000"
_STRANGER: Final = "000000000000"


class Access(Enum):
    """Say how far a principal gets with an action."""

    DENIED = "denied"
    ATTESTED = "with attestation"
    ALLOWED = "allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementChange:
    """Hold one statement that is in one policy only, or differs.

    Attributes:
        name: its ``Sid``, or its place.
        before: its words before, empty when it was added.
        after: its words after, empty when it was removed.
    """

    name: str
    before: frozenset[str]
    after: frozenset[str]

    @property
    def kind(self) -> str:
        """``added``, ``removed`` or ``changed``."""
        return "changed" if self.before and self.after else "added" if self.after else "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessChange:
    """Hold actions whose access changed alike for one principal.

    Attributes:
        principal: its ARN, or what it stands for.
        actions: the actions, sorted.
        before: how far it got.
        after: how far it gets.
    """

    principal: str
    actions: tuple[str, ...]
    before: Access
    after: Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Hold how two policies differ.

    Attributes:
        statements: statements added, removed or changed.
        measurements_added: values that are listed now and were not, with their condition key.
        measurements_removed: values that were listed and are not now.
        access: what changed for whom.
    """

    statements: tuple[StatementChange, ...]
    measurements_added: tuple[tuple[str, str], ...]
    measurements_removed: tuple[tuple[str, str], ...]
    access: tuple[AccessChange, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.statements and not self.access


def compare(before: Policy, after: Policy) -> Difference:
    """Return how two key policies differ.

    Args:
        before: the policy in force.
        after: the policy proposed.
    """
    old, new = _measurements(before), _measurements(after)
    return Difference(
        statements=tuple(_statements(before, after)),
        measurements_added=tuple(sorted(new - old)),
        measurements_removed=tuple(sorted(old - new)),
        access=tuple(_access(before, after)),
    )


def _words(statement: Statement) -> frozenset[str]:
    """Return a statement as a set of words: what can be added or taken away."""
    words = {f"{'NotAction' if statement.not_action else 'Action'} {action.lower()}" for action in statement.actions}
    words.add(f"Effect {statement.effect.value}")
    words |= {f"{'NotResource' if statement.not_resource else 'Resource'} {each}" for each in statement.resources}
    principal = statement.principal
    if principal is not None:
        element = "NotPrincipal" if statement.not_principal else "Principal"
        everyone = ["*"] if principal.any else []
        names = {*everyone, *principal.aws, *principal.service, *principal.federated, *principal.canonical}
        words |= {f"{element} {name}" for name in names}
    for condition in statement.conditions:
        words |= {f"{condition.operator_text} {condition.folded_key} {value}" for value in condition.values}
    return frozenset(words)


def _named(policy: Policy) -> dict[str, frozenset[str]]:
    return {statement.sid or f"statement {statement.index}": _words(statement) for statement in policy.statements}


def _statements(before: Policy, after: Policy) -> Iterator[StatementChange]:
    old, new = _named(before), _named(after)
    for name in [*old, *(name for name in new if name not in old)]:
        one, other = old.get(name, frozenset()), new.get(name, frozenset())
        unchanged_elsewhere = (not other and one in new.values()) or (not one and other in old.values())
        if one != other and not unchanged_elsewhere:
            yield StatementChange(name=name, before=one, after=other)


def _measurements(policy: Policy) -> frozenset[tuple[str, str]]:
    return frozenset(
        (ATTESTATION_KEYS[condition.folded_key], value.lower())
        for statement in policy.statements
        for condition in statement.conditions
        if is_attestation_key(condition) and condition.operator != "Null"
        for value in condition.values
    )


def _principals(policies: tuple[Policy, ...]) -> dict[str, Principal]:
    """Return every principal the policies name, and one unnamed for each account and for all others."""
    found: dict[str, Principal] = {}
    accounts: set[str] = set()
    for policy in policies:
        for statement in policy.statements:
            listed = () if statement.principal is None else (*statement.principal.aws,)
            arns = [value for c in statement.conditions if c.folded_key == "aws:principalarn" for value in c.values]
            for name in (*listed, *arns):
                accounts |= {name} if name.isdigit() else set()
                try:
                    principal = Principal.from_arn(name)
                except KeyPolicyError:
                    continue
                found[name] = principal
                accounts.add(str(principal.account))
            for service in () if statement.principal is None else statement.principal.service:
                found[service] = Principal.of_service(service)
    for account in sorted(accounts):
        found[f"anyone else in {account}"] = Principal.from_arn(f"arn:aws:iam::{account}:user/not-named-in-any-policy")
    found["anyone in another account"] = Principal.from_arn(f"arn:aws:iam::{_STRANGER}:user/not-named-in-any-policy")
    return found


def _contexts(policy: Policy) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Return contexts that the Allow statements ask for, and apart from them all attestation keys together."""
    contexts: list[dict[str, str]] = [{}]
    attested: dict[str, str] = {}
    for statement in policy.statements:
        given: dict[str, str] = {}
        for condition in statement.conditions:
            equal = condition.operator.endswith(("Equals", "EqualsIgnoreCase", "Like"))
            if not equal or (statement.effect is Effect.ALLOW) is condition.negated:
                continue
            if is_attestation_key(condition):
                attested.setdefault(ATTESTATION_KEYS[condition.folded_key], condition.values[0])
            elif statement.effect is Effect.ALLOW and not condition.folded_key.startswith("aws:principal"):
                given[condition.key] = condition.values[0]
        if given not in contexts:
            contexts.append(given)
    return contexts, attested


def _key_arn(policies: tuple[Policy, ...]) -> str:
    """Return a made-up key in the account of the first principal named: the administrators come first in ours."""
    for principal in _principals(policies).values():
        if principal.account not in {None, _STRANGER}:
            return f"arn:aws:kms:us-east-1:{principal.account}:{_KEY_ID}"
    return f"arn:aws:kms:us-east-1:{_STRANGER}:{_KEY_ID}"


def _access_map(policy: Policy, principals: Mapping[str, Principal], key: str) -> dict[tuple[str, str], Access]:
    contexts, attested = _contexts(policy)
    allows = [
        action_pattern(statement.actions) if not statement.not_action else _EVERY
        for statement in policy.statements
        if statement.effect is Effect.ALLOW
    ]
    found: dict[tuple[str, str], Access] = {}
    for name, principal in principals.items():
        for action in sorted(KEY_ACTIONS | {FUTURE_ACTION}):
            access = Access.DENIED
            found[name, action] = access
            if not any(pattern.fullmatch(action.lower()) for pattern in allows):
                continue
            for extra, reached in (({}, Access.ALLOWED), (attested, Access.ATTESTED)):
                if extra and action not in ATTESTABLE_ACTIONS:
                    continue
                if any(
                    evaluate(
                        Request(principal=principal, action=action, resource=key, context={**context, **extra}),
                        key_policy=policy,
                        identity_policies=(_FULL,),
                    ).allowed
                    for context in contexts
                ):
                    access = reached
                    break
            found[name, action] = access
    return found


def _access(before: Policy, after: Policy) -> Iterator[AccessChange]:
    policies = (before, after)
    principals, key = _principals(policies), _key_arn(policies)
    old, new = _access_map(before, principals, key), _access_map(after, principals, key)
    for name in principals:
        grouped: dict[tuple[Access, Access], list[str]] = {}
        for (who, action), reached in new.items():
            if who == name and old[who, action] is not reached:
                grouped.setdefault((old[who, action], reached), []).append(action)
        for (was, now), actions in grouped.items():
            yield AccessChange(principal=name, actions=tuple(actions), before=was, after=now)
