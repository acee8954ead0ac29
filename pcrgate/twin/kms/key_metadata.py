"""The KeyMetadata structure that CreateKey, DescribeKey and ReplicateKey answer with."""

from pcrgate.twin.kms.key_specs import Family
from pcrgate.twin.kms.key_state import ENABLED, PENDING_DELETION, PENDING_REPLICA_DELETION, state_of
from pcrgate.twin.kms.records import KeyRecord


def seconds(time_ms: int) -> float:
    """Return a time as the protocol writes it: seconds since 1970."""
    return time_ms / 1000


def key_metadata(key: KeyRecord, now_ms: int) -> dict[str, object]:
    """Return the KeyMetadata of a key. Spec: KMS API, KeyMetadata."""
    state = state_of(key, now_ms)
    spec = key.spec
    metadata: dict[str, object] = {
        "AWSAccountId": key.account,
        "KeyId": key.key_id,
        "Arn": key.arn,
        "CreationDate": seconds(key.created_ms),
        "Enabled": state == ENABLED,
        "Description": key.description,
        "KeyUsage": key.usage.value,
        "KeyState": state,
        "Origin": key.origin,
        "KeyManager": "CUSTOMER",
        "KeySpec": key.spec_name,
        "MultiRegion": key.multi_region,
    }
    metadata |= spec.algorithms(key.usage)
    if spec.family is not Family.EDWARDS:  # the deprecated member's enumeration ends before this spec
        metadata["CustomerMasterKeySpec"] = key.spec_name
    current = key.current
    if current is not None and spec.family is Family.SYMMETRIC:
        metadata["CurrentKeyMaterialId"] = current.material_id
    if current is not None and key.origin == "EXTERNAL" and current.secret is not None:
        expires = current.valid_to_ms is not None
        metadata["ExpirationModel"] = "KEY_MATERIAL_EXPIRES" if expires else "KEY_MATERIAL_DOES_NOT_EXPIRE"
        if current.valid_to_ms is not None:
            metadata["ValidTo"] = seconds(current.valid_to_ms)
    if state == PENDING_DELETION and key.deletion_ms is not None:
        metadata["DeletionDate"] = seconds(key.deletion_ms)
    if state == PENDING_REPLICA_DELETION:
        metadata["PendingDeletionWindowInDays"] = key.pending_window_days
    if key.primary_region is not None:
        metadata["MultiRegionConfiguration"] = {
            "MultiRegionKeyType": "REPLICA" if key.is_replica else "PRIMARY",
            "PrimaryKey": _regional(key, key.primary_region),
            "ReplicaKeys": [_regional(key, region) for region in key.replica_regions],
        }
    return metadata


def _regional(key: KeyRecord, region: str) -> dict[str, str]:
    return {"Arn": key.arn_in(region), "Region": region}
