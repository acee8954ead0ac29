"""Which actions each question is about, and which of them the key's own nature rules out.

Spec: KMS API Reference; KMS Developer Guide, "Key types", "Multi-Region keys", "Importing key material".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from kms_policies.operations import (
    ATTESTABLE_ACTIONS,
    AVAILABILITY_ACTIONS,
    ESCALATION_ACTIONS,
    FUTURE_ACTION,
    KEY_ACTIONS,
    LABEL_ACTIONS,
    MINTING_ACTIONS,
    PLAINTEXT_ACTIONS,
    PREFIX,
    UNCLASSIFIED_ACTIONS,
)
from kms_policies.request import KeyMetadata


class Tier(Enum):
    """Name what a request leads to."""

    PLAINTEXT = "plaintext"
    ESCALATION = "escalation"
    AVAILABILITY = "availability"
    MINTING = "minting"


_SYMMETRIC: Final = frozenset({"kms:GenerateDataKey", "kms:GenerateDataKeyPair"})
_ANY_ENCRYPTION: Final = frozenset({"kms:Decrypt", "kms:ReEncryptFrom"})
_BY_USAGE: Final = {
    "ENCRYPT_DECRYPT": _ANY_ENCRYPTION | _SYMMETRIC,
    "KEY_AGREEMENT": frozenset({"kms:DeriveSharedSecret"}),
    "ENCAPSULATE_DECAPSULATE": frozenset({"kms:Decapsulate", "kms:Encapsulate"}),
    "SIGN_VERIFY": frozenset[str](),
    "GENERATE_VERIFY_MAC": frozenset[str](),
}
_USAGE_BOUND: Final = frozenset[str]().union(*_BY_USAGE.values())

LEAKING_GRANT_OPERATIONS: Final = frozenset(
    action.removeprefix(PREFIX)
    for action in (PLAINTEXT_ACTIONS | ESCALATION_ACTIONS) - {"kms:PutKeyPolicy", "kms:ReplicateKey"}
)
"""Grant operations that yield plaintext or lead to it; any operation not known yet counts as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """Hold the actions of each tier for one key.

    Attributes:
        actions: every action on a key, the most telling first, with the stand-in for future operations.
        by_tier: the actions of each tier that the key's nature does not rule out.
        attestable: the actions that can carry an attestation.
        ruled_out: the actions of a tier that the key's nature rules out.
    """

    actions: tuple[str, ...]
    by_tier: dict[Tier, frozenset[str]]
    attestable: frozenset[str]
    ruled_out: frozenset[str]


_FIRST: Final = (
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyPair",
    "kms:DeriveSharedSecret",
    "kms:Decapsulate",
    "kms:Encapsulate",
    "kms:PutKeyPolicy",
    "kms:CreateGrant",
    "kms:ReEncryptFrom",
)


def tiers_of(key: KeyMetadata | None, condition_keys: Iterable[str]) -> Tiers:
    """Return the actions of every tier.

    Without metadata the key is single-Region with material made by KMS, but its usage is left open: an operation that
    cannot be attested counts unless the key is known to refuse it.

    Args:
        key: the key's metadata, or ``None``.
        condition_keys: every condition key that the policies use, lower case.
    """
    names = tuple(condition_keys)
    out = set[str]()
    if key is None or not (key.multi_region or key.arn.is_multi_region):
        out.add("kms:ReplicateKey")
    if key is None or key.origin != "EXTERNAL":
        out |= {"kms:ImportKeyMaterial", "kms:DeleteImportedKeyMaterial"}
    if key is not None:
        out |= _USAGE_BOUND - _BY_USAGE.get(key.key_usage, _USAGE_BOUND)
        if key.key_usage == "ENCRYPT_DECRYPT" and key.key_spec != "SYMMETRIC_DEFAULT":
            out |= _SYMMETRIC
    escalation = ESCALATION_ACTIONS | {FUTURE_ACTION}
    if any(name.startswith("aws:resourcetag/") for name in names):
        escalation |= LABEL_ACTIONS & {"kms:TagResource", "kms:UntagResource"}
    if {"kms:resourcealiases", "kms:requestalias"}.intersection(names):
        escalation |= LABEL_ACTIONS - {"kms:TagResource", "kms:UntagResource"}
    by_tier = {
        Tier.PLAINTEXT: PLAINTEXT_ACTIONS,
        Tier.ESCALATION: escalation,
        Tier.AVAILABILITY: AVAILABILITY_ACTIONS,
        Tier.MINTING: MINTING_ACTIONS,
    }
    out -= UNCLASSIFIED_ACTIONS
    used = frozenset[str]().union(*by_tier.values())
    return Tiers(
        actions=tuple(sorted(KEY_ACTIONS | {FUTURE_ACTION}, key=_order)),
        by_tier={tier: actions - out for tier, actions in by_tier.items()},
        attestable=ATTESTABLE_ACTIONS,
        ruled_out=frozenset(out & used),
    )


def _order(action: str) -> tuple[int, str]:
    return (_FIRST.index(action) if action in _FIRST else len(_FIRST), action)
