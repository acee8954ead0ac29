"""Condition keys of KMS by name, and which of them hold an attestation.

Spec: Service Authorization Reference, "Condition keys for AWS KMS"; KMS Developer Guide, "Condition keys for AWS Nitro
Enclaves", "Condition keys for NitroTPM".
"""

from types import MappingProxyType
from typing import Final

from kms_policies.document import Condition
from kms_policies.request import IMAGE_KEY, NITROTPM_KEY_PREFIX, PCR_KEY_PREFIX
from pcrgate.units import PCR_MAX_INDEX

NITROTPM_MAX_INDEX: Final = 23
"""Highest PCR of a TPM. Spec: KMS Developer Guide, "Condition keys for NitroTPM"."""

ATTESTATION_KEYS: Final = MappingProxyType(
    {
        key.lower(): key
        for key in (
            IMAGE_KEY,
            *(f"{PCR_KEY_PREFIX}{index}" for index in range(PCR_MAX_INDEX + 1)),
            *(f"{NITROTPM_KEY_PREFIX}{index}" for index in range(NITROTPM_MAX_INDEX + 1)),
        )
    }
)
"""Every attestation condition key, by its lower-case name."""

FREE_KEY_PREFIX: Final = "kms:encryptioncontext:"
"""Followed by any name, lower case."""

KMS_KEYS: Final = frozenset(
    f"kms:{name.lower()}"
    for name in (
        "BypassPolicyLockoutSafetyCheck",
        "CallerAccount",
        "CustomerMasterKeySpec",
        "CustomerMasterKeyUsage",
        "DataKeyPairSpec",
        "EncryptionAlgorithm",
        "EncryptionContextKeys",
        "ExpirationModel",
        "GranteePrincipal",
        "GrantConstraintType",
        "GrantIsForAWSResource",
        "GrantOperations",
        "KeyAgreementAlgorithm",
        "KeyOrigin",
        "KeySpec",
        "KeyUsage",
        "MacAlgorithm",
        "MessageType",
        "MultiRegion",
        "MultiRegionKeyType",
        "PrimaryRegion",
        "ReEncryptOnSameKey",
        "ReplicaRegion",
        "RequestAlias",
        "ResourceAliases",
        "RetiringPrincipal",
        "RotationPeriodInDays",
        "ScheduleKeyDeletionPendingWindowInDays",
        "SigningAlgorithm",
        "ValidTo",
        "ViaService",
        "WrappingAlgorithm",
        "WrappingKeySpec",
    )
)
"""Every other condition key of KMS, lower case."""

COMPARING_OPERATORS: Final = frozenset(
    {"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"}
)
"""Operators that compare whole values of text."""


def is_attestation_key(condition: Condition) -> bool:
    """Tell whether a condition is on an attestation key, well spelt."""
    return condition.folded_key in ATTESTATION_KEYS
