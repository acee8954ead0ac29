"""One question put to both evaluators, each in its own terms."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from kms_policies.document import Policy, PolicyKind, parse_policy
from kms_policies.evaluator import Outcome, evaluate
from kms_policies.request import Principal, PrincipalKind, Request
from tests.contract.iam_simulate.cases import HOME, Policies, Question

ANSWERS: Final = MappingProxyType(
    {
        "Allowed": Outcome.ALLOW,
        "ExplicitlyDenied": Outcome.EXPLICIT_DENY,
        "ImplicitlyDenied": Outcome.IMPLICIT_DENY,
    }
)
_SPELT: Final = MappingProxyType(
    {
        name.lower(): name
        for name in (
            "aws:PrincipalArn",
            "aws:PrincipalAccount",
            "aws:PrincipalType",
            "aws:PrincipalIsAWSService",
            "aws:PrincipalServiceName",
            "aws:username",
            "kms:CallerAccount",
        )
    }
)
_NO_LIMIT_BYTES: Final = 1_000_000
_ALLOW_ALL: Final = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """Hold a set of policies as our parser reads it."""

    key: Policy
    identity: tuple[Policy, ...]
    control: tuple[Policy, ...]
    session: tuple[Policy, ...]
    boundary: Policy | None


def _parse(document: Mapping[str, Any], kind: PolicyKind) -> Policy:
    return parse_policy(json.dumps(document), kind=kind, max_bytes=_NO_LIMIT_BYTES)


def parse_all(policies: Policies) -> Parsed:
    """Parse every document of a set."""
    return Parsed(
        key=_parse(policies.key_policy, PolicyKind.KEY),
        identity=tuple(_parse(document, PolicyKind.IDENTITY) for document in policies.identity),
        control=tuple(_parse(document, PolicyKind.RESOURCE_CONTROL) for document in policies.control),
        session=() if policies.session is None else (_parse(policies.session, PolicyKind.SESSION),),
        boundary=None if policies.boundary is None else _parse(policies.boundary, PolicyKind.IDENTITY),
    )


def request_of(question: Question) -> Request:
    """Return the question as our evaluator takes it."""
    name = question.principal
    principal = Principal.from_arn(name) if name.startswith("arn:") else Principal.of_service(name)
    context = {key: tuple(value) if isinstance(value, list) else value for key, value in question.context.items()}
    return Request(principal=principal, action=question.action, resource=question.resource, context=context)


def decide(parsed: Parsed, request: Request) -> Outcome:
    """Return our outcome; roots and services have no policies of their own, users no session policy."""
    kind = request.principal.kind
    if kind in (PrincipalKind.ROOT, PrincipalKind.SERVICE):
        parsed = replace(parsed, identity=(), session=(), boundary=None)
    elif kind is PrincipalKind.USER:
        parsed = replace(parsed, session=())
    return evaluate(
        request,
        key_policy=parsed.key,
        identity_policies=parsed.identity,
        session_policies=parsed.session,
        permissions_boundary=parsed.boundary,
        resource_control_policies=parsed.control,
    ).outcome


def line_for(policies: Policies, request: Request, question: Question) -> dict[str, Any]:
    """Return the question as the simulator takes it.

    The keys that AWS derives from the principal are written out, and an account root gets the identity policy that
    the simulator does not imply (README, deviation 1).
    """
    kind = request.principal.kind
    if kind is PrincipalKind.ROOT:
        policies = replace(policies, identity=[_ALLOW_ALL], session=None, boundary=None)
    elif kind is PrincipalKind.SERVICE:
        policies = replace(policies, identity=(), session=None, boundary=None)
    elif kind is PrincipalKind.USER:
        policies = replace(policies, session=None)
    given = {key.lower() for key in question.context}
    derived = {_SPELT[key]: value for key, value in request.folded.items() if key not in given}
    return {
        "principal": question.principal,
        "action": question.action,
        "resource": question.resource,
        "account": HOME,
        "context": derived | dict(question.context),
        "keyPolicy": policies.key_policy,
        "identity": list(policies.identity),
        "control": list(policies.control),
        "session": policies.session,
        "boundary": policies.boundary,
    }
