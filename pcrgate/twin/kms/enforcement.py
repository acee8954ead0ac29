"""The one place where the twin decides: may this caller do this to that key, with this evidence?

Every operation comes here with its checks, and nothing is done before all of them pass. The decision itself is
``kms_policies.evaluator.evaluate``; this module gathers what it needs and words the refusal as AWS does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from kms_policies.decision import Decision, Outcome, Shortfall
from kms_policies.document import Policy, PolicyKind, parse_policy
from kms_policies.evaluator import evaluate
from kms_policies.operations import KEYLESS_ACTIONS
from kms_policies.request import Grant, PrincipalKind, Request
from pcrgate.errors import KeyPolicyError
from pcrgate.twin.kms.enforcement_caller import AuthenticatedCaller
from pcrgate.twin.kms.interface import AuthorizationCheck, ContextValue, GrantDescription
from pcrgate.twin.kms.service_errors import AwsCode, AwsError
from pcrgate.twin.propagation import Propagation

PARSED_POLICIES: Final = 1024
"""Parsed policies kept: more than a laptop's account has, at some 10 kB each."""

_ATTESTED: Final = "kms:recipientattestation:"
_REGION: Final = "aws:requestedregion"
_ALLOW_ALL: Final = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
_DENY_SOURCES: Final = {
    "key policy": "a resource-based policy",
    "identity policy": "an identity-based policy",
    "boundary": "a permissions boundary",
    "session policy": "a session policy",
    "resource control policy": "a resource control policy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Hold one request with every policy that has a say.

    Attributes:
        request: principal, action, resource and context.
        key_policy: None for an action without a key.
        identity: identity policies.
        session: session policies.
        boundary: the permissions boundary, or None.
        grants: the grants in force.
    """

    request: Request
    key_policy: Policy | None
    identity: Sequence[Policy] = ()
    session: Sequence[Policy] = ()
    boundary: Policy | None = None
    grants: Sequence[Grant] = field(default=())

    def decide(self) -> Decision:
        """Evaluate it."""
        return evaluate(
            self.request,
            key_policy=self.key_policy,
            identity_policies=self.identity,
            session_policies=self.session,
            permissions_boundary=self.boundary,
            grants=self.grants,
        )


class Enforcement:
    """Judge authorisation checks."""

    def __init__(self, propagation: Propagation) -> None:
        self._propagation = propagation

    def authorize(
        self, check: AuthorizationCheck, caller: AuthenticatedCaller, attestation: Mapping[str, ContextValue]
    ) -> None:
        """Let the check pass, or say why not.

        Args:
            check: action, resource, key and what the request says.
            caller: who asks, over which connection.
            attestation: the condition keys of the verified document; empty without one.

        Raises:
            AwsError: ``AccessDeniedException``; ``ValidationException`` for context names that differ only in case.
        """
        question = self._question(check, caller, attestation)
        decision = question.decide()
        if decision.allowed:
            return
        retiring = bool({caller.arn, caller.role_arn} & check.permitted_principals)
        if retiring and decision.outcome is not Outcome.EXPLICIT_DENY:
            return
        raise AwsError(AwsCode.ACCESS_DENIED, denial_message(question, decision))

    def _question(
        self, check: AuthorizationCheck, caller: AuthenticatedCaller, attestation: Mapping[str, ContextValue]
    ) -> Question:
        # Only a verified document speaks of measurements, whatever the request brings along.
        said = {name: value for name, value in check.context.items() if not name.lower().startswith(_ATTESTED)}
        request = make_request(check.action, check.resource, caller, said | dict(attestation))
        if check.key is None:
            return caller_question(request, caller, key_policy=_keyless_policy(check, caller))
        key = self._propagation.effective(check.key, check.grant_tokens)
        try:
            key_policy = parsed(key.policy, PolicyKind.KEY)
        except KeyPolicyError as error:
            # A policy that nobody can read allows nothing.
            message = f"The key policy of {key.arn} cannot be read ({error.message})"
            raise AwsError(AwsCode.ACCESS_DENIED, message) from error
        question = caller_question(request, caller, key_policy=key_policy)
        counting = check.counting_grants
        grants = (grant for grant in key.grants if counting is None or grant.grant_id in counting)
        return replace(question, grants=tuple(_grant(grant) for grant in grants))


def make_request(
    action: str, resource: str, caller: AuthenticatedCaller, context: Mapping[str, ContextValue]
) -> Request:
    """Return the request as the evaluator sees it; what the connection says wins over what the request says.

    Only the Region may be another than the connection's: ReplicateKey also asks for one where the replica will be.

    Raises:
        AwsError: ``ValidationException`` for names of the encryption context that differ only in case.
    """
    connection = {name.lower() for name in caller.connection} - {_REGION}
    said = {name: value for name, value in context.items() if name.lower() not in connection}
    elsewhere = any(name.lower() == _REGION for name in said)
    carried = {name: value for name, value in caller.connection.items() if not elsewhere or name.lower() != _REGION}
    try:
        return Request(
            principal=caller.identity.principal,
            action=action,
            resource=resource,
            context=said | carried,
        )
    except KeyPolicyError as error:
        raise AwsError(AwsCode.VALIDATION, f"The request cannot be authorised: {error.message}") from error


def caller_question(request: Request, caller: AuthenticatedCaller, *, key_policy: Policy | None) -> Question:
    """Return the question with the caller's own policies.

    Raises:
        AwsError: ``AccessDeniedException`` when one of them cannot be read: what it denies is unknown.
    """
    identity = caller.identity
    root = identity.principal.kind is PrincipalKind.ROOT
    try:
        return Question(
            request=request,
            key_policy=key_policy,
            # The root user needs no identity policy; for an action without a key nothing else would speak for it.
            identity=tuple(
                parsed(text, PolicyKind.IDENTITY) for text in ((_ALLOW_ALL,) if root else identity.identity_policies)
            ),
            session=tuple(parsed(text, PolicyKind.SESSION) for text in identity.session_policies),
            boundary=None if identity.boundary is None else parsed(identity.boundary, PolicyKind.IDENTITY),
        )
    except KeyPolicyError as error:
        message = f"A policy of {request.principal} cannot be read ({error.message})"
        raise AwsError(AwsCode.ACCESS_DENIED, message) from error


def denial_message(question: Question, decision: Decision) -> str:
    """Return what AWS would say of a refusal: principal, action, resource, and which kind of policy refused."""
    request = question.request
    subject = f"User: {request.principal} is not authorized to perform: {request.action}"
    if request.resource != "*":
        subject += f" on resource: {request.resource}"
    if decision.outcome is Outcome.EXPLICIT_DENY:
        source = decision.source.rstrip("0123456789").rstrip()
        return f"{subject} with an explicit deny in {_DENY_SOURCES[source]}"
    return f"{subject} because no {_silent_policy(question, decision)} allows the {request.action} action"


def _silent_policy(question: Question, decision: Decision) -> str:
    if question.session and replace(question, session=()).decide().allowed:
        return "session policy"
    if question.boundary is not None and replace(question, boundary=None).decide().allowed:
        return "permissions boundary"
    delegated = any(
        miss.source == "key policy" and miss.shortfall is Shortfall.NOT_ENOUGH for miss in decision.near_misses
    )
    return "identity-based policy" if question.key_policy is None or delegated else "resource-based policy"


def _keyless_policy(check: AuthorizationCheck, caller: AuthenticatedCaller) -> Policy | None:
    # An alias has no policy of its own: IAM of the account decides, as if a key policy had left it to IAM.
    if check.action in KEYLESS_ACTIONS:
        return None
    statement = f'{{"Effect":"Allow","Principal":{{"AWS":"{caller.account}"}},"Action":"kms:*","Resource":"*"}}'
    return parsed(f'{{"Version":"2012-10-17","Statement":[{statement}]}}', PolicyKind.KEY)


def _grant(grant: GrantDescription) -> Grant:
    return Grant(
        grantee_principal=grant.grantee,
        operations=frozenset(grant.operations),
        encryption_context_equals=grant.context_equals,
        encryption_context_subset=grant.context_subset,
        source_arn=grant.source_arn,
        retiring_principal=grant.retiring,
        grant_id=grant.grant_id,
    )


@lru_cache(maxsize=PARSED_POLICIES)
def parsed(text: str, kind: PolicyKind) -> Policy:
    """Return the parsed policy, kept for the next request.

    Raises:
        KeyPolicyError: when it cannot be read.
    """
    return parse_policy(text, kind=kind)
