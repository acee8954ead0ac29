"""The enforcement point alone: who is asked, what happens when a policy cannot be read, which context wins."""

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest

from kms_policies.request import Principal
from pcrgate.twin.accounts import Accounts, Identity
from pcrgate.twin.kms.enforcement import Enforcement
from pcrgate.twin.kms.enforcement_caller import AuthenticatedCaller, authenticated_caller
from pcrgate.twin.kms.enforcement_guard import KeyPolicyGuard
from pcrgate.twin.kms.interface import AuthorizationCheck, Caller
from pcrgate.twin.kms.service_errors import AwsCode, AwsError
from pcrgate.twin.propagation import Propagation
from pcrgate.twin.sigv4 import HttpRequest
from tests.unit.twin.server.test_propagation import GRANT, KEY

ROLE = "arn:aws:iam::111122223333:role/parent"
ALLOW_ALL = json.dumps({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


def caller(*, headers: dict[str, str] | None = None, **identity: Any) -> AuthenticatedCaller:
    told: dict[str, Any] = {"principal": Principal.from_arn(ROLE), "partition": "aws", **identity}
    request = HttpRequest(
        method="POST", path="/", query="", headers=headers or {}, body=b"", source_ip="192.0.2.1", secure=True
    )
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return authenticated_caller(Identity(**told), request, region="eu-central-1", now=now)


def key_policy(condition: dict[str, Any] | None = None, effect: str = "Allow") -> str:
    statement: dict[str, Any] = {"Effect": effect, "Principal": {"AWS": ROLE}, "Action": "kms:*", "Resource": "*"}
    if condition is not None:
        statement["Condition"] = condition
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def check(policy: str, action: str = "kms:Decrypt", **more: Any) -> AuthorizationCheck:
    key = dataclasses.replace(KEY, policy=policy, grants=more.pop("grants", ()))
    return AuthorizationCheck(action=action, resource=KEY.arn, key=key, **more)


def judge(asked: AuthorizationCheck, who: AuthenticatedCaller, attestation: dict[str, str] | None = None) -> str:
    """Return the refusal, or an empty text."""
    enforcement = Enforcement(Propagation(clock_ms=lambda: 0, delay_s=lambda: 0.0))
    try:
        enforcement.authorize(asked, who, attestation or {})
    except AwsError as error:
        return f"{error.code.code}: {error.message}"
    return ""


def test_a_key_policy_that_cannot_be_read_allows_nothing() -> None:
    said = judge(check("{"), caller(identity_policies=(ALLOW_ALL,)))
    assert said.startswith("AccessDeniedException: The key policy of arn:aws:kms:")


@pytest.mark.parametrize("where", ["identity_policies", "session_policies"])
def test_an_own_policy_that_cannot_be_read_allows_nothing(where: str) -> None:
    broken: dict[str, Any] = {where: ("{",)}
    said = judge(check(key_policy()), caller(**broken))
    assert "A policy of arn:aws:sts::111122223333:assumed-role/parent/session cannot be read" in said
    assert "cannot be read" in judge(check(key_policy()), caller(boundary="{"))


def test_what_the_connection_says_wins_over_what_the_request_says() -> None:
    policy = key_policy({"IpAddress": {"aws:SourceIp": "127.0.0.1"}})
    assert judge(check(policy, context={"aws:sourceip": "127.0.0.1"}), caller())
    own = key_policy({"IpAddress": {"aws:SourceIp": "192.0.2.1"}})
    assert not judge(check(own, context={"aws:SourceIP": "127.0.0.1"}), caller())


def test_a_check_may_ask_for_another_region_than_the_connection() -> None:
    there = key_policy({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}})
    assert judge(check(there, "kms:ReplicateKey"), caller())
    assert not judge(check(there, "kms:ReplicateKey", context={"aws:RequestedRegion": "eu-west-1"}), caller())


def test_only_wide_enough_grants_count_when_a_grant_is_passed_on() -> None:
    grant = dataclasses.replace(GRANT, grantee=ROLE, operations=("CreateGrant", "Decrypt"))
    nobody = key_policy(effect="Allow").replace(ROLE, "arn:aws:iam::111122223333:role/other")
    within = check(nobody, "kms:CreateGrant", grants=(grant,), counting_grants=frozenset({grant.grant_id}))
    assert not judge(within, caller())
    wider = check(nobody, "kms:CreateGrant", grants=(grant,), counting_grants=frozenset())
    assert judge(wider, caller()).startswith("AccessDeniedException")


def test_the_document_decides_where_the_policy_asks_for_it() -> None:
    policy = key_policy({"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": "AA"}})
    assert judge(check(policy), caller())
    assert judge(check(policy), caller(), {"kms:RecipientAttestation:PCR0": "bb"})
    assert not judge(check(policy), caller(), {"kms:RecipientAttestation:PCR0": "aa"})


