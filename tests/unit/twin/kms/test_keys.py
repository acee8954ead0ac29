import pytest

from pcrgate.twin.kms.key_specs import KEY_SPECS
from pcrgate.twin.kms.service_errors import AwsCode
from tests.unit.twin.kms.kit import ACCOUNT, OTHER_REGION, REGION, START_MS, Twin


def test_a_key_created_without_anything_is_symmetric_enabled_and_its_accounts() -> None:
    twin = Twin()
    metadata = twin.call("CreateKey")["KeyMetadata"]
    assert metadata["Arn"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{metadata['KeyId']}"
    assert len(metadata["KeyId"]) == 36
    assert metadata["CreationDate"].timestamp() * 1000 == START_MS
    expected = {
        "AWSAccountId": ACCOUNT,
        "Enabled": True,
        "Description": "",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": "Enabled",
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": False,
    }
    assert {name: metadata[name] for name in expected} == expected
    assert twin.call("DescribeKey", KeyId=metadata["KeyId"])["KeyMetadata"] == metadata
    assert f"arn:aws:iam::{ACCOUNT}:root" in twin.call("GetKeyPolicy", KeyId=metadata["KeyId"])["Policy"]


@pytest.mark.parametrize("name", [name for name in KEY_SPECS if name not in {"RSA_3072", "RSA_4096"}])
def test_every_spec_and_usage_is_made(name: str) -> None:
    twin = Twin()
    for usage in KEY_SPECS[name].usages:
        metadata = twin.call("CreateKey", KeySpec=name, KeyUsage=usage.value)["KeyMetadata"]
        assert (metadata["KeySpec"], metadata["KeyUsage"]) == (name, usage.value)
        assert ("CurrentKeyMaterialId" in metadata) == (name == "SYMMETRIC_DEFAULT")
        lists = [metadata.get(f"{kind}Algorithms") for kind in ("Encryption", "Signing", "Mac", "KeyAgreement")]
        assert sum(bool(one) for one in lists) == 1


@pytest.mark.parametrize(
    ("code", "members"),
    [
        (AwsCode.UNSUPPORTED_OPERATION, {"KeySpec": "SM2", "KeyUsage": "SIGN_VERIFY"}),
        (AwsCode.UNSUPPORTED_OPERATION, {"KeySpec": "ML_KEM_768", "KeyUsage": "ENCAPSULATE_DECAPSULATE"}),
        (AwsCode.UNSUPPORTED_OPERATION, {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": "cks-1"}),
        (AwsCode.UNSUPPORTED_OPERATION, {"CustomKeyStoreId": "cks-1"}),
        (AwsCode.UNSUPPORTED_OPERATION, {"XksKeyId": "x"}),
        (AwsCode.VALIDATION, {"KeySpec": "RSA_2048"}),
        (AwsCode.VALIDATION, {"KeySpec": "RSA_2048", "KeyUsage": "GENERATE_VERIFY_MAC"}),
        (AwsCode.VALIDATION, {"KeyUsage": "SIGN_VERIFY"}),
        (AwsCode.VALIDATION, {"KeySpec": "AES_256"}),
        (AwsCode.VALIDATION, {"KeySpec": "HMAC_256", "CustomerMasterKeySpec": "HMAC_256"}),
        (AwsCode.MALFORMED_POLICY, {"Policy": "not JSON"}),
        (AwsCode.MALFORMED_POLICY, {"Policy": "[]"}),
        (AwsCode.MALFORMED_POLICY, {"Policy": "{}"}),
        (AwsCode.MALFORMED_POLICY, {"Policy": "[" * 20_000}),
        (AwsCode.TAG, {"Tags": [{"TagKey": "aws:x", "TagValue": ""}]}),
        (AwsCode.TAG, {"Tags": [{"TagKey": "x", "TagValue": ""}, {"TagKey": "x", "TagValue": ""}]}),
        (AwsCode.TAG, {"Tags": [{"TagKey": f"t{n}", "TagValue": ""} for n in range(51)]}),
    ],
)
def test_keys_that_cannot_be_made(code: AwsCode, members: dict[str, object]) -> None:
    twin = Twin()
    twin.refused(code, "CreateKey", **members)
    assert twin.call("ListKeys")["Keys"] == []


def test_create_key_shows_the_request_to_the_enforcement_point() -> None:
    twin = Twin()
    tags = [{"TagKey": "stage", "TagValue": "test"}]
    create, tag = twin.checks("CreateKey", Tags=tags, MultiRegion=True, BypassPolicyLockoutSafetyCheck=True)
    assert (create.action, create.resource, create.key) == ("kms:CreateKey", "*", None)
    assert create.context == {
        "kms:CallerAccount": ACCOUNT,
        "kms:KeySpec": "SYMMETRIC_DEFAULT",
        "kms:KeyUsage": "ENCRYPT_DECRYPT",
        "kms:KeyOrigin": "AWS_KMS",
        "kms:MultiRegion": "true",
        "kms:MultiRegionKeyType": "PRIMARY",
        "kms:BypassPolicyLockoutSafetyCheck": "true",
        "aws:RequestTag/stage": "test",
        "aws:TagKeys": ("stage",),
    }
    assert tag.action == "kms:TagResource"
    assert len(twin.checks("CreateKey")) == 1


def test_a_keys_own_facts_reach_the_enforcement_point() -> None:
    twin = Twin()
    arn = twin.key(MultiRegion=True, Tags=[{"TagKey": "stage", "TagValue": "test"}])
    twin.call("CreateAlias", AliasName="alias/one", TargetKeyId=arn)
    (check,) = twin.checks("Encrypt", KeyId="alias/one", Plaintext=b"a", EncryptionContext={"b": "2", "a": "1"})
    assert check.resource == arn
    assert check.key == twin.service.describe(arn)
    assert check.encryption_context == {"a": "1", "b": "2"}
    assert check.context == {
        "kms:CallerAccount": ACCOUNT,
        "kms:KeySpec": "SYMMETRIC_DEFAULT",
        "kms:KeyUsage": "ENCRYPT_DECRYPT",
        "kms:KeyOrigin": "AWS_KMS",
        "kms:MultiRegion": "true",
        "kms:MultiRegionKeyType": "PRIMARY",
        "kms:ResourceAliases": ("alias/one",),
        "kms:RequestAlias": "alias/one",
        "aws:ResourceTag/stage": "test",
        "kms:EncryptionContext:a": "1",
        "kms:EncryptionContext:b": "2",
        "kms:EncryptionContextKeys": ("a", "b"),
        "kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
    }


@pytest.mark.parametrize(
    ("code", "key_id"),
    [
        (AwsCode.NOT_FOUND, "11111111-2222-3333-4444-555555555555"),
        (AwsCode.NOT_FOUND, "mrk-" + "0" * 32),
        (AwsCode.NOT_FOUND, "no id"),
        (AwsCode.NOT_FOUND, "alias/none"),
        (AwsCode.NOT_FOUND, f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/none"),
        (AwsCode.NOT_FOUND, f"arn:aws:kms:{OTHER_REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"),
        (AwsCode.NOT_FOUND, f"arn:aws-cn:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"),
        (AwsCode.INVALID_ARN, "arn:aws:s3:::bucket"),
        (AwsCode.INVALID_ARN, "arn:aws:kms"),
        (AwsCode.VALIDATION, ""),
        (AwsCode.VALIDATION, "x" * 2049),
    ],
)
def test_key_ids_that_name_nothing(code: AwsCode, key_id: str) -> None:
    Twin().refused(code, "Encrypt", KeyId=key_id, Plaintext=b"a")


def test_every_form_of_a_key_id() -> None:
    twin = Twin()
    arn = twin.key()
    twin.call("CreateAlias", AliasName="alias/one", TargetKeyId=arn)
    for form in (arn, arn.split("/")[1], "alias/one", f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/one"):
        assert twin.call("DescribeKey", KeyId=form)["KeyMetadata"]["Arn"] == arn
    twin.refused(AwsCode.INVALID_ARN, "DisableKey", KeyId="alias/one")


def test_disabling_stops_use_and_enabling_brings_it_back() -> None:
    twin = Twin()
    arn = twin.key()
    twin.call("DisableKey", KeyId=arn)
    assert twin.state(arn) == "Disabled"
    assert "is disabled" in twin.refused(AwsCode.DISABLED, "Encrypt", KeyId=arn, Plaintext=b"a")
    twin.call("EnableKey", KeyId=arn)
    twin.call("Encrypt", KeyId=arn, Plaintext=b"a")
    twin.call("UpdateKeyDescription", KeyId=arn, Description="new words")
    assert twin.call("DescribeKey", KeyId=arn)["KeyMetadata"]["Description"] == "new words"


@pytest.mark.parametrize("days", [7, 30, None])
def test_deletion_waits_as_long_as_asked_and_not_longer(days: int | None) -> None:
    twin = Twin()
    arn = twin.key()
    twin.call("CreateAlias", AliasName="alias/one", TargetKeyId=arn)
    given = {} if days is None else {"PendingWindowInDays": days}
    answer = twin.call("ScheduleKeyDeletion", KeyId=arn, **given)
    window = days or 30
    assert (answer["KeyState"], answer["PendingWindowInDays"]) == ("PendingDeletion", window)
    assert answer["DeletionDate"].timestamp() * 1000 == START_MS + window * 86_400_000
    assert "pending deletion" in twin.refused(AwsCode.INVALID_STATE, "Encrypt", KeyId=arn, Plaintext=b"a")
    twin.refused(AwsCode.INVALID_STATE, "ScheduleKeyDeletion", KeyId=arn)
    twin.refused(AwsCode.INVALID_STATE, "EnableKey", KeyId=arn)
    twin.now_ms += window * 86_400_000 - 1
    assert "DeletionDate" in twin.call("DescribeKey", KeyId=arn)["KeyMetadata"]
    twin.now_ms += 1
    twin.refused(AwsCode.NOT_FOUND, "DescribeKey", KeyId=arn)
    assert twin.service.describe(arn) is None
    assert twin.call("ListAliases")["Aliases"] == []


@pytest.mark.parametrize("days", [1, 6, 31, 365])
def test_waiting_periods_past_the_bounds(days: int) -> None:
    twin = Twin()
    arn = twin.key()
    message = twin.refused(AwsCode.VALIDATION, "ScheduleKeyDeletion", KeyId=arn, PendingWindowInDays=days)
    assert "pendingWindowInDays" in message
    assert twin.state(arn) == "Enabled"


def test_a_cancelled_deletion_leaves_the_key_disabled() -> None:
    twin = Twin()
    arn = twin.key()
    twin.refused(AwsCode.INVALID_STATE, "CancelKeyDeletion", KeyId=arn)
    twin.call("ScheduleKeyDeletion", KeyId=arn, PendingWindowInDays=7)
    assert twin.call("CancelKeyDeletion", KeyId=arn) == {"KeyId": arn}
    assert twin.state(arn) == "Disabled"
    twin.pass_days(40)
    twin.call("EnableKey", KeyId=arn)
    assert twin.state(arn) == "Enabled"


def test_keys_are_listed_page_by_page() -> None:
    twin = Twin()
    made = sorted(twin.key() for _ in range(5))
    twin.key(region=OTHER_REGION)
    seen: list[str] = []
    marker: dict[str, str] = {}
    for _ in range(3):
        page = twin.call("ListKeys", Limit=2, **marker)
        seen += [key["KeyArn"] for key in page["Keys"]]
        assert page["Truncated"] == ("NextMarker" in page)
        marker = {"Marker": page["NextMarker"]} if page["Truncated"] else {}
    assert (seen, marker) == (made, {})
    assert twin.call("ListKeys", ResourceOwners=["OTHER_ACCOUNTS_VIA_RAM"])["Keys"] == []
    assert len(twin.call("ListKeys", ResourceOwners=["SELF"])["Keys"]) == 5
    for bad in ("no marker", "bm8=", "\u00ff"):
        twin.refused(AwsCode.INVALID_MARKER, "ListKeys", Marker=bad)
    twin.refused(AwsCode.VALIDATION, "ListKeys", Limit=1001)


def test_last_usage_names_operation_and_time() -> None:
    twin = Twin()
    arn = twin.key()
    assert "KeyLastUsage" not in twin.call("GetKeyLastUsage", KeyId=arn)
    twin.pass_days(1)
    twin.call("Encrypt", KeyId=arn, Plaintext=b"a")
    use = twin.call("GetKeyLastUsage", KeyId=arn)["KeyLastUsage"]
    assert use["Operation"] == "Encrypt"
    assert use["Timestamp"].timestamp() * 1000 == twin.now_ms
