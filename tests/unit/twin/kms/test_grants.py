from typing import Any

import pytest

from pcrgate.twin.kms.service_errors import AwsCode
from tests.unit.twin.kms.kit import ACCOUNT, OTHER_REGION, START_MS, Twin

GRANTEE = f"arn:aws:iam::{ACCOUNT}:role/enclave"
SOURCE = f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:f"
RETIRER = f"arn:aws:iam::{ACCOUNT}:role/operator"


def _grant(twin: Twin, arn: str, **members: Any) -> dict[str, Any]:
    return twin.call(
        "CreateGrant", **({"KeyId": arn, "GranteePrincipal": GRANTEE, "Operations": ["Decrypt"]} | members)
    )


def test_a_grant_is_listed_as_it_was_made_and_reaches_the_enforcement_point() -> None:
    twin = Twin()
    arn = twin.key()
    made = _grant(
        twin,
        arn,
        Name="one",
        Operations=["Encrypt", "Decrypt", "Decrypt"],
        RetiringPrincipal=RETIRER,
        Constraints={"EncryptionContextSubset": {"class": "weights"}},
    )
    (listed,) = twin.call("ListGrants", KeyId=arn)["Grants"]
    assert listed.pop("CreationDate").timestamp() * 1000 == START_MS
    assert listed == {
        "KeyId": arn,
        "GrantId": made["GrantId"],
        "Name": "one",
        "GranteePrincipal": GRANTEE,
        "RetiringPrincipal": RETIRER,
        "IssuingAccount": f"arn:aws:iam::{ACCOUNT}:root",
        "Operations": ["Decrypt", "Encrypt"],
        "Constraints": {"EncryptionContextSubset": {"class": "weights"}},
    }
    (check,) = twin.checks("DescribeKey", KeyId=arn, GrantTokens=[made["GrantToken"]])
    assert check.grant_tokens == (made["GrantToken"],)
    key = check.key
    assert key is not None
    (grant,) = key.grants
    assert (grant.grant_id, grant.token, grant.grantee) == (made["GrantId"], made["GrantToken"], GRANTEE)
    assert grant.context_subset == {"class": "weights"}
    assert grant.context_equals is None


def test_an_empty_constraint_is_none() -> None:
    """What Terraform's provider sends for a grant with one constraint."""
    twin = Twin()
    arn = twin.key()
    constraints = {"EncryptionContextEquals": {"a": "b"}, "EncryptionContextSubset": {}}
    _grant(twin, arn, Constraints=constraints)
    (listed,) = twin.call("ListGrants", KeyId=arn)["Grants"]
    assert listed["Constraints"] == {"EncryptionContextEquals": {"a": "b"}}


def test_create_grant_shows_the_grant_to_the_enforcement_point() -> None:
    twin = Twin()
    arn = twin.key()
    members = {"KeyId": arn, "GranteePrincipal": GRANTEE, "Operations": ["Decrypt", "CreateGrant"]}
    (check,) = twin.checks("CreateGrant", RetiringPrincipal=RETIRER, **members)
    own = {name: value for name, value in check.context.items() if "Grant" in name or "Retir" in name}
    assert own == {
        "kms:GrantOperations": ("CreateGrant", "Decrypt"),
        "kms:GranteePrincipal": GRANTEE,
        "kms:RetiringPrincipal": RETIRER,
        "kms:GrantIsForAWSResource": "false",
    }
    for kind in ("EncryptionContextEquals", "EncryptionContextSubset"):
        (check,) = twin.checks("CreateGrant", Constraints={kind: {"a": "b"}}, **members)
        assert check.context["kms:GrantConstraintType"] == kind


def test_the_same_name_and_content_is_the_same_grant() -> None:
    twin = Twin()
    arn = twin.key()
    first = _grant(twin, arn, Name="one")
    assert _grant(twin, arn, Name="one") == first
    assert _grant(twin, arn, Name="one", Operations=["Encrypt"]) != first
    assert _grant(twin, arn) != _grant(twin, arn)
    assert len(twin.call("ListGrants", KeyId=arn)["Grants"]) == 4


