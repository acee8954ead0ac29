"""One secret of a release: what it is, under which key it is sealed, what exactly was sealed, who may have it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from pcrgate.envelope.weights_digest import WeightsExpectation
from pcrgate.errors import ErrorCode, ManifestError
from pcrgate.manifest.bounds import (
    in_order,
    require_count,
    require_integer,
    require_name,
    require_text,
    require_time,
)
from pcrgate.units import KeyArn, Sha384

EPOCH_MAX: Final = 1_000_000_000
"""Greatest epoch: one a second for thirty years; a slip of a digit must not end a chain of releases."""

WORKLOADS_MAX: Final = 16
"""Most workloads that one secret is for."""

CONTEXT_PAIRS_MAX: Final = 32
"""Most pairs of an encryption context."""

CONTEXT_MAX_BYTES: Final = 8192
"""Largest encryption context, names and values together. Spec: KMS Developer Guide, encryption context."""

_RESERVED: Final = ("aws:", "aws-crypto-")
"""Beginnings of names that KMS and the Encryption SDK keep for themselves."""


class SecretClass(Enum):
    """Name a class of secrets, as key policies compare it (``kms:EncryptionContext:class``)."""

    WEIGHTS = "weights"
    SESSION = "session"
    CREDENTIALS = "credentials"


class SecretFormat(Enum):
    """Name what the plaintext is: which reader may touch it. There is no pickle, and none will be added."""

    ONNX = "onnx"
    SAFETENSORS = "safetensors"
    OPAQUE = "opaque"


_FORMATS: Final = {
    SecretClass.WEIGHTS: (SecretFormat.ONNX, SecretFormat.SAFETENSORS),
    SecretClass.CREDENTIALS: (SecretFormat.OPAQUE,),
}
"""What may be sealed, and in which form; session keys are made by KMS and never sealed by a publisher."""


def secret_context(secret_class: SecretClass, name: str, epoch: int) -> dict[str, str]:
    """Return the encryption context that a secret needs at least."""
    return {"class": secret_class.value, "name": name, "epoch": str(epoch)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSecret:
    """Describe one sealed message of the Encryption SDK. Everything is compared, nothing is taken from the message.

    Attributes:
        secret_class: weights or credentials; the key and the context are of the same class.
        name: unique in the manifest.
        epoch: 1 and up; greater whenever the secret changes.
        format: what the plaintext is.
        key_arn: the KMS key, in full.
        encryption_context: exactly what KMS gets; at least class, name and epoch.
        header_sha384: SHA-384 over the message's header with its tag: binds data key, context and suite.
        frames_sha384: digest over the tags of its frames: binds the ciphertext (docs/adr/0200).
        plaintext_sha384: SHA-384 over the plaintext.
        plaintext_bytes: length of the plaintext, at least 1.
        workloads: who may have it; 1 to 16 names, kept in order.
        expires_ms: until when it is released, exclusive, in milliseconds since 1970.
    """

    secret_class: SecretClass
    name: str
    epoch: int
    format: SecretFormat
    key_arn: KeyArn
    encryption_context: Mapping[str, str]
    header_sha384: Sha384
    frames_sha384: Sha384
    plaintext_sha384: Sha384
    plaintext_bytes: int
    workloads: tuple[str, ...]
    expires_ms: int

    def __post_init__(self) -> None:
        require_name(self.name, "a secret's name")
        require_integer(self.epoch, f"epoch of {self.name}", minimum=1, maximum=EPOCH_MAX)
        if self.format not in _FORMATS.get(self.secret_class, ()):
            raise ManifestError(
                ErrorCode.MANIFEST_FIELD,
                f"{self.name} is {self.format.value} of class {self.secret_class.value}, expected weights in onnx or"
                " safetensors, or opaque credentials",
            )
        _require_context(self)
        require_integer(self.plaintext_bytes, f"plaintext_bytes of {self.name}", minimum=1)
        require_count(self.workloads, f"workloads of {self.name}", WORKLOADS_MAX, minimum=1)
        for workload in self.workloads:
            require_name(workload, f"a workload of {self.name}")
        require_time(self.expires_ms, f"expires_ms of {self.name}")
        object.__setattr__(self, "encryption_context", MappingProxyType(dict(sorted(self.encryption_context.items()))))
        ordered = in_order(self.workloads, lambda workload: workload, f"a workload of {self.name}")
        object.__setattr__(self, "workloads", ordered)

    def expectation(self) -> WeightsExpectation:
        """Return what the reader of sealed messages compares with."""
        return WeightsExpectation(
            header_sha384=self.header_sha384,
            frames_sha384=self.frames_sha384,
            plaintext_bytes=self.plaintext_bytes,
            plaintext_sha384=self.plaintext_sha384,
            encryption_context=self.encryption_context,
        )


def _require_context(secret: SealedSecret) -> None:
    context = secret.encryption_context
    require_count(context, f"pairs of context of {secret.name}", CONTEXT_PAIRS_MAX)
    for name, value in context.items():
        require_text(name, f"a context name of {secret.name}")
        require_text(value, f"a context value of {secret.name}")
        if name.startswith(_RESERVED):
            raise ManifestError(
                ErrorCode.MANIFEST_CONTEXT,
                f"the context of {secret.name} has a name that starts with aws, expected none",
            )
    if sum(len(name.encode()) + len(value.encode()) for name, value in context.items()) > CONTEXT_MAX_BYTES:
        raise ManifestError(
            ErrorCode.MANIFEST_LIMIT, f"the context of {secret.name} is longer than {CONTEXT_MAX_BYTES} bytes"
        )
    said = secret_context(secret.secret_class, secret.name, secret.epoch)
    if any(context.get(name) != value for name, value in said.items()):
        raise ManifestError(
            ErrorCode.MANIFEST_CONTEXT, f"the context of {secret.name} does not say its own class, name and epoch"
        )
