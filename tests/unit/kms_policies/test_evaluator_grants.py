"""Grants: whom they reach, what their constraints ask for, and reading what the AWS CLI prints."""

import json
from typing import Any

import pytest

from kms_policies.grants import (
    GRANTS_TEXT_MAX_BYTES,
    KEY_METADATA_TEXT_MAX_BYTES,
    find_grant,
    parse_grants,
    parse_key_metadata,
)
from kms_policies.request import Grant, KeyMetadata, KeyState, Principal, Request, encryption_context
from pcrgate.errors import ErrorCode, KeyPolicyError
from pcrgate.units import KeyArn

HOME = "111122223333"
KEY = f"arn:aws:kms:eu-central-1:{HOME}:key/12345678-1234-1234-1234-123456789abc"
ROLE = f"arn:aws:iam::{HOME}:role/parent"
CALLER = Principal.from_arn(f"arn:aws:sts::{HOME}:assumed-role/parent/i-0123", unique_id="AROAEXAMPLEEXAMPLE")
PAIRS = {"class": "weights", "Name": "llm"}


def grant(**changes: Any) -> Grant:
    return Grant(**({"grantee_principal": ROLE, "operations": frozenset({"Decrypt"})} | changes))


def found(one: Grant, *, principal: Principal = CALLER, action: str = "kms:Decrypt", **context: Any) -> bool:
    request = Request(principal=principal, action=action, resource=KEY, context=context.get("context", {}))
    return find_grant([one], request) is one


@pytest.mark.parametrize(
    ("grantee", "principal", "expected"),
    [
        (ROLE, CALLER, True),
        ("AROAEXAMPLEEXAMPLE", CALLER, True),
        (HOME, CALLER, True),
        (f"arn:aws:iam::{HOME}:root", CALLER, True),
        ("arn:aws:iam::444455556666:root", CALLER, False),
        ("*", CALLER, False),
        ("s3.amazonaws.com", Principal.of_service("s3.amazonaws.com"), True),
        ("ec2.amazonaws.com", Principal.of_service("s3.amazonaws.com"), False),
        (ROLE, Principal.anonymous(), False),
        (ROLE, Principal.from_arn(f"arn:aws:iam::{HOME}:user/x"), False),
    ],
)
def test_grantees(grantee: str, principal: Principal, expected: bool) -> None:
    assert found(grant(grantee_principal=grantee), principal=principal) is expected


@pytest.mark.parametrize(
    ("constraint", "carried", "expected"),
    [
        ({"encryption_context_equals": PAIRS}, PAIRS, True),
        ({"encryption_context_equals": {"CLASS": "weights", "name": "llm"}}, PAIRS, True),
        ({"encryption_context_equals": {"class": "weights"}}, PAIRS, False),
        ({"encryption_context_equals": PAIRS}, {}, False),
        ({"encryption_context_equals": {"class": "Weights", "Name": "llm"}}, PAIRS, False),
        ({"encryption_context_subset": {"class": "weights"}}, PAIRS, True),
        ({"encryption_context_subset": {"class": "session"}}, PAIRS, False),
        ({"encryption_context_subset": {"class": "weights"}}, {}, False),
        ({"encryption_context_subset": {}}, {}, True),
    ],
)
def test_encryption_context_constraints(constraint: Any, carried: dict[str, str], expected: bool) -> None:
    assert found(grant(**constraint), context=encryption_context(carried)) is expected


def test_encryption_context_constraints_bind_only_operations_that_carry_one() -> None:
    constrained = grant(operations=frozenset({"DescribeKey", "ReEncryptFrom"}), encryption_context_equals=PAIRS)
    assert found(constrained, action="kms:DescribeKey")
    assert not found(constrained, action="kms:ReEncryptFrom")
    assert found(constrained, action="kms:ReEncryptFrom", context=encryption_context(PAIRS))


def test_source_arn_constraint() -> None:
    source = "arn:aws:s3:::bucket"
    assert found(grant(source_arn=source), context={"aws:SourceArn": source})
    assert not found(grant(source_arn=source), context={"aws:SourceArn": source + "x"})
    assert not found(grant(source_arn=source))


def test_retiring() -> None:
    assert found(grant(retiring_principal=ROLE, grantee_principal="AROAOTHEROTHEROTHER"), action="kms:RetireGrant")
    assert found(grant(operations=frozenset({"RetireGrant"})), action="kms:RetireGrant")
    assert not found(grant(), action="kms:RetireGrant")
    assert not found(grant(retiring_principal=ROLE, operations=frozenset()))


