"""Say which KMS operations the attested client performs, and what each may carry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

RANDOM_MAX_BYTES: Final = 1024
"""Most bytes of one GenerateRandom or GenerateDataKey. Spec: KMS API reference, NumberOfBytes."""

KEY_ENCRYPTION_ALGORITHM: Final = "RSAES_OAEP_SHA_256"
"""The one algorithm a recipient can name. Spec: KMS API reference, RecipientInfo."""

PLAINTEXT_FIELDS: Final = ("Plaintext", "PrivateKeyPlaintext", "SharedSecret")
"""Every response field that carries plaintext when no recipient is given."""

BLOB_FIELDS: Final = frozenset({"CiphertextBlob", "PublicKey"})
"""Request fields that are bytes, base64 in JSON."""

READ_ONLY_OPERATIONS: Final = frozenset({"DescribeKey", "GetKeyPolicy"})
"""Operations without a recipient that cannot yield plaintext and change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientOperation:
    """Describe one operation that takes a recipient.

    Attributes:
        name: as KMS names it.
        plaintext_field: the response field that the opened plaintext is put into.
        required: request parameters that must be given.
        optional: request parameters that may be given.
        fixed: parameters that may have only this value.
    """

    name: str
    plaintext_field: str
    required: frozenset[str]
    optional: frozenset[str] = frozenset()
    fixed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def takes_key(self) -> bool:
        """Whether the operation names a KMS key; GenerateRandom does not."""
        return "KeyId" in self.required

    @property
    def takes_context(self) -> bool:
        """Whether the operation takes an encryption context, which is then required."""
        return "EncryptionContext" in self.required


RECIPIENT_OPERATIONS: Final[Mapping[str, RecipientOperation]] = MappingProxyType(
    {
        operation.name: operation
        for operation in (
            RecipientOperation(
                name="Decrypt",
                plaintext_field="Plaintext",
                required=frozenset({"KeyId", "CiphertextBlob", "EncryptionContext"}),
                optional=frozenset({"EncryptionAlgorithm"}),
                fixed=MappingProxyType({"EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}),
            ),
            RecipientOperation(
                name="GenerateDataKey",
                plaintext_field="Plaintext",
                required=frozenset({"KeyId", "EncryptionContext"}),
                optional=frozenset({"NumberOfBytes", "KeySpec"}),
            ),
            RecipientOperation(
                name="GenerateDataKeyPair",
                plaintext_field="PrivateKeyPlaintext",
                required=frozenset({"KeyId", "EncryptionContext", "KeyPairSpec"}),
            ),
            RecipientOperation(
                name="DeriveSharedSecret",
                plaintext_field="SharedSecret",
                required=frozenset({"KeyId", "KeyAgreementAlgorithm", "PublicKey"}),
                fixed=MappingProxyType({"KeyAgreementAlgorithm": "ECDH"}),
            ),
            RecipientOperation(
                name="GenerateRandom", plaintext_field="Plaintext", required=frozenset({"NumberOfBytes"})
            ),
        )
    }
)
"""The five operations that take a recipient. Spec: KMS API reference, RecipientInfo."""

DATA_KEY_BYTES: Final[Mapping[str, int]] = MappingProxyType({"AES_256": 32, "AES_128": 16})
"""Length of a data key of each KeySpec."""