def test_grants_are_filtered_and_paged() -> None:
    twin = Twin()
    arn = twin.key()
    ids = sorted(_grant(twin, arn)["GrantId"] for _ in range(3))
    other = _grant(twin, arn, GranteePrincipal=RETIRER)["GrantId"]
    found = twin.call("ListGrants", KeyId=arn, GranteePrincipal=GRANTEE)["Grants"]
    assert [one["GrantId"] for one in found] == ids
    assert [one["GrantId"] for one in twin.call("ListGrants", KeyId=arn, GrantId=other)["Grants"]] == [other]
    twin.refused(AwsCode.INVALID_GRANT_ID, "ListGrants", KeyId=arn, GrantId="none")
    page = twin.call("ListGrants", KeyId=arn, Limit=3)
    rest = twin.call("ListGrants", KeyId=arn, Limit=3, Marker=page["NextMarker"])
    assert len(page["Grants"]) + len(rest["Grants"]) == 4


def test_service_principals_hold_and_retire_grants() -> None:
    twin = Twin()
    arn = twin.key()
    members = {
        "KeyId": arn,
        "GranteeServicePrincipal": "s3.amazonaws.com",
        "RetiringServicePrincipal": "s3.amazonaws.com",
        "Operations": ["Decrypt"],
        "Constraints": {
            "SourceArn": SOURCE,
            "EncryptionContextEquals": {"a": "b"},
        },
    }
    twin.call("CreateGrant", **members)
    (listed,) = twin.call("ListGrants", KeyId=arn, GranteeServicePrincipal="s3.amazonaws.com")["Grants"]
    assert listed["Constraints"] == members["Constraints"]
    assert "GranteePrincipal" not in listed
    retirable = twin.call("ListRetirableGrants", RetiringServicePrincipal="s3.amazonaws.com")["Grants"]
    assert [one["GrantId"] for one in retirable] == [listed["GrantId"]]


@pytest.mark.parametrize(
    "members",
    [
        {"GranteePrincipal": None},
        {"GranteeServicePrincipal": "s3.amazonaws.com"},
        {"RetiringPrincipal": RETIRER, "RetiringServicePrincipal": "s3.amazonaws.com"},
        {"Operations": []},
        {"Operations": ["Sign"]},
        {"Operations": ["NoSuchOperation"]},
        {"Constraints": {"EncryptionContextEquals": {"a": "b"}, "EncryptionContextSubset": {"a": "b"}}},
        {"Name": "white space"},
    ],
)
def test_grants_that_are_not_made(members: dict[str, Any]) -> None:
    twin = Twin()
    arn = twin.key()
    given = {"KeyId": arn, "GranteePrincipal": GRANTEE, "Operations": ["Decrypt"]} | members
    given = {name: value for name, value in given.items() if value is not None}
    twin.refused(AwsCode.VALIDATION, "CreateGrant", **given)
    assert twin.call("ListGrants", KeyId=arn)["Grants"] == []


@pytest.mark.parametrize(
    ("spec", "usage", "good", "bad"),
    [
        ("ECC_NIST_P256", "SIGN_VERIFY", "Sign", "Decrypt"),
        ("ECC_NIST_P256", "KEY_AGREEMENT", "DeriveSharedSecret", "Sign"),
        ("HMAC_256", "GENERATE_VERIFY_MAC", "GenerateMac", "GetPublicKey"),
        ("RSA_2048", "ENCRYPT_DECRYPT", "Decrypt", "GenerateDataKey"),
    ],
)
def test_operations_must_fit_the_key(spec: str, usage: str, good: str, bad: str) -> None:
    twin = Twin()
    arn = twin.key(KeySpec=spec, KeyUsage=usage)
    _grant(twin, arn, Operations=[good])
    base = {"KeyId": arn, "GranteePrincipal": GRANTEE}
    twin.refused(AwsCode.VALIDATION, "CreateGrant", Operations=[bad], **base)
    constraint = {"EncryptionContextEquals": {"a": "b"}}
    twin.refused(AwsCode.VALIDATION, "CreateGrant", Operations=[good], Constraints=constraint, **base)


def test_revoking() -> None:
    twin = Twin()
    arn = twin.key()
    made = _grant(twin, arn)
    twin.refused(AwsCode.NOT_FOUND, "RevokeGrant", KeyId=arn, GrantId="none")
    twin.refused(AwsCode.DRY_RUN, "RevokeGrant", KeyId=arn, GrantId=made["GrantId"], DryRun=True)
    (check,) = twin.checks("RevokeGrant", KeyId=arn, GrantId=made["GrantId"])
    assert check.permitted_principals == frozenset()
    twin.call("RevokeGrant", KeyId=arn, GrantId=made["GrantId"])
    assert twin.call("ListGrants", KeyId=arn)["Grants"] == []
    twin.refused(AwsCode.INVALID_GRANT_TOKEN, "DescribeKey", KeyId=arn, GrantTokens=[made["GrantToken"]])
    twin.refused(
        AwsCode.DRY_RUN, "CreateGrant", KeyId=arn, GranteePrincipal=GRANTEE, Operations=["Decrypt"], DryRun=True
    )
    assert twin.call("ListGrants", KeyId=arn)["Grants"] == []


