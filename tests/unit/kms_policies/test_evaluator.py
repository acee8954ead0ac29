"""Decisions: who needs what from which policy, what a Deny, a grant and a key state do, and how it is explained."""

import json
from typing import Any

import pytest

from kms_policies.document import Policy, PolicyKind, parse_policy
from kms_policies.evaluator import Decision, Outcome, Shortfall, evaluate
from kms_policies.request import (
    Grant,
    KeyMetadata,
    KeyState,
    Principal,
    PrincipalKind,
    Request,
    attestation_context,
    encryption_context,
    nitrotpm_context,
)
from pcrgate.errors import ErrorCode, KeyPolicyError
from pcrgate.units import KeyArn, Sha384

HOME, ABROAD = "111122223333", "444455556666"
KEY = f"arn:aws:kms:eu-central-1:{HOME}:key/12345678-1234-1234-1234-123456789abc"
ROLE = f"arn:aws:iam::{HOME}:role/team/parent"
SESSION_ARN = f"arn:aws:sts::{HOME}:assumed-role/parent/i-0123"
USER_ARN = f"arn:aws:iam::{HOME}:user/operator"
ROOT_ARN = f"arn:aws:iam::{HOME}:root"
FEDERATED_ARN = f"arn:aws:sts::{HOME}:federated-user/operator"
STRANGER_ARN = f"arn:aws:iam::{ABROAD}:user/stranger"

SESSION = Principal.from_arn(SESSION_ARN, role_arn=ROLE, unique_id="AROAEXAMPLEEXAMPLE")
USER = Principal.from_arn(USER_ARN, unique_id="AIDAEXAMPLEEXAMPLE")
ROOT = Principal.of_root(HOME)
FEDERATED = Principal.from_arn(FEDERATED_ARN, role_arn=USER_ARN)
STRANGER = Principal.from_arn(STRANGER_ARN)
FOREIGN_ROOT = Principal.of_root(ABROAD)
SERVICE = Principal.of_service("s3.amazonaws.com")
ANYONE = Principal.anonymous()

GOOD, BAD = Sha384(b"\x01" * 48), Sha384(b"\x02" * 48)
PCR0 = "kms:RecipientAttestation:PCR0"


def policy(kind: PolicyKind, *statements: dict[str, Any], version: str = "2012-10-17") -> Policy:
    return parse_policy(json.dumps({"Version": version, "Statement": list(statements)}), kind=kind)


def key_policy(*statements: dict[str, Any]) -> Policy:
    return policy(PolicyKind.KEY, *statements)


def allow(principal: Any = "*", action: Any = "kms:*", **changes: Any) -> dict[str, Any]:
    named = principal if principal == "*" or isinstance(principal, dict) else {"AWS": principal}
    return {"Effect": "Allow", "Principal": named, "Action": action, "Resource": "*"} | changes


def deny(principal: Any = "*", action: Any = "kms:*", **changes: Any) -> dict[str, Any]:
    return allow(principal, action, **changes) | {"Effect": "Deny"}


