"""What holds for any policy: parsing is total, deciding is total, a Deny only takes away, an Allow only adds."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kms_policies.document import Policy, PolicyKind, parse_policy
from kms_policies.evaluator import Decision, Outcome, evaluate
from kms_policies.operators import OPERATORS
from kms_policies.request import Grant, Principal, Request
from pcrgate.errors import KeyPolicyError

HOME, ABROAD = "111122223333", "444455556666"
KEY = f"arn:aws:kms:eu-central-1:{HOME}:key/12345678-1234-1234-1234-123456789abc"
ROLE, USER = f"arn:aws:iam::{HOME}:role/parent", f"arn:aws:iam::{HOME}:user/operator"
KEYS = (
    "kms:RecipientAttestation:PCR0",
    "kms:ViaService",
    "kms:EncryptionContextKeys",
    "aws:SourceIp",
    "aws:CurrentTime",
)
VALUES = (
    "a" * 96,
    "b" * 96,
    "a*",
    "10",
    "true",
    "2026-01-01",
    "10.0.0.0/8",
    "QQ==",
    "arn:aws:s3:::b",
    "${aws:username}",
    "",
)
PRINCIPALS = (
    "*",
    {"AWS": "*"},
    {"AWS": ROLE},
    {"AWS": USER},
    {"AWS": HOME},
    {"AWS": ABROAD},
    {"Service": "s3.amazonaws.com"},
)
ACTIONS = ("kms:Decrypt", "kms:*", "*", "kms:De*", "kms:Encrypt", "s3:Get*")
WHO = (
    Principal.from_arn(ROLE),
    Principal.from_arn(USER),
    Principal.of_root(HOME),
    Principal.from_arn(f"arn:aws:iam::{ABROAD}:user/x"),
    Principal.of_service("s3.amazonaws.com"),
    Principal.anonymous(),
)

profile = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for _ in range(draw(st.integers(0, 2))):
        prefix = draw(st.sampled_from(("", "", "ForAnyValue:", "ForAllValues:")))
        name = draw(st.sampled_from(tuple(OPERATORS)))
        suffix = draw(st.sampled_from(("", "IfExists")))
        operator = name if name == "Null" else f"{prefix}{name}{suffix}"
        found.setdefault(operator, {})[draw(st.sampled_from(KEYS))] = draw(
            st.lists(st.sampled_from(VALUES), min_size=1, max_size=2)
        )
    return found


@st.composite
def statements(draw: st.DrawFn, *, named: bool = True) -> dict[str, Any]:
    effect = draw(st.sampled_from(("Allow", "Deny")))
    statement: dict[str, Any] = {
        "Effect": effect,
        "Action": draw(st.sampled_from(ACTIONS)),
        "Resource": draw(st.sampled_from(("*", KEY))),
    }
    if named:
        principal = "NotPrincipal" if effect == "Deny" and draw(st.booleans()) else "Principal"
        statement[principal] = draw(st.sampled_from(PRINCIPALS))
    condition = draw(conditions())
    return statement | ({"Condition": condition} if condition else {})


@st.composite
def readable(draw: st.DrawFn, *, kind: PolicyKind = PolicyKind.KEY) -> list[dict[str, Any]]:
    """Draw statements that the parser takes, one by one."""
    drawn = draw(st.lists(statements(named=kind is PolicyKind.KEY), min_size=1, max_size=4))
    kept = [one for one in drawn if parsed_or_none([one], kind) is not None]
    return kept or [{name: value for name, value in drawn[0].items() if name != "Condition"}]


requests = st.builds(
    Request,
    principal=st.sampled_from(WHO),
    action=st.sampled_from(("kms:Decrypt", "kms:Encrypt")),
    resource=st.just(KEY),
    context=st.dictionaries(
        st.sampled_from(KEYS),
        st.one_of(st.sampled_from(VALUES), st.lists(st.sampled_from(VALUES), max_size=2).map(tuple)),
    ),
)
grants = st.lists(
    st.builds(Grant, grantee_principal=st.sampled_from((ROLE, USER, HOME)), operations=st.just(frozenset({"Decrypt"}))),
    max_size=1,
)


def parsed_or_none(content: list[dict[str, Any]], kind: PolicyKind = PolicyKind.KEY) -> Policy | None:
    try:
        return parse_policy(json.dumps({"Version": "2012-10-17", "Statement": content}), kind=kind)
    except KeyPolicyError:
        return None


def parsed(content: list[dict[str, Any]], kind: PolicyKind = PolicyKind.KEY) -> Policy:
    policy = parsed_or_none(content, kind)
    assert policy is not None
    return policy


def decide(
    request: Request, content: list[dict[str, Any]], own: list[dict[str, Any]], given_grants: list[Grant]
) -> Decision:
    return evaluate(
        request,
        key_policy=parsed(content),
        identity_policies=[parsed(own, PolicyKind.IDENTITY)],
        grants=given_grants,
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
shaped = st.fixed_dictionaries(
    {
        "Version": st.sampled_from(("2012-10-17", 7)),
        "Statement": st.lists(
            st.dictionaries(
                st.sampled_from(("Sid", "Effect", "Principal", "NotPrincipal", "Action", "Resource", "Condition", "x")),
                st.sampled_from(
                    (
                        "Allow",
                        "Deny",
                        "*",
                        "kms:*",
                        {"AWS": "*"},
                        {"AWS": []},
                        {"StringEquals": {"a": "b"}},
                        {"Null": {"a": 1}},
                    )
                )
                | json_values,
            ),
            max_size=2,
        ),
    }
)


@profile
@given(st.one_of(json_values, shaped).map(json.dumps) | st.text() | st.binary(), st.sampled_from(PolicyKind))
def test_parsing_is_total(text: str | bytes, kind: PolicyKind) -> None:
    try:
        said = parse_policy(text, kind=kind).statements[0].label
    except KeyPolicyError as refusal:
        said = refusal.message
    assert said
    assert said.isprintable()


@profile
@given(readable(), readable(kind=PolicyKind.IDENTITY), requests, grants)
def test_deciding_is_total_and_consistent(content: Any, own: Any, request: Request, given_grants: list[Grant]) -> None:
    decision = decide(request, content, own, given_grants)
    assert decision.allowed is (decision.outcome is Outcome.ALLOW)
    assert decision.why
    assert (decision.statement is None) is (not decision.source)
    if decision.outcome is Outcome.EXPLICIT_DENY:
        assert decision.statement is not None
        assert decision.near_misses


@profile
@given(readable(), readable(kind=PolicyKind.IDENTITY), requests, grants, statements())
def test_one_more_deny_never_allows(
    content: Any, own: Any, request: Request, given_grants: list[Grant], extra: dict[str, Any]
) -> None:
    extra = extra | {"Effect": "Deny"}
    if parsed_or_none([extra]) is None:
        return
    with_deny = decide(request, [*content, extra], own, given_grants)
    assert not (with_deny.allowed and not decide(request, content, own, given_grants).allowed)


@profile
@given(readable(), readable(kind=PolicyKind.IDENTITY), requests, grants, st.data())
def test_one_allow_less_never_allows(
    content: Any, own: Any, request: Request, given_grants: list[Grant], data: st.DataObject
) -> None:
    allows = [one for one in content if one["Effect"] == "Allow"]
    if not allows or len(content) == 1:
        return
    gone = data.draw(st.sampled_from(allows))
    fewer = decide(request, [one for one in content if one is not gone], own, given_grants)
    assert not (fewer.allowed and not decide(request, content, own, given_grants).allowed)


@profile
@given(readable(), readable(kind=PolicyKind.IDENTITY), requests, grants, st.randoms(use_true_random=False))
def test_order_of_statements_does_not_matter(
    content: Any, own: Any, request: Request, given_grants: list[Grant], random: Any
) -> None:
    shuffled = list(content)
    random.shuffle(shuffled)
    assert decide(request, shuffled, own, given_grants).outcome is decide(request, content, own, given_grants).outcome


@profile
@given(readable(), readable(kind=PolicyKind.IDENTITY), requests, grants)
def test_case_of_names_does_not_matter(content: Any, own: Any, request: Request, given_grants: list[Grant]) -> None:
    other = [
        one
        | {"Action": one["Action"].swapcase()}
        | (
            {
                "Condition": {
                    op.upper(): {key.swapcase(): value for key, value in keys.items()}
                    for op, keys in one["Condition"].items()
                }
            }
            if "Condition" in one
            else {}
        )
        for one in content
    ]
    swapped = Request(
        principal=request.principal,
        action=request.action.upper(),
        resource=request.resource,
        context={name.swapcase(): value for name, value in request.context.items()},
    )
    assert decide(swapped, other, own, given_grants).outcome is decide(request, content, own, given_grants).outcome
