"""The KMS: find the operation, check the request's shape, and hand over what must be authorised."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from pcrgate.twin.kms import (
    operations_aliases,
    operations_data_keys,
    operations_encryption,
    operations_grants,
    operations_import,
    operations_keys,
    operations_policies,
    operations_replicas,
    operations_rotation,
    operations_signing,
    operations_unsupported,
)
from pcrgate.twin.kms.call import Call, Resources
from pcrgate.twin.kms.cms import ContentForm
from pcrgate.twin.kms.fields import Fields
from pcrgate.twin.kms.interface import Caller, KeyDescription, PolicyGuard, Prepared
from pcrgate.twin.kms.keyring import Keyring
from pcrgate.twin.kms.policy_guard import TextOnlyGuard
from pcrgate.twin.kms.randomness import Randomness, SystemRandomness
from pcrgate.twin.kms.request_shape import check_request, operation_model
from pcrgate.twin.kms.store import MemoryStore, Store

OPERATIONS: Final[Mapping[str, Callable[[Call], Prepared]]] = {
    "CancelKeyDeletion": operations_keys.cancel_key_deletion,
    "CreateAlias": operations_aliases.create_alias,
    "CreateGrant": operations_grants.create_grant,
    "CreateKey": operations_keys.create_key,
    "Decrypt": operations_encryption.decrypt_ciphertext,
    "DeleteAlias": operations_aliases.delete_alias,
    "DeleteImportedKeyMaterial": operations_import.delete_imported_key_material,
    "DeriveSharedSecret": operations_signing.derive_shared_secret,
    "DescribeKey": operations_keys.describe_key,
    "DisableKey": operations_keys.disable_key,
    "DisableKeyRotation": operations_rotation.disable_key_rotation,
    "EnableKey": operations_keys.enable_key,
    "EnableKeyRotation": operations_rotation.enable_key_rotation,
    "Encrypt": operations_encryption.encrypt_plaintext,
    "GenerateDataKey": operations_data_keys.generate_data_key,
    "GenerateDataKeyPair": operations_data_keys.generate_data_key_pair,
    "GenerateDataKeyPairWithoutPlaintext": operations_data_keys.generate_data_key_pair_without_plaintext,
    "GenerateDataKeyWithoutPlaintext": operations_data_keys.generate_data_key_without_plaintext,
    "GenerateMac": operations_signing.generate_mac,
    "GenerateRandom": operations_data_keys.generate_random,
    "GetKeyLastUsage": operations_keys.get_key_last_usage,
    "GetKeyPolicy": operations_policies.get_key_policy,
    "GetKeyRotationStatus": operations_rotation.get_key_rotation_status,
    "GetParametersForImport": operations_import.get_parameters_for_import,
    "GetPublicKey": operations_signing.get_public_key,
    "ImportKeyMaterial": operations_import.import_key_material,
    "ListAliases": operations_aliases.list_aliases,
    "ListGrants": operations_grants.list_grants,
    "ListKeyPolicies": operations_policies.list_key_policies,
    "ListKeyRotations": operations_rotation.list_key_rotations,
    "ListKeys": operations_keys.list_keys,
    "ListResourceTags": operations_policies.list_resource_tags,
    "ListRetirableGrants": operations_grants.list_retirable_grants,
    "PutKeyPolicy": operations_policies.put_key_policy,
    "ReEncrypt": operations_encryption.re_encrypt,
    "ReplicateKey": operations_replicas.replicate_key,
    "RetireGrant": operations_grants.retire_grant,
    "RevokeGrant": operations_grants.revoke_grant,
    "RotateKeyOnDemand": operations_rotation.rotate_key_on_demand,
    "ScheduleKeyDeletion": operations_keys.schedule_key_deletion,
    "Sign": operations_signing.sign,
    "TagResource": operations_policies.tag_resource,
    "UntagResource": operations_policies.untag_resource,
    "UpdateAlias": operations_aliases.update_alias,
    "UpdateKeyDescription": operations_keys.update_key_description,
    "UpdatePrimaryRegion": operations_replicas.update_primary_region,
    "Verify": operations_signing.verify,
    "VerifyMac": operations_signing.verify_mac,
}
"""Every operation the twin does; the rest of the model (custom key stores, Encapsulate, Decapsulate) is refused."""


def _system_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class KmsService:
    """Answer KMS requests of every account and Region from one store; implements :class:`interface.Kms`.

    Args:
        store: where keys live.
        clock_ms: milliseconds since 1970.
        randomness: source of keys, ids and IVs.
        guard: judges key policies before they take effect.
        content_form: form of CiphertextForRecipient.
    """

    def __init__(
        self,
        *,
        store: Store | None = None,
        clock_ms: Callable[[], int] = _system_clock_ms,
        randomness: Randomness | None = None,
        guard: PolicyGuard | None = None,
        content_form: ContentForm = "chunked",
    ) -> None:
        self._resources = Resources(
            keyring=Keyring(store or MemoryStore(), clock_ms),
            clock_ms=clock_ms,
            randomness=randomness or SystemRandomness(),
            guard=guard or TextOnlyGuard(),
            content_form=content_form,
        )

    def prepare(self, operation: str, request: Mapping[str, object], caller: Caller) -> Prepared:
        """Check the shape of a request and find its keys; see :mod:`pcrgate.twin.kms.interface`.

        Raises:
            AwsError: everything that KMS says before it looks at permissions.
        """
        operation_model(operation)
        handler = OPERATIONS.get(operation, operations_unsupported.refuse_operation)
        check_request(operation, request)
        self._resources.keyring.purge_due()
        operations_rotation.rotate_due(self._resources)
        return handler(Call(operation=operation, request=Fields(request), caller=caller, resources=self._resources))

    def describe(self, arn: str) -> KeyDescription | None:
        """Return the key of that ARN as it is now, or None."""
        self._resources.keyring.purge_due()
        key = self._resources.keyring.find(arn)
        return None if key is None else self._resources.keyring.describe(key)

    def close(self) -> None:
        """Close the store."""
        self._resources.keyring.close()