def test_retiring_by_token_and_by_id() -> None:
    twin = Twin()
    arn = twin.key()
    by_token = _grant(twin, arn, RetiringPrincipal=RETIRER)
    by_id = _grant(twin, arn, Operations=["RetireGrant", "Decrypt"])
    found = twin.call("ListRetirableGrants", RetiringPrincipal=RETIRER)["Grants"]
    assert [one["GrantId"] for one in found] == [by_token["GrantId"]]
    assert twin.call("ListRetirableGrants", region=OTHER_REGION, RetiringPrincipal=RETIRER)["Grants"] == []
    (check,) = twin.checks("RetireGrant", GrantToken=by_token["GrantToken"])
    assert (check.resource, check.permitted_principals) == (arn, frozenset({RETIRER}))
    (check,) = twin.checks("RetireGrant", KeyId=arn, GrantId=by_id["GrantId"])
    assert check.permitted_principals == frozenset({GRANTEE})
    twin.call("RetireGrant", GrantToken=by_token["GrantToken"])
    twin.call("RetireGrant", KeyId=arn, GrantId=by_id["GrantId"])
    assert twin.call("ListGrants", KeyId=arn)["Grants"] == []
    twin.refused(AwsCode.INVALID_GRANT_TOKEN, "RetireGrant", GrantToken=by_token["GrantToken"])
    twin.refused(AwsCode.NOT_FOUND, "RetireGrant", KeyId=arn, GrantId=by_id["GrantId"])


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("RetireGrant", {}),
        ("RetireGrant", {"GrantId": "a"}),
        ("RetireGrant", {"KeyId": "a"}),
        ("RetireGrant", {"GrantToken": "a", "GrantId": "a"}),
        ("ListRetirableGrants", {}),
        ("ListRetirableGrants", {"RetiringPrincipal": RETIRER, "RetiringServicePrincipal": "s3.amazonaws.com"}),
    ],
)
def test_half_said_requests(operation: str, members: dict[str, str]) -> None:
    Twin().refused(AwsCode.VALIDATION, operation, **members)


@pytest.mark.parametrize(
    ("parent", "child", "within"),
    [
        ({}, {}, True),
        ({}, {"Operations": ["Encrypt"]}, False),
        ({}, {"Operations": ["Decrypt", "Encrypt"]}, False),
        ({}, {"Constraints": {"EncryptionContextEquals": {"a": "b"}}}, True),
        ({"Constraints": {"EncryptionContextEquals": {"a": "b"}}}, {}, False),
        (
            {"Constraints": {"EncryptionContextEquals": {"a": "b"}}},
            {"Constraints": {"EncryptionContextSubset": {"a": "b"}}},
            False,
        ),
        (
            {"Constraints": {"EncryptionContextEquals": {"a": "b"}}},
            {"Constraints": {"EncryptionContextEquals": {"a": "b"}}},
            True,
        ),
        ({"Constraints": {"EncryptionContextSubset": {"a": "b"}}}, {}, False),
        (
            {"Constraints": {"EncryptionContextSubset": {"a": "b"}}},
            {"Constraints": {"EncryptionContextSubset": {"a": "c"}}},
            False,
        ),
        (
            {"Constraints": {"EncryptionContextSubset": {"a": "b"}}},
            {"Constraints": {"EncryptionContextEquals": {"a": "b", "c": "d"}}},
            True,
        ),
        ({"Constraints": {"SourceArn": SOURCE}}, {}, False),
        ({"Constraints": {"SourceArn": SOURCE}}, {"Constraints": {"SourceArn": SOURCE}}, True),
    ],
)
def test_only_grants_wide_enough_count_for_a_grant_under_them(
    parent: dict[str, Any], child: dict[str, Any], *, within: bool
) -> None:
    twin = Twin()
    arn = twin.key()
    made = _grant(twin, arn, **({"Operations": ["Decrypt", "CreateGrant"]} | parent))
    members = {"KeyId": arn, "GranteePrincipal": RETIRER, "Operations": ["Decrypt"]} | child
    (check,) = twin.checks("CreateGrant", **members)
    assert check.counting_grants == (frozenset({made["GrantId"]}) if within else frozenset())
    (other,) = twin.checks("DescribeKey", KeyId=arn)
    assert other.counting_grants is None
