"""Statements ready to be matched: a policy is compiled once, then judged against many requests.

Spec: IAM User Guide, "Policy evaluation logic", "AWS JSON policy elements: Principal", "NotPrincipal".
"""

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from kms_policies.conditions import CompiledCondition, compile_condition
from kms_policies.document import Effect, Policy, PrincipalElement, Statement
from kms_policies.patterns import Template, action_pattern, match_glob, parse_template
from kms_policies.request import Principal, PrincipalKind, Request

_COMPILED_POLICIES: Final = 512
"""Compiled policies kept: every policy of a large account's key, or a run of the prover's replays."""

_WITH_IDENTITY: Final = frozenset({PrincipalKind.USER, PrincipalKind.ROLE_SESSION, PrincipalKind.FEDERATED})


class Reach(IntEnum):
    """Tell how directly a principal element speaks of a principal; higher needs less from elsewhere."""

    NONE = 0
    """It does not."""
    ACCOUNT = 1
    """It names the account: in an Allow this only lets IAM policies decide."""
    ROLE = 2
    """It names the role, or the user behind a federated session: boundary and session policies still limit it."""
    DIRECT = 3
    """It names the user, the session, the service or everyone: nothing but a Deny limits it in the same account."""


def reach_of(element: PrincipalElement, principal: Principal) -> Reach:
    """Return how directly ``element`` speaks of ``principal``."""
    if element.any:
        return Reach.DIRECT
    if principal.kind is PrincipalKind.SERVICE:
        return Reach.DIRECT if principal.service in element.service else Reach.NONE
    if principal.kind is PrincipalKind.ANONYMOUS:
        return Reach.NONE
    reach = Reach.NONE
    for name in element.aws:
        if name == principal.arn:
            return Reach.DIRECT
        if principal.unique_id is not None and name == principal.unique_id:
            reach = max(reach, Reach.DIRECT if principal.kind is PrincipalKind.USER else Reach.ROLE)
        elif name == principal.role_arn:
            reach = max(reach, Reach.ROLE)
        elif _is_account(name, principal):
            reach = max(reach, Reach.DIRECT if principal.kind is PrincipalKind.ROOT else Reach.ACCOUNT)
    return reach


def _is_account(name: str, principal: Principal) -> bool:
    if name == principal.account:
        return True
    parts = name.split(":", 5)
    return len(parts) == 6 and parts[5] == "root" and parts[4] == principal.account


def _is_spared(element: PrincipalElement, principal: Principal, *, bounded: bool) -> bool:
    """Tell whether a Deny with this ``NotPrincipal`` leaves the principal alone: all its names must be listed."""
    if element.any:
        return True
    if principal.account is None:
        return reach_of(element, principal) is not Reach.NONE
    if bounded and principal.kind in _WITH_IDENTITY:
        return False
    account = any(_is_account(name, principal) for name in element.aws)
    names = {principal.arn} | ({principal.role_arn} if principal.kind is PrincipalKind.ROLE_SESSION else set())
    return account and (principal.kind is PrincipalKind.ROOT or names.issubset(element.aws))


@dataclass(frozen=True, slots=True)
class CompiledStatement:
    """Hold one statement ready to be matched.

    Attributes:
        statement: what it was compiled from.
        actions: matches a lower-case action in full.
        resources: the resource patterns.
        conditions: all must hold.
    """

    statement: Statement
    actions: re.Pattern[str]
    resources: tuple[Template, ...]
    conditions: tuple[CompiledCondition, ...]

    def covers(self, action: str, request: Request) -> bool:
        """Tell whether action (given in lower case) and resource are the statement's."""
        statement = self.statement
        if (self.actions.fullmatch(action) is not None) is statement.not_action:
            return False
        resource = request.resource
        hit = any(
            (atoms := template.atoms(request.folded)) is not None and match_glob(atoms, resource)
            for template in self.resources
        )
        return hit is not statement.not_resource

    def reach(self, request: Request, *, bounded: bool) -> Reach:
        """Return how directly the statement speaks of the request's principal; ``DIRECT`` without a principal.

        Args:
            request: the request.
            bounded: whether the principal has a permissions boundary, which no ``NotPrincipal`` spares.
        """
        statement = self.statement
        if statement.principal is None:
            return Reach.DIRECT
        if not statement.not_principal:
            return reach_of(statement.principal, request.principal)
        if statement.effect is Effect.DENY:
            spared = _is_spared(statement.principal, request.principal, bounded=bounded)
        else:
            spared = reach_of(statement.principal, request.principal) is not Reach.NONE
        return Reach.NONE if spared else Reach.DIRECT

    def fulfilled(self, request: Request) -> bool:
        """Tell whether every condition holds."""
        context = request.folded
        return all(condition.holds(context) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """Hold one policy ready to be matched.

    Attributes:
        policy: what it was compiled from.
        allows: its Allow statements, in order.
        denies: its Deny statements, in order.
    """

    policy: Policy
    allows: tuple[CompiledStatement, ...]
    denies: tuple[CompiledStatement, ...]


def _compile_statement(statement: Statement, *, variables: bool) -> CompiledStatement:
    return CompiledStatement(
        statement,
        action_pattern(statement.actions),
        tuple(parse_template(resource, variables=variables) for resource in statement.resources),
        tuple(compile_condition(condition, variables=variables) for condition in statement.conditions),
    )


@lru_cache(maxsize=_COMPILED_POLICIES)
def compile_policy(policy: Policy) -> CompiledPolicy:
    """Prepare a policy for evaluation; the same policy is prepared once."""
    compiled = [_compile_statement(statement, variables=policy.has_variables) for statement in policy.statements]
    return CompiledPolicy(
        policy,
        tuple(one for one in compiled if one.statement.effect is Effect.ALLOW),
        tuple(one for one in compiled if one.statement.effect is Effect.DENY),
    )
