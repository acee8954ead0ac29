"""The catalogue of KMS operations, read from the installed botocore, sorted by what each could give away.

Only the sorting is written here; which operations exist, and which of them take a ``Recipient``, comes from the
service model. An operation that the model has and this file does not sort is treated as one that yields plaintext, so
that an update of botocore can never open a way that no proof looked at.

Spec: KMS API Reference; Service Authorization Reference, "Actions, resources, and condition keys for AWS KMS".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from botocore.loaders import Loader

PREFIX: Final = "kms:"
"""What every action name here starts with, lower case, as AWS writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Describe one API operation of KMS as the installed botocore knows it.

    Attributes:
        name: the API name, for example ``ReEncrypt``.
        actions: the IAM actions a call is authorised as, with the ``kms:`` prefix; two for ``ReEncrypt``.
        takes_recipient: whether the request has a ``Recipient``, so that a call can be attested.
        takes_dry_run: whether the request has ``DryRun``.
        takes_encryption_context: whether the request carries an encryption context.
        names_key: whether a call is authorised on one KMS key, so that its key policy has a say.
    """

    name: str
    actions: tuple[str, ...]
    takes_recipient: bool
    takes_dry_run: bool
    takes_encryption_context: bool
    names_key: bool


def _actions(*names: str) -> frozenset[str]:
    return frozenset(PREFIX + name for name in names)


_TWO_SIDED: Final = MappingProxyType({"ReEncrypt": ("kms:ReEncryptFrom", "kms:ReEncryptTo")})
"""Operations authorised as other actions than their name: one on the source key, one on the destination key."""

PERMISSION_ONLY_ACTIONS: Final = _actions("SynchronizeMultiRegionKey")
"""Actions that no API operation carries: KMS itself uses them through a service-linked role."""

KEYLESS_ACTIONS: Final = _actions(
    "ConnectCustomKeyStore",
    "CreateCustomKeyStore",
    "CreateKey",
    "DeleteCustomKeyStore",
    "DescribeCustomKeyStores",
    "DisconnectCustomKeyStore",
    "GenerateRandom",
    "ListAliases",
    "ListKeys",
    "ListRetirableGrants",
    "UpdateCustomKeyStore",
)
"""Actions authorised on no key: identity policies alone decide, a key policy cannot gate them."""

CLASSIFIED_PLAINTEXT_ACTIONS: Final = _actions(
    "Decapsulate", "Decrypt", "DeriveSharedSecret", "Encapsulate", "GenerateDataKey", "GenerateDataKeyPair"
)
"""Actions whose answer holds a plaintext, a data key, a private key or a shared secret."""

ESCALATION_ACTIONS: Final = _actions(
    "CreateGrant", "ImportKeyMaterial", "PutKeyPolicy", "ReEncryptFrom", "ReplicateKey"
)
"""Actions that turn into plaintext later: another policy, a grant, another key, a replica, known key material."""

LABEL_ACTIONS: Final = _actions("CreateAlias", "DeleteAlias", "TagResource", "UntagResource", "UpdateAlias")
"""Actions that change tags and aliases: escalation wherever a policy decides by tag or alias."""

AVAILABILITY_ACTIONS: Final = _actions(
    "DeleteImportedKeyMaterial", "DisableKey", "ScheduleKeyDeletion", "UpdatePrimaryRegion"
)
"""Actions that make the key unusable, or move it: nothing leaks, but releases stop."""

MINTING_ACTIONS: Final = _actions(
    "Encrypt", "GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext", "ReEncryptTo"
)
"""Actions that make a new ciphertext under the key without showing a plaintext."""

SIGNING_ACTIONS: Final = _actions("GenerateMac", "Sign", "Verify", "VerifyMac")
"""Actions of signing and MAC keys; an encryption key refuses them."""

RANDOM_ACTIONS: Final = _actions("GenerateRandom")
"""Random bytes: attestable, but not under any key."""

READ_ACTIONS: Final = _actions(
    "DescribeCustomKeyStores",
    "DescribeKey",
    "GetKeyLastUsage",
    "GetKeyPolicy",
    "GetKeyRotationStatus",
    "GetParametersForImport",
    "GetPublicKey",
    "ListAliases",
    "ListGrants",
    "ListKeyPolicies",
    "ListKeyRotations",
    "ListKeys",
    "ListResourceTags",
    "ListRetirableGrants",
)
"""Actions that only read what is public about a key."""

ADMINISTRATION_ACTIONS: Final = _actions(
    "CancelKeyDeletion",
    "ConnectCustomKeyStore",
    "CreateCustomKeyStore",
    "CreateKey",
    "DeleteCustomKeyStore",
    "DisableKeyRotation",
    "DisconnectCustomKeyStore",
    "EnableKey",
    "EnableKeyRotation",
    "RetireGrant",
    "RevokeGrant",
    "RotateKeyOnDemand",
    "SynchronizeMultiRegionKey",
    "UpdateCustomKeyStore",
    "UpdateKeyDescription",
)
"""Actions of administration that neither yield plaintext nor lead to it."""

CLASSES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "plaintext": CLASSIFIED_PLAINTEXT_ACTIONS,
        "escalation": ESCALATION_ACTIONS,
        "labels": LABEL_ACTIONS,
        "availability": AVAILABILITY_ACTIONS,
        "minting": MINTING_ACTIONS,
        "signing": SIGNING_ACTIONS,
        "random": RANDOM_ACTIONS,
        "read": READ_ACTIONS,
        "administration": ADMINISTRATION_ACTIONS,
    }
)
"""Every class by name; the classes do not overlap."""

CLASSIFIED_ACTIONS: Final = frozenset[str]().union(*CLASSES.values())
"""Every action that this file sorts."""

FUTURE_ACTION: Final = PREFIX + "OperationNotYetKnown"
"""Stands for an operation that AWS adds tomorrow: whatever matches it matches too much."""


def read_operations(model: Mapping[str, Any]) -> Mapping[str, Operation]:
    """Read every operation of a botocore service model.

    Args:
        model: the content of ``service-2.json``: ``operations`` and ``shapes``.

    Returns:
        The operations by API name.
    """
    operations: dict[str, Operation] = {}
    for name, described in model["operations"].items():
        shape = described.get("input", {}).get("shape")
        members = model["shapes"][shape].get("members", {}) if shape else {}
        actions = _TWO_SIDED.get(name, (PREFIX + name,))
        operations[name] = Operation(
            name=name,
            actions=actions,
            takes_recipient="Recipient" in members,
            takes_dry_run="DryRun" in members,
            takes_encryption_context=any(member.endswith("EncryptionContext") for member in members),
            names_key=not KEYLESS_ACTIONS.intersection(actions),
        )
    return MappingProxyType(operations)


def unclassified_actions(operations: Mapping[str, Operation]) -> frozenset[str]:
    """Return the actions of ``operations`` that no class here holds: treated as yielding plaintext."""
    return frozenset(action for operation in operations.values() for action in operation.actions) - CLASSIFIED_ACTIONS


OPERATIONS: Final = read_operations(Loader().load_service_model("kms", "service-2"))
"""Every operation of the installed botocore, by API name; no credentials, no region, no network."""

UNCLASSIFIED_ACTIONS: Final = unclassified_actions(OPERATIONS)
"""Actions the installed botocore has and this file does not sort. Empty in a release; never ignored."""

PLAINTEXT_ACTIONS: Final = CLASSIFIED_PLAINTEXT_ACTIONS | UNCLASSIFIED_ACTIONS
"""Actions whose answer may hold a plaintext, those not sorted yet included."""

RECIPIENT_OPERATIONS: Final = frozenset(name for name, operation in OPERATIONS.items() if operation.takes_recipient)
"""API names of the operations that take a ``Recipient``, from the model."""

ATTESTABLE_ACTIONS: Final = frozenset(
    action
    for operation in OPERATIONS.values()
    if operation.takes_recipient and operation.names_key
    for action in operation.actions
)
"""Actions on a key that can carry the attestation condition keys."""

ALL_ACTIONS: Final = CLASSIFIED_ACTIONS | UNCLASSIFIED_ACTIONS | PERMISSION_ONLY_ACTIONS
"""Every action known here or to the installed botocore, with the ``kms:`` prefix."""

KEY_ACTIONS: Final = ALL_ACTIONS - KEYLESS_ACTIONS
"""Every action that is authorised on a key."""
