import pytest

from pcrgate.twin.kms.operations_rotation import ON_DEMAND_MAX_COUNT
from pcrgate.twin.kms.service_errors import AwsCode
from tests.unit.twin.kms.kit import OTHER_REGION, START_MS, Twin

DAY_MS = 86_400_000


def _materials(twin: Twin, arn: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = twin.call("ListKeyRotations", KeyId=arn, IncludeKeyMaterial="ALL_KEY_MATERIAL")[
        "Rotations"
    ]
    return found


def test_old_ciphertexts_open_after_a_rotation_and_new_ones_use_new_material() -> None:
    twin = Twin()
    arn = twin.key()
    old = twin.call("Encrypt", KeyId=arn, Plaintext=b"old")["CiphertextBlob"]
    first = twin.call("Decrypt", CiphertextBlob=old)["KeyMaterialId"]
    assert twin.call("RotateKeyOnDemand", KeyId=arn) == {"KeyId": arn}
    new = twin.call("Encrypt", KeyId=arn, Plaintext=b"new")["CiphertextBlob"]
    opened_old, opened_new = (twin.call("Decrypt", CiphertextBlob=blob) for blob in (old, new))
    assert (opened_old["Plaintext"], opened_old["KeyMaterialId"]) == (b"old", first)
    assert opened_new["KeyMaterialId"] != first
    assert twin.call("DescribeKey", KeyId=arn)["KeyMetadata"]["CurrentKeyMaterialId"] == opened_new["KeyMaterialId"]
    (rotation,) = twin.call("ListKeyRotations", KeyId=arn)["Rotations"]
    assert rotation["RotationType"] == "ON_DEMAND"
    assert rotation["RotationDate"].timestamp() * 1000 == START_MS
    states = [(one["KeyMaterialState"], one["KeyMaterialId"]) for one in _materials(twin, arn)]
    assert states == [("NON_CURRENT", first), ("CURRENT", opened_new["KeyMaterialId"])]


@pytest.mark.parametrize(
    ("given", "days"), [({}, 365), ({"RotationPeriodInDays": 90}, 90), ({"RotationPeriodInDays": 2560}, 2560)]
)
def test_automatic_rotation_happens_when_it_is_due(given: dict[str, int], days: int) -> None:
    twin = Twin()
    arn = twin.key()
    assert twin.call("GetKeyRotationStatus", KeyId=arn) == {"KeyRotationEnabled": False, "KeyId": arn}
    twin.call("EnableKeyRotation", KeyId=arn, **given)
    status = twin.call("GetKeyRotationStatus", KeyId=arn)
    assert status.pop("NextRotationDate").timestamp() * 1000 == START_MS + days * DAY_MS
    assert status == {"KeyRotationEnabled": True, "KeyId": arn, "RotationPeriodInDays": days}
    twin.now_ms += days * DAY_MS - 1
    assert len(_materials(twin, arn)) == 1
    twin.now_ms += 1
    assert [one.get("RotationType") for one in _materials(twin, arn)] == [None, "AUTOMATIC"]
    twin.call("DisableKeyRotation", KeyId=arn)
    twin.pass_days(3000)
    assert len(_materials(twin, arn)) == 2


def test_a_disabled_key_does_not_rotate() -> None:
    twin = Twin()
    arn = twin.key()
    twin.call("EnableKeyRotation", KeyId=arn)
    twin.call("DisableKey", KeyId=arn)
    twin.pass_days(400)
    assert len(_materials(twin, arn)) == 1
    assert twin.call("GetKeyRotationStatus", KeyId=arn)["KeyRotationEnabled"] is True
    twin.refused(AwsCode.DISABLED, "RotateKeyOnDemand", KeyId=arn)
    twin.call("ScheduleKeyDeletion", KeyId=arn)
    assert twin.call("GetKeyRotationStatus", KeyId=arn)["KeyRotationEnabled"] is False
    twin.call("CancelKeyDeletion", KeyId=arn)
    assert twin.call("GetKeyRotationStatus", KeyId=arn)["KeyRotationEnabled"] is True
    twin.call("EnableKey", KeyId=arn)
    assert len(_materials(twin, arn)) == 2


def test_a_changed_period_keeps_its_start_and_an_on_demand_rotation_changes_nothing() -> None:
    twin = Twin()
    arn = twin.key()
    twin.call("EnableKeyRotation", KeyId=arn)
    twin.pass_days(50)
    twin.call("RotateKeyOnDemand", KeyId=arn)
    twin.call("EnableKeyRotation", KeyId=arn, RotationPeriodInDays=100)
    due = twin.call("GetKeyRotationStatus", KeyId=arn)["NextRotationDate"]
    assert due.timestamp() * 1000 == START_MS + 100 * DAY_MS
    twin.call("EnableKeyRotation", KeyId=arn)
    assert twin.call("GetKeyRotationStatus", KeyId=arn)["RotationPeriodInDays"] == 100
    (check,) = twin.checks("EnableKeyRotation", KeyId=arn, RotationPeriodInDays=100)
    assert check.context["kms:RotationPeriodInDays"] == "100"


@pytest.mark.parametrize("days", [89, 2561])
def test_periods_past_the_bounds(days: int) -> None:
    twin = Twin()
    twin.refused(AwsCode.VALIDATION, "EnableKeyRotation", KeyId=twin.key(), RotationPeriodInDays=days)


def test_on_demand_rotations_are_limited() -> None:
    twin = Twin()
    arn = twin.key()
    for _ in range(ON_DEMAND_MAX_COUNT):
        twin.call("RotateKeyOnDemand", KeyId=arn)
    twin.refused(AwsCode.LIMIT_EXCEEDED, "RotateKeyOnDemand", KeyId=arn)
    page = twin.call("ListKeyRotations", KeyId=arn, Limit=20)
    rest = twin.call("ListKeyRotations", KeyId=arn, Limit=20, Marker=page["NextMarker"])
    assert (len(page["Rotations"]), len(rest["Rotations"])) == (20, ON_DEMAND_MAX_COUNT - 20)


@pytest.mark.parametrize(
    "operation",
    ["EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand", "ListKeyRotations"],
)
def test_keys_that_cannot_rotate(operation: str) -> None:
    twin = Twin()
    mac = twin.key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    twin.refused(AwsCode.UNSUPPORTED_OPERATION, operation, KeyId=mac)
    assert twin.call("GetKeyRotationStatus", KeyId=mac) == {"KeyRotationEnabled": False, "KeyId": mac}


def test_a_primary_rotates_for_all_its_replicas() -> None:
    twin = Twin()
    arn = twin.key(MultiRegion=True)
    twin.call("ReplicateKey", KeyId=arn, ReplicaRegion=OTHER_REGION)
    replica = arn.replace("eu-central-1", OTHER_REGION)
    twin.refused(AwsCode.UNSUPPORTED_OPERATION, "RotateKeyOnDemand", region=OTHER_REGION, KeyId=replica)
    twin.refused(AwsCode.UNSUPPORTED_OPERATION, "EnableKeyRotation", region=OTHER_REGION, KeyId=replica)
    twin.call("EnableKeyRotation", KeyId=arn)
    assert twin.call("GetKeyRotationStatus", region=OTHER_REGION, KeyId=replica)["KeyRotationEnabled"] is True
    twin.pass_days(365)
    blob = twin.call("Encrypt", KeyId=arn, Plaintext=b"a")["CiphertextBlob"]
    assert len(_materials(twin, arn)) == 2
    assert twin.call("Decrypt", region=OTHER_REGION, CiphertextBlob=blob)["Plaintext"] == b"a"
