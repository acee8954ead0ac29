import pytest

from pcrgate.twin.kms.service_errors import AwsCode
from tests.unit.twin.kms.kit import ACCOUNT, OTHER_REGION, REGION, START_MS, Twin

ALIAS_ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/one"


def test_an_alias_is_made_moved_listed_and_removed() -> None:
    twin = Twin()
    first, second = twin.key(), twin.key()
    twin.call("CreateAlias", AliasName="alias/one", TargetKeyId=first)
    twin.refused(AwsCode.ALREADY_EXISTS, "CreateAlias", AliasName="alias/one", TargetKeyId=second)
    twin.now_ms += 1000
    twin.call("UpdateAlias", AliasName="alias/one", TargetKeyId=second)
    assert twin.call("DescribeKey", KeyId="alias/one")["KeyMetadata"]["Arn"] == second
    twin.call("CreateAlias", AliasName="alias/two", TargetKeyId=first)
    listed = twin.call("ListAliases")["Aliases"]
    assert [one["AliasName"] for one in listed] == ["alias/one", "alias/two"]
    assert listed[0]["AliasArn"] == ALIAS_ARN
    assert listed[0]["TargetKeyId"] == second.split("/")[1]
    assert listed[0]["CreationDate"].timestamp() * 1000 == START_MS
    assert listed[0]["LastUpdatedDate"].timestamp() * 1000 == START_MS + 1000
    assert [one["AliasName"] for one in twin.call("ListAliases", KeyId=first)["Aliases"]] == ["alias/two"]
    assert twin.call("ListAliases", region=OTHER_REGION)["Aliases"] == []
    twin.call("DeleteAlias", AliasName="alias/one")
    twin.refused(AwsCode.NOT_FOUND, "DescribeKey", KeyId="alias/one")
    twin.refused(AwsCode.NOT_FOUND, "DeleteAlias", AliasName="alias/one")
    twin.refused(AwsCode.NOT_FOUND, "UpdateAlias", AliasName="alias/one", TargetKeyId=first)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (AwsCode.NOT_AUTHORIZED, "alias/aws/s3"),
        (AwsCode.VALIDATION, "one"),
        (AwsCode.VALIDATION, "alias/ä"),
        (AwsCode.VALIDATION, "alias/" + "x" * 251),
        (AwsCode.INVALID_ALIAS_NAME, "alias/"),
        (AwsCode.INVALID_ALIAS_NAME, "alias/a:b"),
    ],
)
def test_names_that_no_alias_may_have(code: AwsCode, name: str) -> None:
    twin = Twin()
    twin.refused(code, "CreateAlias", AliasName=name, TargetKeyId=twin.key())
    assert twin.call("ListAliases")["Aliases"] == []


def test_an_alias_stays_with_one_kind_of_key() -> None:
    twin = Twin()
    symmetric = twin.key()
    mac = twin.key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    twin.call("CreateAlias", AliasName="alias/one", TargetKeyId=symmetric)
    twin.refused(AwsCode.VALIDATION, "UpdateAlias", AliasName="alias/one", TargetKeyId=mac)


def test_aliases_ask_for_the_alias_and_for_every_key_in_play() -> None:
    twin = Twin()
    first, second = twin.key(), twin.key()
    made = twin.checks("CreateAlias", AliasName="alias/one", TargetKeyId=first)
    assert [check.resource for check in made] == [ALIAS_ARN, first]
    assert made[0].key is None
    assert made[1].context["kms:RequestAlias"] == "alias/one"
    twin.call("CreateAlias", AliasName="alias/one", TargetKeyId=first)
    moved = twin.checks("UpdateAlias", AliasName="alias/one", TargetKeyId=second)
    assert [check.resource for check in moved] == [ALIAS_ARN, first, second]
    removed = twin.checks("DeleteAlias", AliasName="alias/one")
    assert [check.resource for check in removed] == [ALIAS_ARN, first]
    assert {check.action for check in removed} == {"kms:DeleteAlias"}


def test_no_alias_for_a_key_that_goes_away() -> None:
    twin = Twin()
    arn = twin.key()
    twin.call("CreateAlias", AliasName="alias/one", TargetKeyId=arn)
    twin.call("ScheduleKeyDeletion", KeyId=arn)
    twin.refused(AwsCode.INVALID_STATE, "CreateAlias", AliasName="alias/two", TargetKeyId=arn)
    twin.call("DeleteAlias", AliasName="alias/one")
