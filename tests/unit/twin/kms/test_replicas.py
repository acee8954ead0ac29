from pcrgate.twin.kms.policy_guard import default_policy
from pcrgate.twin.kms.service_errors import AwsCode
from tests.unit.twin.kms.kit import ACCOUNT, OTHER_REGION, REGION, Twin

THIRD_REGION = "us-east-1"


def _in(arn: str, region: str) -> str:
    return arn.replace(f":{REGION}:", f":{region}:")


def test_a_replica_opens_what_the_primary_sealed_and_the_reverse() -> None:
    twin = Twin()
    arn = twin.key(MultiRegion=True)
    assert arn.split("/")[1].startswith("mrk-")
    blob = twin.call("Encrypt", KeyId=arn, Plaintext=b"a", EncryptionContext={"x": "y"})["CiphertextBlob"]
    assert twin.call("Decrypt", CiphertextBlob=blob, EncryptionContext={"x": "y"})["Plaintext"] == b"a"
    twin.refused(AwsCode.ACCESS_DENIED, "Decrypt", region=OTHER_REGION, CiphertextBlob=blob)
    twin.call("ReplicateKey", KeyId=arn, ReplicaRegion=OTHER_REGION)
    opened = twin.call("Decrypt", region=OTHER_REGION, CiphertextBlob=blob, EncryptionContext={"x": "y"})
    assert (opened["Plaintext"], opened["KeyId"]) == (b"a", _in(arn, OTHER_REGION))
    back = twin.call("Encrypt", region=OTHER_REGION, KeyId=_in(arn, OTHER_REGION), Plaintext=b"b")["CiphertextBlob"]
    assert twin.call("Decrypt", KeyId=arn, CiphertextBlob=back)["Plaintext"] == b"b"


def test_a_replica_has_its_own_policy_tags_description_and_grants() -> None:
    twin = Twin()
    arn = twin.key(MultiRegion=True, Description="primary", Tags=[{"TagKey": "a", "TagValue": "1"}])
    twin.call("CreateGrant", KeyId=arn, GranteePrincipal=f"arn:aws:iam::{ACCOUNT}:role/r", Operations=["Decrypt"])
    policy = default_policy("aws", ACCOUNT) + " "
    tags = [{"TagKey": "b", "TagValue": "2"}]
    members = {"KeyId": arn, "ReplicaRegion": OTHER_REGION, "Policy": policy, "Tags": tags, "Description": "replica"}
    answer = twin.call("ReplicateKey", **members)
    assert (answer["ReplicaPolicy"], answer["ReplicaTags"]) == (policy, tags)
    replica = twin.service.describe(_in(arn, OTHER_REGION))
    assert replica is not None
    assert (replica.policy, replica.tags, replica.grants, replica.multi_region) == (policy, {"b": "2"}, (), True)
    configurations = [
        twin.call("DescribeKey", region=region, KeyId=_in(arn, region))["KeyMetadata"]["MultiRegionConfiguration"]
        for region in (REGION, OTHER_REGION)
    ]
    assert [one.pop("MultiRegionKeyType") for one in configurations] == ["PRIMARY", "REPLICA"]
    assert (
        configurations[0]
        == configurations[1]
        == {
            "PrimaryKey": {"Arn": arn, "Region": REGION},
            "ReplicaKeys": [{"Arn": _in(arn, OTHER_REGION), "Region": OTHER_REGION}],
        }
    )
    metadata = twin.call("DescribeKey", KeyId=arn)["KeyMetadata"]
    assert metadata["Description"] == "primary"
    assert answer["ReplicaKeyMetadata"]["Description"] == "replica"
    assert answer["ReplicaKeyMetadata"]["CurrentKeyMaterialId"] == metadata["CurrentKeyMaterialId"]


def test_replicating_asks_on_the_key_and_in_the_other_region() -> None:
    twin = Twin()
    arn = twin.key(MultiRegion=True)
    tags = [{"TagKey": "a", "TagValue": "1"}]
    on_key, create, tag = twin.checks("ReplicateKey", KeyId=arn, ReplicaRegion=OTHER_REGION, Tags=tags)
    assert (on_key.action, on_key.resource) == ("kms:ReplicateKey", arn)
    assert on_key.context["kms:ReplicaRegion"] == OTHER_REGION
    assert (create.action, create.context["aws:RequestedRegion"]) == ("kms:CreateKey", OTHER_REGION)
    assert (tag.action, tag.context["aws:RequestTag/a"]) == ("kms:TagResource", "1")


