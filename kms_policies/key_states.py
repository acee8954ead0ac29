"""What the state of a key refuses, whatever the policies allow.

Spec: KMS Developer Guide, "Key states of AWS KMS keys", table and details.
"""

from types import MappingProxyType
from typing import Final

from kms_policies.operations import CLASSIFIED_PLAINTEXT_ACTIONS, KEY_ACTIONS, UNCLASSIFIED_ACTIONS
from kms_policies.request import KeyState

_CRYPTOGRAPHIC: Final = (
    CLASSIFIED_PLAINTEXT_ACTIONS
    | UNCLASSIFIED_ACTIONS
    | {
        "kms:Encrypt",
        "kms:GenerateDataKeyPairWithoutPlaintext",
        "kms:GenerateDataKeyWithoutPlaintext",
        "kms:GenerateMac",
        "kms:GetPublicKey",
        "kms:ReEncryptFrom",
        "kms:ReEncryptTo",
        "kms:Sign",
        "kms:Verify",
        "kms:VerifyMac",
    }
)
_ROTATION: Final = frozenset({"kms:DisableKeyRotation", "kms:EnableKeyRotation", "kms:RotateKeyOnDemand"})
_IMPORT: Final = frozenset({"kms:DeleteImportedKeyMaterial", "kms:GetParametersForImport", "kms:ImportKeyMaterial"})
_REGIONS: Final = frozenset({"kms:ReplicateKey", "kms:UpdatePrimaryRegion"})
_CANCEL: Final = frozenset({"kms:CancelKeyDeletion"})
_ALWAYS: Final = frozenset(
    {
        "kms:DeleteAlias",
        "kms:DescribeKey",
        "kms:GetKeyLastUsage",
        "kms:GetKeyPolicy",
        "kms:GetKeyRotationStatus",
        "kms:ListGrants",
        "kms:ListKeyPolicies",
        "kms:ListKeyRotations",
        "kms:ListResourceTags",
        "kms:PutKeyPolicy",
        "kms:RetireGrant",
        "kms:RevokeGrant",
        "kms:SynchronizeMultiRegionKey",
    }
)
_DELETING: Final = KEY_ACTIONS - _ALWAYS - _CANCEL - {"kms:UpdateAlias"}
_IN_TRANSITION: Final = _REGIONS | _CANCEL | {"kms:DisableKey", "kms:EnableKey", "kms:ScheduleKeyDeletion"}

REFUSED_IN: Final = MappingProxyType(
    {
        KeyState.ENABLED: _CANCEL,
        KeyState.DISABLED: _CRYPTOGRAPHIC | _ROTATION | _REGIONS | _CANCEL | {"kms:CreateGrant"},
        KeyState.PENDING_DELETION: _DELETING,
        KeyState.PENDING_REPLICA_DELETION: _DELETING,
        KeyState.PENDING_IMPORT: _CRYPTOGRAPHIC
        | _ROTATION
        | _REGIONS
        | _CANCEL
        | {"kms:CreateGrant", "kms:DisableKey", "kms:EnableKey"},
        KeyState.UNAVAILABLE: _CRYPTOGRAPHIC | _ROTATION | _REGIONS | _CANCEL | _IMPORT,
        KeyState.CREATING: _CRYPTOGRAPHIC | _ROTATION | _IMPORT | _IN_TRANSITION | {"kms:CreateGrant"},
        KeyState.UPDATING: _ROTATION | _IN_TRANSITION,
    }
)
"""The actions each state refuses. ``UpdateAlias`` is judged on the key the alias leaves."""

_FOLDED: Final = MappingProxyType(
    {state: frozenset(action.lower() for action in actions) for state, actions in REFUSED_IN.items()}
)


def refuses(state: KeyState, action: str) -> bool:
    """Tell whether a key in ``state`` refuses ``action``, for example ``kms:Decrypt``, upper and lower case alike."""
    return action.lower() in _FOLDED[state]
