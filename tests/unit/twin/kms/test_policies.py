import json

import pytest

from pcrgate.twin.kms.interface import Caller, KeyDescription
from pcrgate.twin.kms.policy_guard import POLICY_MAX_BYTES, default_policy
from pcrgate.twin.kms.service_errors import AwsCode, AwsError
from tests.unit.twin.kms.kit import ACCOUNT, Twin

POLICY = default_policy("aws", ACCOUNT)


class Refusing:
    """A guard that lets nothing through unless the lock-out check is bypassed, and remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[KeyDescription] = []

    def check(self, policy: str, key: KeyDescription, caller: Caller, *, bypass_lockout_check: bool) -> None:
        assert key.policy == policy
        assert caller.account == ACCOUNT
        self.seen.append(key)
        if not bypass_lockout_check:
            raise AwsError(AwsCode.MALFORMED_POLICY, "The new key policy will not allow you to update it.")


def test_a_policy_is_stored_as_it_was_sent() -> None:
    twin = Twin()
    arn = twin.key(Policy=POLICY)
    assert twin.call("GetKeyPolicy", KeyId=arn) == {"Policy": POLICY, "PolicyName": "default"}
    spaced = json.dumps(json.loads(POLICY), indent=7)
    twin.call("PutKeyPolicy", KeyId=arn, Policy=spaced, PolicyName="default")
    assert twin.call("GetKeyPolicy", KeyId=arn, PolicyName="default")["Policy"] == spaced
    assert twin.call("ListKeyPolicies", KeyId=arn) == {"PolicyNames": ["default"], "Truncated": False}
    key = twin.service.describe(arn)
    assert key is not None
    assert key.policy == spaced


def test_policies_that_are_refused() -> None:
    twin = Twin()
    arn = twin.key(Policy=POLICY)
    longest = POLICY + " " * (POLICY_MAX_BYTES - len(POLICY))
    twin.call("PutKeyPolicy", KeyId=arn, Policy=longest)
    twin.refused(AwsCode.LIMIT_EXCEEDED, "PutKeyPolicy", KeyId=arn, Policy=longest + " ")
    twin.refused(AwsCode.MALFORMED_POLICY, "PutKeyPolicy", KeyId=arn, Policy="{")
    twin.refused(AwsCode.NOT_FOUND, "PutKeyPolicy", KeyId=arn, Policy=POLICY, PolicyName="other")
    twin.refused(AwsCode.NOT_FOUND, "GetKeyPolicy", KeyId=arn, PolicyName="other")
    twin.refused(AwsCode.VALIDATION, "PutKeyPolicy", KeyId=arn, Policy="\u20ac")
    assert twin.call("GetKeyPolicy", KeyId=arn)["Policy"] == longest


@pytest.mark.parametrize("operation", ["CreateKey", "PutKeyPolicy", "ReplicateKey"])
def test_the_guard_judges_before_anything_changes(operation: str) -> None:
    guard = Refusing()
    twin = Twin(guard=guard)
    arn = twin.key(BypassPolicyLockoutSafetyCheck=True, MultiRegion=True)
    members = {
        "CreateKey": {},
        "PutKeyPolicy": {"KeyId": arn, "Policy": POLICY + " "},
        "ReplicateKey": {"KeyId": arn, "ReplicaRegion": "eu-west-1"},
    }[operation]
    before = twin.service.describe(arn)
    twin.refused(AwsCode.MALFORMED_POLICY, operation, **members)
    assert twin.service.describe(arn) == before
    assert len(twin.call("ListKeys")["Keys"]) == 1
    assert twin.call("ListKeys", region="eu-west-1")["Keys"] == []
    twin.call(operation, BypassPolicyLockoutSafetyCheck=True, **members)
    assert len(guard.seen) == 3


def test_put_key_policy_shows_whether_the_check_is_bypassed() -> None:
    twin = Twin()
    arn = twin.key()
    for flag, text in ((True, "true"), (False, "false")):
        (check,) = twin.checks("PutKeyPolicy", KeyId=arn, Policy=POLICY, BypassPolicyLockoutSafetyCheck=flag)
        assert check.context["kms:BypassPolicyLockoutSafetyCheck"] == text


def test_tags_are_added_changed_removed_and_limited() -> None:
    twin = Twin()
    arn = twin.key(Tags=[{"TagKey": "a", "TagValue": "1"}])
    twin.call("TagResource", KeyId=arn, Tags=[{"TagKey": "a", "TagValue": "2"}, {"TagKey": "b", "TagValue": ""}])
    expected = [{"TagKey": "a", "TagValue": "2"}, {"TagKey": "b", "TagValue": ""}]
    assert twin.call("ListResourceTags", KeyId=arn) == {"Tags": expected, "Truncated": False}
    (check,) = twin.checks("UntagResource", KeyId=arn, TagKeys=["a"])
    assert check.context["aws:TagKeys"] == ("a",)
    assert check.context["aws:ResourceTag/a"] == "2"
    twin.call("UntagResource", KeyId=arn, TagKeys=["a", "none"])
    assert twin.call("ListResourceTags", KeyId=arn)["Tags"] == expected[1:]
    more = [{"TagKey": f"t{number}", "TagValue": ""} for number in range(49)]
    twin.call("TagResource", KeyId=arn, Tags=more)
    last = [{"TagKey": "one more", "TagValue": ""}]
    twin.refused(AwsCode.LIMIT_EXCEEDED, "TagResource", KeyId=arn, Tags=last)
    twin.refused(AwsCode.VALIDATION, "TagResource", KeyId=arn, Tags=[{"TagKey": "x" * 129, "TagValue": ""}])
    twin.refused(AwsCode.VALIDATION, "TagResource", KeyId=arn, Tags=[{"TagKey": "x", "TagValue": "y" * 257}])
    twin.refused(AwsCode.VALIDATION, "TagResource", KeyId=arn, Tags=[{"TagKey": "x"}])