def test_keys_that_are_not_replicated() -> None:
    twin = Twin()
    single, arn = twin.key(), twin.key(MultiRegion=True)
    twin.refused(AwsCode.UNSUPPORTED_OPERATION, "ReplicateKey", KeyId=single, ReplicaRegion=OTHER_REGION)
    twin.refused(AwsCode.ALREADY_EXISTS, "ReplicateKey", KeyId=arn, ReplicaRegion=REGION)
    twin.call("ReplicateKey", KeyId=arn, ReplicaRegion=OTHER_REGION)
    twin.refused(AwsCode.ALREADY_EXISTS, "ReplicateKey", KeyId=arn, ReplicaRegion=OTHER_REGION)
    replica = {"KeyId": _in(arn, OTHER_REGION), "ReplicaRegion": THIRD_REGION}
    twin.refused(AwsCode.UNSUPPORTED_OPERATION, "ReplicateKey", region=OTHER_REGION, **replica)
    twin.call("DisableKey", KeyId=arn)
    twin.refused(AwsCode.DISABLED, "ReplicateKey", KeyId=arn, ReplicaRegion=THIRD_REGION)
    twin.refused(AwsCode.VALIDATION, "ReplicateKey", KeyId=arn, ReplicaRegion="nowhere")


def test_the_primary_moves() -> None:
    twin = Twin()
    arn = twin.key(MultiRegion=True)
    for region in (OTHER_REGION, THIRD_REGION):
        twin.call("ReplicateKey", KeyId=arn, ReplicaRegion=region)
    twin.call("EnableKeyRotation", KeyId=arn, RotationPeriodInDays=100)
    checks = twin.checks("UpdatePrimaryRegion", KeyId=arn, PrimaryRegion=OTHER_REGION)
    assert [check.resource for check in checks] == [arn, _in(arn, OTHER_REGION)]
    twin.refused(AwsCode.NOT_FOUND, "UpdatePrimaryRegion", KeyId=arn, PrimaryRegion="ap-south-1")
    twin.refused(AwsCode.NOT_FOUND, "UpdatePrimaryRegion", KeyId=arn, PrimaryRegion=REGION)
    twin.call("UpdatePrimaryRegion", KeyId=arn, PrimaryRegion=OTHER_REGION)
    for region in (REGION, OTHER_REGION, THIRD_REGION):
        key = _in(arn, region)
        metadata = twin.call("DescribeKey", region=region, KeyId=key)["KeyMetadata"]["MultiRegionConfiguration"]
        assert metadata["MultiRegionKeyType"] == ("PRIMARY" if region == OTHER_REGION else "REPLICA")
        assert metadata["PrimaryKey"]["Region"] == OTHER_REGION
        assert {one["Region"] for one in metadata["ReplicaKeys"]} == {REGION, THIRD_REGION}
        assert twin.call("GetKeyRotationStatus", region=region, KeyId=key)["RotationPeriodInDays"] == 100
    twin.refused(AwsCode.UNSUPPORTED_OPERATION, "UpdatePrimaryRegion", KeyId=arn, PrimaryRegion=THIRD_REGION)


def test_a_primary_waits_for_its_replicas_before_it_goes() -> None:
    twin = Twin()
    arn = twin.key(MultiRegion=True)
    twin.call("ReplicateKey", KeyId=arn, ReplicaRegion=OTHER_REGION)
    answer = twin.call("ScheduleKeyDeletion", KeyId=arn, PendingWindowInDays=7)
    assert answer == {"KeyId": arn, "KeyState": "PendingReplicaDeletion", "PendingWindowInDays": 7}
    twin.pass_days(100)
    metadata = twin.call("DescribeKey", KeyId=arn)["KeyMetadata"]
    assert (metadata["KeyState"], metadata["PendingDeletionWindowInDays"]) == ("PendingReplicaDeletion", 7)
    twin.refused(AwsCode.INVALID_STATE, "Encrypt", KeyId=arn, Plaintext=b"a")
    replica = _in(arn, OTHER_REGION)
    twin.call("ScheduleKeyDeletion", region=OTHER_REGION, KeyId=replica, PendingWindowInDays=7)
    twin.pass_days(7)
    assert twin.state(arn) == "PendingDeletion"
    twin.refused(AwsCode.NOT_FOUND, "DescribeKey", region=OTHER_REGION, KeyId=replica)
    twin.call("CancelKeyDeletion", KeyId=arn)
    twin.call("ScheduleKeyDeletion", KeyId=arn, PendingWindowInDays=7)
    twin.pass_days(7)
    twin.refused(AwsCode.NOT_FOUND, "DescribeKey", KeyId=arn)
