"""Which state a key is in, and which operations each state lets through."""

from typing import Final

from pcrgate.twin.kms.records import KeyRecord
from pcrgate.twin.kms.service_errors import AwsCode, AwsError

ENABLED: Final = "Enabled"
DISABLED: Final = "Disabled"
PENDING_DELETION: Final = "PendingDeletion"
PENDING_REPLICA_DELETION: Final = "PendingReplicaDeletion"
PENDING_IMPORT: Final = "PendingImport"

_WORDS: Final = {
    DISABLED: "is disabled",
    PENDING_DELETION: "is pending deletion",
    PENDING_REPLICA_DELETION: "is pending replica deletion",
    PENDING_IMPORT: "is pending import",
}

_CRYPTOGRAPHIC: Final = frozenset(
    {
        "Encrypt",
        "Decrypt",
        "ReEncrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "Sign",
        "Verify",
        "GenerateMac",
        "VerifyMac",
        "DeriveSharedSecret",
        "GetPublicKey",
    }
)

_NEEDS_ENABLED: Final = _CRYPTOGRAPHIC | {
    "CreateGrant",
    "EnableKeyRotation",
    "DisableKeyRotation",
    "RotateKeyOnDemand",
    "ReplicateKey",
    "UpdatePrimaryRegion",
}
"""Refused while disabled, and in every pending state."""

_REFUSED_PENDING_DELETION: Final = frozenset(
    {
        "CreateAlias",
        "UpdateAlias",
        "EnableKey",
        "DisableKey",
        "ScheduleKeyDeletion",
        "TagResource",
        "UntagResource",
        "UpdateKeyDescription",
        "GetParametersForImport",
        "ImportKeyMaterial",
    }
)
"""Refused in addition while a deletion is scheduled."""

_REFUSED_PENDING_IMPORT: Final = frozenset({"EnableKey", "DisableKey"})
"""Refused in addition while there is no key material."""


def state_of(key: KeyRecord, now_ms: int) -> str:
    """Return the KeyState. Spec: KMS Developer Guide, "Key states of AWS KMS keys"."""
    if key.deletion_ms is not None:
        return PENDING_DELETION
    if key.pending_window_days is not None:
        return PENDING_REPLICA_DELETION
    if not key.materials or not all(version.is_usable(now_ms) for version in key.materials):
        return PENDING_IMPORT
    return ENABLED if key.enabled else DISABLED


def require_state(key: KeyRecord, operation: str, now_ms: int) -> None:
    """Let the operation through in the key's state, or say why not.

    Raises:
        AwsError: DisabledException or KMSInvalidStateException.

    Spec: KMS Developer Guide, "Key states of AWS KMS keys", the table.
    """
    state = state_of(key, now_ms)
    if state == ENABLED:
        return
    if state == DISABLED:
        if operation in _NEEDS_ENABLED:
            raise AwsError(AwsCode.DISABLED, f"{key.arn} {_WORDS[state]}.")
        return
    refused = _NEEDS_ENABLED | (_REFUSED_PENDING_IMPORT if state == PENDING_IMPORT else _REFUSED_PENDING_DELETION)
    if operation in refused:
        raise AwsError(AwsCode.INVALID_STATE, f"{key.arn} {_WORDS[state]}.")
