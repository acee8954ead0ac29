"""The decision on one request to KMS: key policy, identity policies, grants and key state together.

The order is IAM's: default deny; an explicit Deny anywhere wins, over grants too; then an Allow is needed, from the key
policy alone in the same account, from both sides across accounts, or from a grant; last, the key's state.

Where AWS's documentation is silent the answer here is the one that lets more through, so that a proof never rests on
luck: a grant to an account counts for everyone in it, and neither boundary nor session policies limit a grant.

Spec: IAM User Guide, "Policy evaluation logic", "Cross-account policy evaluation logic"; KMS Developer Guide, "Key
policies", "Default key policy", "Grants in AWS KMS", "Key states of AWS KMS keys".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from kms_policies.conditions import present_values
from kms_policies.decision import ConditionReport, Decision, NearMiss, Outcome, Shortfall
from kms_policies.document import Effect, Policy, PolicyKind, Statement
from kms_policies.grants import find_grant
from kms_policies.key_states import refuses
from kms_policies.matching import CompiledPolicy, CompiledStatement, Reach, compile_policy
from kms_policies.operations import KEYLESS_ACTIONS
from kms_policies.request import Grant, KeyMetadata, PrincipalKind, Request
from pcrgate.errors import ErrorCode, KeyPolicyError

__all__ = ["ConditionReport", "Decision", "NearMiss", "Outcome", "Shortfall", "evaluate"]

_KEYLESS: Final = frozenset(action.lower() for action in KEYLESS_ACTIONS)
_WITHOUT_IDENTITY: Final = frozenset({PrincipalKind.SERVICE, PrincipalKind.ANONYMOUS})


_Sourced: TypeAlias = tuple[str, CompiledPolicy]


@dataclass(frozen=True, slots=True)
class _Policies:
    """Hold every policy that has a say, compiled and named."""

    key: tuple[_Sourced, ...]
    identity: tuple[_Sourced, ...]
    boundary: tuple[_Sourced, ...]
    session: tuple[_Sourced, ...]
    control: tuple[_Sourced, ...]

    def __iter__(self) -> Iterator[_Sourced]:
        for group in (self.control, self.key, self.identity, self.boundary, self.session):
            yield from group


def _named(policies: Sequence[Policy], kind: PolicyKind, name: str) -> tuple[_Sourced, ...]:
    for policy in policies:
        if policy.kind is not kind:
            raise KeyPolicyError(
                ErrorCode.POLICY_REQUEST, f"a {policy.kind.value} was given as {name}, expected a {kind.value}"
            )
    if len(policies) == 1:
        return ((name, compile_policy(policies[0])),)
    return tuple((f"{name} {number}", compile_policy(policy)) for number, policy in enumerate(policies, 1))


@dataclass(frozen=True, slots=True)
class _Found:
    source: str
    statement: Statement
    reach: Reach


def _first_deny(policies: _Policies, action: str, request: Request) -> _Found | None:
    bounded = bool(policies.boundary)
    for source, compiled in policies:
        for one in compiled.denies:
            if one.covers(action, request) and one.reach(request, bounded=bounded) and one.fulfilled(request):
                return _Found(source, one.statement, Reach.DIRECT)
    return None


def _best_allow(group: tuple[_Sourced, ...], action: str, request: Request) -> _Found | None:
    """Return the Allow that reaches furthest, the first among equals."""
    best: _Found | None = None
    for source, compiled in group:
        for one in compiled.allows:
            if not one.covers(action, request):
                continue
            reach = one.reach(request, bounded=False)
            if reach > (Reach.NONE if best is None else best.reach) and one.fulfilled(request):
                best = _Found(source, one.statement, reach)
                if reach is Reach.DIRECT:
                    return best
    return best


def _report(one: CompiledStatement, request: Request) -> tuple[ConditionReport, ...]:
    return tuple(
        ConditionReport(
            condition=each.condition,
            present=present_values(each.condition, request.folded),
            held=each.holds(request.folded),
        )
        for each in one.conditions
    )


def _near_misses(policies: _Policies, action: str, request: Request) -> tuple[NearMiss, ...]:
    """Return the statements about this action and key: those that deny, and the Allows that fell short."""
    misses: list[NearMiss] = []
    bounded = bool(policies.boundary)
    for source, compiled in policies:
        for one in (*compiled.denies, *compiled.allows):
            if not one.covers(action, request):
                continue
            named, fulfilled = one.reach(request, bounded=bounded) is not Reach.NONE, one.fulfilled(request)
            if one.statement.effect is Effect.DENY:
                if not (named and fulfilled):
                    continue
                shortfall = Shortfall.DENIES
            elif named:
                shortfall = Shortfall.NOT_ENOUGH if fulfilled else Shortfall.CONDITION
            else:
                shortfall = Shortfall.PRINCIPAL if fulfilled else Shortfall.PRINCIPAL_AND_CONDITION
            misses.append(
                NearMiss(source=source, statement=one.statement, shortfall=shortfall, conditions=_report(one, request))
            )
    return tuple(sorted(misses, key=lambda miss: miss.shortfall is not Shortfall.DENIES))


def _allow(found: _Found, why: str) -> Decision:
    return Decision(
        allowed=True,
        outcome=Outcome.ALLOW,
        statement=found.statement,
        source=found.source,
        grant=None,
        why=why,
        near_misses=(),
    )


def _within_limits(policies: _Policies, action: str, request: Request) -> bool:
    """Tell whether boundary and session policies, where there are any, allow the request."""
    return all(
        not group or _best_allow(group, action, request) is not None for group in (policies.boundary, policies.session)
    )


def _name(found: _Found) -> str:
    return f"{found.statement.label} of the {found.source}"


def _by_policies(policies: _Policies, action: str, request: Request, *, keyless: bool) -> Decision | str:
    """Return the allowing decision, or the sentence that says what is missing."""
    principal = request.principal
    root = principal.kind is PrincipalKind.ROOT
    identity = None if principal.kind in _WITHOUT_IDENTITY else _best_allow(policies.identity, action, request)
    if principal.kind is PrincipalKind.ANONYMOUS:
        return "KMS takes no request without credentials"
    if keyless:
        if identity is not None and _within_limits(policies, action, request):
            return _allow(identity, f"{_name(identity)} allows it; the action has no key")
        return f"the action has no key, and no identity policy (within boundary and session) allows {request.action}"
    found = _best_allow(policies.key, action, request)
    if found is None:
        return f"the key policy holds no Allow of {request.action} for this request"
    if principal.kind is PrincipalKind.SERVICE:
        return _allow(found, f"{_name(found)} names the service")
    limited = not root and not _within_limits(policies, action, request)
    same_account = principal.account == request.account
    if same_account and found.reach is Reach.DIRECT:
        return _allow(found, f"{_name(found)} names the principal or everyone")
    if limited:
        return f"{_name(found)} would allow it, but a permissions boundary or session policy does not"
    if same_account and found.reach is Reach.ROLE:
        return _allow(found, f"{_name(found)} names the role")
    if root:
        return _allow(found, f"{_name(found)} names the account, and its root user needs no identity policy")
    if identity is None:
        needed = "only lets IAM policies decide" if same_account else "names a principal of another account"
        return f"{_name(found)} {needed}, and no identity policy allows {request.action}"
    return _allow(found, f"{_name(found)} lets IAM policies decide, and {_name(identity)} allows it")


def evaluate(
    request: Request,
    *,
    key_policy: Policy | None,
    identity_policies: Sequence[Policy] = (),
    session_policies: Sequence[Policy] = (),
    permissions_boundary: Policy | None = None,
    resource_control_policies: Sequence[Policy] = (),
    grants: Sequence[Grant] = (),
    key: KeyMetadata | None = None,
) -> Decision:
    """Decide one request.

    Args:
        request: who asks for what, on which key, with which context.
        key_policy: the key's policy; ``None`` only for an action without a key.
        identity_policies: every policy attached to the user or role, or inherited from its groups.
        session_policies: the policies passed when the session was made; more than one add up.
        permissions_boundary: the boundary of the user or role, of kind ``IDENTITY``.
        resource_control_policies: those of the key's account; only their Deny statements count, the full access that
            Organizations attaches is taken as given.
        grants: the grants on the key.
        key: the key's metadata; without it the key is taken as enabled.

    Raises:
        KeyPolicyError: ``policy-request`` when a policy is of another kind than its place asks for, or the key policy
            is missing.
    """
    action = request.action.lower()
    keyless = action in _KEYLESS
    if key_policy is None and not keyless:
        raise KeyPolicyError(ErrorCode.POLICY_REQUEST, f"{request.action} is judged by a key policy, none was given")
    policies = _Policies(
        () if key_policy is None or keyless else _named((key_policy,), PolicyKind.KEY, "key policy"),
        _named(identity_policies, PolicyKind.IDENTITY, "identity policy"),
        () if permissions_boundary is None else _named((permissions_boundary,), PolicyKind.IDENTITY, "boundary"),
        _named(session_policies, PolicyKind.SESSION, "session policy"),
        _named(resource_control_policies, PolicyKind.RESOURCE_CONTROL, "resource control policy"),
    )
    denied = _first_deny(policies, action, request)
    if denied is not None:
        return Decision(
            allowed=False,
            outcome=Outcome.EXPLICIT_DENY,
            statement=denied.statement,
            source=denied.source,
            grant=None,
            why=f"{_name(denied)} denies it",
            near_misses=_near_misses(policies, action, request),
        )
    decision = _by_policies(policies, action, request, keyless=keyless)
    if isinstance(decision, str):
        grant = None if keyless else find_grant(grants, request)
        if grant is None:
            return Decision(
                allowed=False,
                outcome=Outcome.IMPLICIT_DENY,
                statement=None,
                source="",
                grant=None,
                why=decision,
                near_misses=_near_misses(policies, action, request),
            )
        decision = Decision(
            allowed=True,
            outcome=Outcome.ALLOW,
            statement=None,
            source="",
            grant=grant,
            why=f"grant {grant.grant_id or 'without id'} allows it, whatever the key policy's conditions say",
            near_misses=(),
        )
    if key is not None and not keyless and refuses(key.state, request.action):
        return Decision(
            allowed=False,
            outcome=Outcome.KEY_STATE,
            statement=decision.statement,
            source=decision.source,
            grant=decision.grant,
            why=f"it would be allowed, but a key in state {key.state.value} refuses {request.action}",
            near_misses=(),
        )
    return decision