def test_the_request_cannot_claim_an_attestation() -> None:
    policy = key_policy({"StringEquals": {"kms:RecipientAttestation:PCR0": "aa"}})
    claimed = check(policy, context={"kms:RecipientAttestation:PCR0": "aa"})
    assert judge(claimed, caller(), {"kms:RecipientAttestation:PCR0": "bb"})
    assert judge(claimed, caller())


def test_a_permitted_principal_needs_no_policy_but_no_deny_either() -> None:
    elsewhere = key_policy().replace(ROLE, "arn:aws:iam::111122223333:role/other")
    retiring = frozenset({ROLE})
    assert not judge(check(elsewhere, "kms:RetireGrant", permitted_principals=retiring), caller())
    assert judge(check(elsewhere, "kms:RetireGrant", permitted_principals=frozenset({"other"})), caller())
    denying = key_policy(effect="Deny")
    assert "explicit deny" in judge(check(denying, "kms:RetireGrant", permitted_principals=retiring), caller())


def test_a_grant_is_judged_with_its_constraints() -> None:
    elsewhere = key_policy().replace(ROLE, "arn:aws:iam::111122223333:role/other")
    constrained = dataclasses.replace(GRANT, source_arn="arn:aws:s3:::bucket")
    assert not judge(check(elsewhere, grants=(GRANT,)), caller())
    assert judge(check(elsewhere, grants=(constrained,)), caller())
    assert not judge(
        check(elsewhere, grants=(constrained,), context={"aws:SourceArn": "arn:aws:s3:::bucket"}), caller()
    )


def test_root_needs_no_identity_policy_but_the_key_policys_word() -> None:
    root = caller(principal=Principal.of_root("111122223333"))
    assert "no resource-based policy" in judge(check(key_policy()), root)
    delegating = key_policy().replace(ROLE, "111122223333")
    assert not judge(check(delegating), root)
    assert not judge(AuthorizationCheck(action="kms:CreateKey", resource="*", key=None), root)
    alias = "arn:aws:kms:eu-central-1:111122223333:alias/a"
    assert not judge(AuthorizationCheck(action="kms:CreateAlias", resource=alias, key=None), root)


def test_the_referer_and_the_session_are_told() -> None:
    who = caller(headers={"referer": "https://example.com", "user-agent": "x"}, session_token="t", tags={"a": "b"})
    assert who.connection["aws:Referer"] == "https://example.com"
    assert who.connection["aws:MultiFactorAuthPresent"] == "false"
    assert who.connection["aws:PrincipalTag/a"] == "b"
    assert (who.account, who.role_arn, who.region) == ("111122223333", ROLE, "eu-central-1")


def test_the_guard_judges_authenticated_callers_only() -> None:
    guard = KeyPolicyGuard(Accounts([]))
    policy = key_policy().replace(ROLE, "111122223333")
    stranger = Caller(account="111122223333", region="eu-central-1", arn=ROLE)
    with pytest.raises(TypeError):
        guard.check(policy, KEY, stranger, bypass_lockout_check=False)
    guard.check(policy, KEY, stranger, bypass_lockout_check=True)


def test_the_guard_refuses_what_cannot_be_a_principal() -> None:
    guard = KeyPolicyGuard(Accounts([]))
    policy = key_policy().replace(ROLE, "arn:aws:iam::111122223333:group/g")
    with pytest.raises(AwsError) as caught:
        guard.check(policy, KEY, caller(), bypass_lockout_check=True)
    assert caught.value.code is AwsCode.MALFORMED_POLICY