LISTED = {
    "KeyId": KEY,
    "GrantId": "g-1",
    "GranteePrincipal": ROLE,
    "RetiringPrincipal": f"arn:aws:iam::{HOME}:root",
    "IssuingAccount": f"arn:aws:iam::{HOME}:root",
    "Operations": ["Decrypt", "GenerateDataKey"],
    "Constraints": {
        "EncryptionContextSubset": {"class": "weights"},
        "EncryptionContextEquals": {"a": "b"},
        "SourceArn": "arn:aws:s3:::bucket",
    },
    "CreationDate": 1767225600.5,
}


def test_what_list_grants_prints() -> None:
    expected = Grant(
        grantee_principal=ROLE,
        operations=frozenset({"Decrypt", "GenerateDataKey"}),
        encryption_context_equals={"a": "b"},
        encryption_context_subset={"class": "weights"},
        source_arn="arn:aws:s3:::bucket",
        retiring_principal=f"arn:aws:iam::{HOME}:root",
        grant_id="g-1",
    )
    assert parse_grants(json.dumps({"Grants": [LISTED], "Truncated": False})) == (expected,)
    assert parse_grants(json.dumps([LISTED]).encode()) == (expected,)
    assert parse_grants("[]") == ()
    service = {"GranteeServicePrincipal": "s3.amazonaws.com", "Operations": ["Decrypt"]}
    assert parse_grants(json.dumps([service]))[0].grantee_principal == "s3.amazonaws.com"


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"Grants": [LISTED], "Truncated": True},
        {"Grants": {}},
        [7],
        [LISTED | {"Operations": "Decrypt"}],
        [LISTED | {"Operations": [""]}],
        [LISTED | {"Operations": [7, []]}],
        [LISTED | {"GranteePrincipal": None}],
        [LISTED | {"GranteePrincipal": []}],
        [LISTED | {"Constraints": []}],
        [LISTED | {"Constraints": {"RecipientAttestation": {}}}],
        [LISTED | {"Constraints": {"EncryptionContextEquals": []}}],
        [LISTED | {"Constraints": {"EncryptionContextSubset": {"a": ["b"]}}}],
        [LISTED | {"Constraints": {"SourceArn": {}}}],
    ],
)
def test_grant_lists_that_are_none(content: Any) -> None:
    with pytest.raises(KeyPolicyError) as caught:
        parse_grants(json.dumps(content))
    assert caught.value.code is ErrorCode.POLICY_REQUEST


DESCRIBED = {
    "Arn": KEY,
    "KeyState": "Disabled",
    "Origin": "EXTERNAL",
    "KeySpec": "RSA_2048",
    "KeyUsage": "SIGN_VERIFY",
    "MultiRegion": True,
    "PendingDeletionWindowInDays": 7,
}


def test_what_describe_key_prints() -> None:
    expected = KeyMetadata(
        arn=KeyArn.parse(KEY),
        state=KeyState.DISABLED,
        origin="EXTERNAL",
        multi_region=True,
        key_spec="RSA_2048",
        key_usage="SIGN_VERIFY",
    )
    assert parse_key_metadata(json.dumps({"KeyMetadata": DESCRIBED})) == expected
    assert parse_key_metadata(json.dumps(DESCRIBED)) == expected


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"KeyMetadata": []},
        *({name: value for name, value in DESCRIBED.items() if name != left_out} for left_out in list(DESCRIBED)[:6]),
        DESCRIBED | {"KeyState": "Sleeping"},
        DESCRIBED | {"MultiRegion": "no"},
        DESCRIBED | {"Arn": f"arn:aws:kms:eu-central-1:{HOME}:alias/x"},
    ],
)
def test_key_descriptions_that_are_none(content: Any) -> None:
    with pytest.raises(KeyPolicyError) as caught:
        parse_key_metadata(json.dumps(content))
    assert caught.value.code is ErrorCode.POLICY_REQUEST


def test_key_description_at_the_limit_and_one_past() -> None:
    text = json.dumps(DESCRIBED)
    assert parse_key_metadata(text + " " * (KEY_METADATA_TEXT_MAX_BYTES - len(text))).multi_region
    with pytest.raises(KeyPolicyError) as caught:
        parse_key_metadata(text + " " * (KEY_METADATA_TEXT_MAX_BYTES - len(text) + 1))
    assert caught.value.code is ErrorCode.POLICY_TOO_LARGE


def test_grant_list_at_the_limit_and_one_past() -> None:
    assert parse_grants("[]".ljust(GRANTS_TEXT_MAX_BYTES)) == ()
    with pytest.raises(KeyPolicyError) as caught:
        parse_grants("[]".ljust(GRANTS_TEXT_MAX_BYTES + 1))
    assert caught.value.code is ErrorCode.POLICY_TOO_LARGE