def own(action: Any = "kms:*", **changes: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": "*"} | changes


IDENTITY_ALLOW = policy(PolicyKind.IDENTITY, own())
IDENTITY_DENY = policy(PolicyKind.IDENTITY, own() | {"Effect": "Deny"})
SESSION_ALLOW = policy(PolicyKind.SESSION, own())
SILENT_SESSION = policy(PolicyKind.SESSION, own("s3:GetObject"))
SILENT_IDENTITY = policy(PolicyKind.IDENTITY, own("s3:GetObject"))


def decide(
    principal: Principal, *statements: dict[str, Any], action: str = "kms:Decrypt", context: Any = None, **others: Any
) -> Decision:
    request = Request(principal=principal, action=action, resource=KEY, context=context or {})
    return evaluate(request, key_policy=key_policy(*statements), **others)


def test_nothing_is_allowed_without_a_statement_that_says_so() -> None:
    for principal in (SESSION, USER, ROOT, FEDERATED, STRANGER, SERVICE):
        decision = decide(principal, allow(ROLE, "kms:DescribeKey"), identity_policies=[IDENTITY_ALLOW])
        assert (decision.allowed, decision.outcome) == (False, Outcome.IMPLICIT_DENY)
        assert decision.statement is None


@pytest.mark.parametrize(
    ("principal", "named"),
    [
        (SESSION, SESSION_ARN),
        (SESSION, ROLE),
        (SESSION, "AROAEXAMPLEEXAMPLE"),
        (SESSION, "*"),
        (USER, USER_ARN),
        (USER, "AIDAEXAMPLEEXAMPLE"),
        (USER, [STRANGER_ARN, USER_ARN]),
        (ROOT, ROOT_ARN),
        (ROOT, HOME),
        (FEDERATED, FEDERATED_ARN),
        (FEDERATED, USER_ARN),
        (SERVICE, {"Service": "s3.amazonaws.com"}),
        (SERVICE, "*"),
    ],
)
def test_in_the_same_account_the_key_policy_alone_suffices_for_whom_it_names(principal: Principal, named: Any) -> None:
    decision = decide(principal, deny(STRANGER_ARN), allow(named, Sid="Named"))
    assert decision.allowed, decision.why
    assert decision.outcome is Outcome.ALLOW
    assert decision.source == "key policy"
    assert decision.statement is not None
    assert decision.statement.label == "statement 1 (Named)"
    assert decision.near_misses == ()


@pytest.mark.parametrize(
    ("principal", "named"),
    [
        (SESSION, f"arn:aws:sts::{HOME}:assumed-role/parent/i-9999"),
        (SESSION, f"arn:aws:iam::{HOME}:role/parent"),
        (SESSION, "AROAOTHEROTHEROTHER"),
        (USER, f"arn:aws:iam::{HOME}:user/Operator"),
        (USER, {"Service": "s3.amazonaws.com"}),
        (SERVICE, {"Service": "ec2.amazonaws.com"}),
        (SERVICE, ROOT_ARN),
        (ROOT, f"arn:aws:iam::{ABROAD}:root"),
        (ANYONE, ROOT_ARN),
    ],
)
def test_whom_the_key_policy_does_not_name_it_does_not_allow(principal: Principal, named: Any) -> None:
    assert not decide(principal, allow(named), identity_policies=[IDENTITY_ALLOW]).allowed


@pytest.mark.parametrize("named", [ROOT_ARN, HOME])
@pytest.mark.parametrize("principal", [SESSION, USER, FEDERATED])
def test_naming_the_account_only_lets_identity_policies_decide(principal: Principal, named: str) -> None:
    refused = decide(principal, allow(named))
    assert refused.outcome is Outcome.IMPLICIT_DENY
    assert "only lets IAM policies decide" in refused.why
    assert refused.near_misses[0].shortfall is Shortfall.NOT_ENOUGH
    allowed = decide(principal, allow(named), identity_policies=[SILENT_IDENTITY, IDENTITY_ALLOW])
    assert allowed.allowed
    assert "identity policy 2" in allowed.why


def test_identity_policies_have_no_effect_without_the_key_policy() -> None:
    assert not decide(USER, allow(ROLE), identity_policies=[IDENTITY_ALLOW]).allowed


def test_across_accounts_both_sides_must_allow() -> None:
    for named in (STRANGER_ARN, f"arn:aws:iam::{ABROAD}:root", ABROAD, "*"):
        refused = decide(STRANGER, allow(named))
        assert refused.outcome is Outcome.IMPLICIT_DENY
        assert "another account" in refused.why
        assert decide(STRANGER, allow(named), identity_policies=[IDENTITY_ALLOW]).allowed
    assert not decide(STRANGER, allow(ROOT_ARN), identity_policies=[IDENTITY_ALLOW]).allowed
    foreign_role = Principal.from_arn(f"arn:aws:iam::{ABROAD}:role/stranger")
    assert not decide(foreign_role, allow(foreign_role.role_arn)).allowed
    assert decide(foreign_role, allow(foreign_role.role_arn), identity_policies=[IDENTITY_ALLOW]).allowed


def test_the_root_user_of_a_named_account_needs_no_identity_policy() -> None:
    assert decide(FOREIGN_ROOT, allow(ABROAD)).allowed
    assert not decide(ROOT, allow(ROLE)).allowed


@pytest.mark.parametrize("where", ["key", "identity", "session", "boundary", "control"])
def test_an_explicit_deny_wins_wherever_it_stands_over_grants_too(where: str) -> None:
    statements = [allow(ROLE), *([deny(ROLE)] if where == "key" else [])]
    decision = decide(
        SESSION,
        *statements,
        identity_policies=[IDENTITY_DENY if where == "identity" else IDENTITY_ALLOW],
        session_policies=[
            SESSION_ALLOW,
            *([policy(PolicyKind.SESSION, own() | {"Effect": "Deny"})] if where == "session" else []),
        ],
        permissions_boundary=IDENTITY_DENY if where == "boundary" else IDENTITY_ALLOW,
        resource_control_policies=[
            policy(PolicyKind.RESOURCE_CONTROL, deny("*", "kms:Decrypt" if where == "control" else "kms:Encrypt"))
        ],
        grants=[Grant(grantee_principal=ROLE, operations=frozenset({"Decrypt"}))],
    )
    assert decision.outcome is Outcome.EXPLICIT_DENY
    assert decision.statement is not None
    assert {"control": "resource control policy", "identity": "identity policy", "key": "key policy"}.get(
        where, where
    ) in decision.source
    assert decision.near_misses[0].shortfall is Shortfall.DENIES


def test_a_deny_on_the_account_reaches_everyone_in_it() -> None:
    for principal in (SESSION, USER, ROOT, FEDERATED):
        assert decide(principal, allow("*"), deny(HOME)).outcome is Outcome.EXPLICIT_DENY
    assert decide(SERVICE, allow("*"), deny(HOME)).allowed


@pytest.mark.parametrize("limit", ["session", "boundary"])
def test_session_policies_and_boundaries_limit_roles_and_delegation_but_not_whom_the_key_policy_names(
    limit: str,
) -> None:
    silent: dict[str, Any] = (
        {"session_policies": [SILENT_SESSION]} if limit == "session" else {"permissions_boundary": SILENT_IDENTITY}
    )
    assert decide(SESSION, allow(SESSION_ARN), **silent).allowed
    assert decide(SESSION, allow("*"), **silent).allowed
    assert not decide(SESSION, allow(ROLE), **silent).allowed
    assert not decide(SESSION, allow(HOME), identity_policies=[IDENTITY_ALLOW], **silent).allowed
    assert not decide(FEDERATED, allow(USER_ARN), **silent).allowed
    assert "boundary or session policy" in decide(SESSION, allow(ROLE), **silent).why
    speaking: dict[str, Any] = (
        {"session_policies": [SILENT_SESSION, SESSION_ALLOW]}
        if limit == "session"
        else {"permissions_boundary": IDENTITY_ALLOW}
    )
    assert decide(SESSION, allow(ROLE), **speaking).allowed
    assert decide(STRANGER, allow("*"), identity_policies=[IDENTITY_ALLOW], **speaking).allowed
    assert not decide(STRANGER, allow("*"), identity_policies=[IDENTITY_ALLOW], **silent).allowed
    assert decide(ROOT, allow(HOME), **silent).allowed


def test_kms_takes_no_anonymous_request() -> None:
    assert "without credentials" in decide(ANYONE, allow("*")).why


@pytest.mark.parametrize(
    ("principal", "listed", "spared"),
    [
        (SESSION, [HOME, ROLE, SESSION_ARN], True),
        (SESSION, [ROOT_ARN, ROLE, SESSION_ARN], True),
        (SESSION, [ROOT_ARN, ROLE], False),
        (SESSION, [ROLE, SESSION_ARN], False),
        (SESSION, [ROOT_ARN], False),
        (USER, [ROOT_ARN, USER_ARN], True),
        (USER, [USER_ARN], False),
        (ROOT, [ROOT_ARN], True),
        (STRANGER, [ROOT_ARN, USER_ARN], False),
        (FEDERATED, [ROOT_ARN, FEDERATED_ARN], True),
    ],
)
def test_a_deny_with_not_principal_spares_only_whose_every_name_is_listed(
    principal: Principal, listed: list[str], spared: bool
) -> None:
    statement = {"Effect": "Deny", "NotPrincipal": {"AWS": listed}, "Action": "kms:*", "Resource": "*"}
    identity = [IDENTITY_ALLOW]
    assert decide(principal, allow("*"), statement, identity_policies=identity).allowed is spared
    if principal is SESSION:
        assert not decide(
            principal, allow("*"), statement, identity_policies=identity, permissions_boundary=IDENTITY_ALLOW
        ).allowed


def test_not_principal_with_everyone_and_with_services() -> None:
    everyone = {"Effect": "Deny", "NotPrincipal": "*", "Action": "kms:*", "Resource": "*"}
    assert decide(USER, allow("*"), everyone).allowed
    service = everyone | {"NotPrincipal": {"Service": "s3.amazonaws.com"}}
    assert decide(SERVICE, allow("*"), service).allowed
    assert not decide(USER, allow("*"), service).allowed


def test_an_allow_with_not_principal_allows_everyone_else() -> None:
    statement = {"Effect": "Allow", "NotPrincipal": {"AWS": ROLE}, "Action": "kms:*", "Resource": "*"}
    assert decide(USER, statement).allowed
    assert not decide(SESSION, statement).allowed


@pytest.mark.parametrize(
    ("pattern", "action", "expected"),
    [
        ("kms:Decrypt", "kms:Decrypt", True),
        ("KMS:dECRYPT", "kms:Decrypt", True),
        ("kms:De*", "kms:DescribeKey", True),
        ("kms:?ecrypt", "kms:Decrypt", True),
        ("kms:?crypt", "kms:Decrypt", False),
        ("kms:ReEncrypt*", "kms:ReEncryptFrom", True),
        ("kms:GenerateDataKey", "kms:GenerateDataKeyPair", False),
        ("*", "kms:Decrypt", True),
        ("s3:*", "kms:Decrypt", False),
        (["s3:*", "kms:Encrypt"], "kms:Encrypt", True),
    ],
)
def test_action_patterns(pattern: Any, action: str, expected: bool) -> None:
    assert decide(USER, allow(USER_ARN, pattern), action=action).allowed is expected
    reverse = {name: value for name, value in allow(USER_ARN).items() if name != "Action"} | {"NotAction": pattern}
    assert decide(USER, reverse, action=action).allowed is not expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", True),
        (KEY, True),
        (KEY.upper(), None),
        (KEY[:-1] + "?", True),
        (KEY + "x", False),
        ("arn:aws:kms:*", True),
        (f"arn:aws:kms:*:{HOME}:key/*", True),
        (f"arn:aws:kms:*:{ABROAD}:key/*", False),
        ("arn:aws:kms:*:${kms:CallerAccount}:key/*", True),
        ("arn:aws:kms:*:*:key/${aws:none}", False),
        (["arn:aws:s3:::b", "*"], True),
    ],
)
def test_resource_patterns(pattern: Any, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(KeyPolicyError):
            decide(USER, allow(USER_ARN, Resource=pattern))
        return
    assert decide(USER, allow(USER_ARN, Resource=pattern)).allowed is expected
    reverse = {name: value for name, value in allow(USER_ARN).items() if name != "Resource"} | {"NotResource": pattern}
    assert decide(USER, reverse).allowed is not expected


def guarded() -> list[dict[str, Any]]:
    good, unless = {PCR0: GOOD.hex()}, {"StringNotEqualsIgnoreCase": {PCR0: [GOOD.hex(), "f" * 96]}}
    return [
        allow(ROLE, "kms:Decrypt", Sid="Release", Condition={"StringEqualsIgnoreCase": good}),
        deny("*", ["kms:Decrypt", "kms:GenerateDataKey"], Sid="Unless", Condition=unless),
        allow(HOME, "kms:*", Sid="Careless"),
    ]


@pytest.mark.parametrize(
    ("context", "outcome"),
    [
        (attestation_context({0: GOOD}), Outcome.ALLOW),
        (attestation_context({0: BAD}), Outcome.EXPLICIT_DENY),
        (attestation_context({8: GOOD}), Outcome.EXPLICIT_DENY),
        (nitrotpm_context({4: GOOD}), Outcome.EXPLICIT_DENY),
        ({}, Outcome.EXPLICIT_DENY),
        ({PCR0.upper(): GOOD.hex()}, Outcome.ALLOW),
    ],
)
def test_deny_unless_attested(context: dict[str, str], outcome: Outcome) -> None:
    assert decide(SESSION, *guarded(), context=context, identity_policies=[IDENTITY_ALLOW]).outcome is outcome


def test_a_refusal_says_what_was_asked_for_and_what_came() -> None:
    decision = decide(SESSION, *guarded(), context=attestation_context({0: BAD}))
    assert decision.why == "statement 1 (Unless) of the key policy denies it"
    by_label = {miss.statement.label: miss for miss in decision.near_misses}
    release = by_label["statement 0 (Release)"]
    assert release.shortfall is Shortfall.CONDITION
    assert release.conditions[0].condition.values == (GOOD.hex(),)
    assert release.conditions[0].present == (BAD.hex(),)
    assert not release.conditions[0].held
    assert by_label["statement 1 (Unless)"].conditions[0].held
    assert by_label["statement 2 (Careless)"].shortfall is Shortfall.NOT_ENOUGH
    others = decide(USER, allow(ROLE), guarded()[0]).near_misses
    assert [miss.shortfall for miss in others] == [Shortfall.PRINCIPAL, Shortfall.PRINCIPAL_AND_CONDITION]


def test_contexts_of_attestation_documents_and_encryption_contexts() -> None:
    assert attestation_context({0: GOOD, 3: BAD}) == {
        "kms:RecipientAttestation:PCR0": "01" * 48,
        "kms:RecipientAttestation:PCR3": "02" * 48,
        "kms:RecipientAttestation:ImageSha384": "01" * 48,
    }
    assert nitrotpm_context({12: GOOD}) == {"kms:RecipientAttestation:NitroTPMPCR12": "01" * 48}
    assert encryption_context({}) == {}
    assert encryption_context({"class": "weights"}) == {
        "kms:EncryptionContextKeys": ("class",),
        "kms:EncryptionContext:class": "weights",
    }


@pytest.mark.parametrize(
    ("principal", "key", "value"),
    [
        (SESSION, "aws:PrincipalArn", ROLE),
        (USER, "aws:PrincipalArn", USER_ARN),
        (FEDERATED, "aws:PrincipalArn", FEDERATED_ARN),
        (USER, "aws:username", "operator"),
        (SESSION, "kms:CallerAccount", HOME),
        (ROOT, "aws:PrincipalType", "Account"),
        (SERVICE, "aws:PrincipalServiceName", "s3.amazonaws.com"),
        (SERVICE, "aws:PrincipalIsAWSService", "true"),
    ],
)
def test_the_keys_aws_fills_from_the_principal(principal: Principal, key: str, value: str) -> None:
    assert decide(principal, allow("*", Condition={"StringEquals": {key: value}})).allowed
    given = {key: "other"}
    assert not decide(principal, allow("*", Condition={"StringEquals": {key: value}}), context=given).allowed


def test_every_condition_of_a_statement_must_hold() -> None:
    both = {"StringEquals": {"a:b": "1", "c:d": "2"}, "Bool": {"e:f": "true"}}
    full = {"a:b": "1", "c:d": "2", "e:f": "true"}
    assert decide(USER, allow(USER_ARN, Condition=both), context=full).allowed
    for missing in full:
        rest = {name: value for name, value in full.items() if name != missing}
        assert not decide(USER, allow(USER_ARN, Condition=both), context=rest).allowed


def test_an_action_without_a_key_is_for_identity_policies_alone() -> None:
    request = Request(principal=USER, action="kms:GenerateRandom", resource="*")
    assert request.account is None
    refused = evaluate(request, key_policy=key_policy(allow("*")))
    assert refused.outcome is Outcome.IMPLICIT_DENY
    assert evaluate(request, key_policy=None, identity_policies=[IDENTITY_ALLOW]).allowed
    limited = evaluate(
        request, key_policy=None, identity_policies=[IDENTITY_ALLOW], permissions_boundary=SILENT_IDENTITY
    )
    assert not limited.allowed
    grant = Grant(grantee_principal=USER_ARN, operations=frozenset({"GenerateRandom"}))
    assert not evaluate(request, key_policy=None, grants=[grant]).allowed
    with pytest.raises(KeyPolicyError) as caught:
        evaluate(Request(principal=USER, action="kms:Decrypt", resource=KEY), key_policy=None)
    assert caught.value.code is ErrorCode.POLICY_REQUEST


def test_policies_in_the_wrong_place_are_refused() -> None:
    request = Request(principal=USER, action="kms:Decrypt", resource=KEY)
    with pytest.raises(KeyPolicyError):
        evaluate(request, key_policy=IDENTITY_ALLOW)
    for place in ("identity_policies", "session_policies", "resource_control_policies"):
        with pytest.raises(KeyPolicyError):
            evaluate(request, key_policy=key_policy(allow()), **{place: [key_policy(allow())]})  # type: ignore[arg-type]


@pytest.mark.parametrize("grantee", [ROLE, SESSION_ARN, ROOT_ARN, HOME])
def test_a_grant_allows_whatever_the_conditions_of_the_key_policy_say(grantee: str) -> None:
    grant = Grant(grantee_principal=grantee, operations=frozenset({"Decrypt"}), grant_id="g-1")
    conditioned = guarded()[0]
    decision = decide(SESSION, conditioned, grants=[grant])
    assert decision.allowed
    assert decision.grant is grant
    assert decision.statement is None
    assert "g-1" in decision.why
    assert not decide(SESSION, conditioned, action="kms:Encrypt", grants=[grant]).allowed
    assert not decide(STRANGER, conditioned, grants=[grant]).allowed


def test_a_policy_decides_before_a_grant() -> None:
    grant = Grant(grantee_principal=ROLE, operations=frozenset({"Decrypt"}))
    assert decide(SESSION, allow(ROLE), grants=[grant]).grant is None


CRYPTOGRAPHIC = ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:Decapsulate")


@pytest.mark.parametrize(
    ("state", "refused", "carried_out"),
    [
        (KeyState.ENABLED, ("kms:CancelKeyDeletion",), (*CRYPTOGRAPHIC, "kms:PutKeyPolicy")),
        (KeyState.DISABLED, (*CRYPTOGRAPHIC, "kms:CreateGrant"), ("kms:EnableKey", "kms:ScheduleKeyDeletion")),
        (
            KeyState.PENDING_DELETION,
            (*CRYPTOGRAPHIC, "kms:EnableKey", "kms:ScheduleKeyDeletion", "kms:TagResource"),
            ("kms:CancelKeyDeletion", "kms:PutKeyPolicy", "kms:RevokeGrant", "kms:DescribeKey"),
        ),
        (KeyState.PENDING_REPLICA_DELETION, CRYPTOGRAPHIC, ("kms:CancelKeyDeletion",)),
        (KeyState.PENDING_IMPORT, (*CRYPTOGRAPHIC, "kms:DisableKey"), ("kms:ImportKeyMaterial",)),
        (KeyState.UNAVAILABLE, CRYPTOGRAPHIC, ("kms:DisableKey", "kms:CreateGrant", "kms:ScheduleKeyDeletion")),
        (KeyState.CREATING, CRYPTOGRAPHIC, ("kms:DescribeKey", "kms:PutKeyPolicy")),
        (KeyState.UPDATING, ("kms:ReplicateKey", "kms:DisableKey"), CRYPTOGRAPHIC),
    ],
)
def test_key_states(state: KeyState, refused: tuple[str, ...], carried_out: tuple[str, ...]) -> None:
    key = KeyMetadata(arn=KeyArn.parse(KEY), state=state)
    assert key.account == HOME
    for action in refused:
        decision = decide(USER, allow(USER_ARN), action=action, key=key)
        assert decision.outcome is Outcome.KEY_STATE, action
        assert not decision.allowed
        assert state.value in decision.why
    for action in carried_out:
        assert decide(USER, allow(USER_ARN), action=action.swapcase(), key=key).allowed, action


def test_a_deny_is_told_before_the_state_of_the_key() -> None:
    key = KeyMetadata(arn=KeyArn.parse(KEY), state=KeyState.DISABLED)
    assert decide(USER, allow(), deny(), key=key).outcome is Outcome.EXPLICIT_DENY
    assert decide(USER, allow(ROLE), key=key).outcome is Outcome.IMPLICIT_DENY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "root",
        HOME,
        "arn:aws:iam::1:root",
        f"arn:aws:iam::{HOME}:group/x",
        f"arn:aws:iam::{HOME}:root/x",
        f"arn:aws:sts::{HOME}:root",
        f"arn:aws:iam::{HOME}:user/",
        f"arn:aws:sts::{HOME}:assumed-role/x",
        f"arn:aws:sts::{HOME}:assumed-role/x/y/z",
        f"arn:aws:iam::{HOME}:assumed-role/x/y",
        f"arn:aws:sts::{HOME}:federated-user/",
    ],
)
def test_what_is_no_principal(text: str) -> None:
    with pytest.raises(KeyPolicyError) as caught:
        Principal.from_arn(text)
    assert caught.value.code is ErrorCode.POLICY_REQUEST


def test_principals_from_arns() -> None:
    of_role = Principal.from_arn(ROLE)
    assert (of_role.kind, of_role.role_arn) == (PrincipalKind.ROLE_SESSION, ROLE)
    assert of_role.arn == f"arn:aws:sts::{HOME}:assumed-role/parent/session"
    guessed = Principal.from_arn(SESSION_ARN)
    assert guessed.role_arn == f"arn:aws:iam::{HOME}:role/parent"
    assert Principal.from_arn(ROOT_ARN) == ROOT
    assert [str(one) for one in (USER, SERVICE, ANYONE)] == [USER_ARN, "s3.amazonaws.com", "anonymous"]
    with pytest.raises(KeyPolicyError):
        Principal.of_root("1")


def test_a_context_key_given_twice_in_other_letters_is_refused() -> None:
    with pytest.raises(KeyPolicyError):
        Request(principal=USER, action="kms:Decrypt", resource=KEY, context={"a:b": "1", "A:B": "2"})
