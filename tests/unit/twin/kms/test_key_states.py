"""The table of key states: which state lets which operation through."""

from typing import Any

import pytest

from pcrgate.twin.kms.service_errors import AwsCode, AwsError
from tests.unit.twin.kms.kit import Twin

USING: dict[str, dict[str, Any]] = {
    "Encrypt": {"Plaintext": b"a"},
    "GenerateDataKey": {"KeySpec": "AES_256"},
    "GenerateDataKeyWithoutPlaintext": {"KeySpec": "AES_256"},
    "GenerateDataKeyPair": {"KeyPairSpec": "ECC_NIST_P256"},
    "GenerateDataKeyPairWithoutPlaintext": {"KeyPairSpec": "ECC_NIST_P256"},
    "CreateGrant": {"GranteePrincipal": "arn:aws:iam::111122223333:role/r", "Operations": ["Decrypt"]},
}
READING: dict[str, dict[str, Any]] = {
    "DescribeKey": {},
    "GetKeyPolicy": {},
    "ListKeyPolicies": {},
    "ListResourceTags": {},
    "ListGrants": {},
    "ListAliases": {},
    "GetKeyLastUsage": {},
}
WRITING: dict[str, dict[str, Any]] = {
    "UpdateKeyDescription": {"Description": "d"},
    "TagResource": {"Tags": [{"TagKey": "a", "TagValue": "b"}]},
    "UntagResource": {"TagKeys": ["a"]},
    "CreateAlias": {"AliasName": "alias/one"},
}


def _with_key(operation: str, arn: str, members: dict[str, Any]) -> dict[str, Any]:
    return {"TargetKeyId" if operation == "CreateAlias" else "KeyId": arn, **members}


@pytest.mark.parametrize(
    ("state", "refusal", "writable"),
    [
        ("Enabled", None, True),
        ("Disabled", AwsCode.DISABLED, True),
        ("PendingDeletion", AwsCode.INVALID_STATE, False),
        ("PendingImport", AwsCode.INVALID_STATE, True),
    ],
)
def test_the_table_of_key_states(state: str, refusal: AwsCode | None, *, writable: bool) -> None:
    twin = Twin()
    arn = twin.key(Origin="EXTERNAL" if state == "PendingImport" else "AWS_KMS")
    if state == "Disabled":
        twin.call("DisableKey", KeyId=arn)
    if state == "PendingDeletion":
        twin.call("ScheduleKeyDeletion", KeyId=arn)
    assert twin.state(arn) == state
    expected = {
        **dict.fromkeys(USING, refusal),
        **dict.fromkeys(READING, None),
        **dict.fromkeys(WRITING, None if writable else AwsCode.INVALID_STATE),
    }
    seen: dict[str, AwsCode | None] = {}
    for operation, members in (USING | READING | WRITING).items():
        try:
            twin.call(operation, **_with_key(operation, arn, members))
            seen[operation] = None
        except AwsError as error:
            seen[operation] = error.code
    assert seen == expected


def test_state_is_looked_at_when_the_operation_runs_not_when_it_is_prepared() -> None:
    twin = Twin()
    arn = twin.key()
    prepared = twin.prepare("Encrypt", members={"KeyId": arn, "Plaintext": b"a"})
    twin.call("DisableKey", KeyId=arn)
    with pytest.raises(AwsError, match="is disabled"):
        prepared.execute()
