"""Have KMS release what the manifest names: weights at boot, session keys when an agent asks."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from enclave.workloads.contract import ReleasedSecret, Workload
from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.session_keys import DATA_KEY_BYTES
from pcrgate.envelope.weights import open_weights
from pcrgate.envelope.weights_source import CiphertextSource
from pcrgate.errors import ErrorCode, PcrgateError, ReleaseError
from pcrgate.kms.expectation import ReleaseExpectation, expecting
from pcrgate.kms.weights_key import SdkHeaderOpener
from pcrgate.manifest.release import Manifest
from pcrgate.manifest.sealed_secret import SealedSecret
from pcrgate.units import KeyArn, Sha384

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

SealedFiles = Callable[[Sha384], CiphertextSource]
"""Returns where the sealed file with this header digest is read from."""


class KmsDataKeys:
    """Get session keys from KMS, attested; threads may share it."""

    def __init__(self, client: "KMSClient", key_arn: KeyArn) -> None:
        """Take the attested client.

        Args:
            client: of ``pcrgate.kms``.
            key_arn: the manifest's session key.
        """
        self._client: Final = client
        self._key_arn: Final = key_arn

    def generate(self, context: Mapping[str, str]) -> tuple[SecretBytes, bytes]:
        """Return a fresh 32-byte data key and the same key wrapped under the context.

        Raises:
            ReleaseError: ``enclave-release``, or whatever the attested client refuses with.
        """
        expectation = ReleaseExpectation(
            operation="GenerateDataKey",
            key_arn=self._key_arn,
            encryption_context=context,
            plaintext_bytes=DATA_KEY_BYTES,
        )
        with expecting(expectation), kms_errors():
            answer = self._client.generate_data_key(
                KeyId=str(self._key_arn), KeySpec="AES_256", EncryptionContext=context
            )
        return SecretBytes(answer["Plaintext"]), answer["CiphertextBlob"]

    def unwrap(self, blob: bytes, context: Mapping[str, str]) -> SecretBytes:
        """Return the data key in a wrapped key.

        Raises:
            ReleaseError: ``enclave-release``, or whatever the attested client refuses with.
        """
        expectation = ReleaseExpectation(
            operation="Decrypt",
            key_arn=self._key_arn,
            encryption_context=context,
            blob_sha384=Sha384(hashlib.sha384(blob).digest()),
            plaintext_bytes=DATA_KEY_BYTES,
        )
        with expecting(expectation), kms_errors():
            answer = self._client.decrypt(KeyId=str(self._key_arn), CiphertextBlob=blob, EncryptionContext=context)
        return SecretBytes(answer["Plaintext"])


def secrets_of(workload: Workload, manifest: Manifest, now_ms: int) -> tuple[SealedSecret, ...]:
    """Return the secrets that a workload may have now.

    Args:
        workload: declares its class.
        manifest: lists secrets.
        now_ms: the enclave's own time.

    Raises:
        PcrgateError: ``workload-unknown`` when one is listed for it that is not of its class.
    """
    listed = tuple(
        secret for secret in manifest.secrets if workload.name in secret.workloads and now_ms < secret.expires_ms
    )
    for secret in listed:
        if secret.secret_class is not workload.secret_class:
            raise PcrgateError(
                ErrorCode.WORKLOAD_UNKNOWN,
                f"{secret.name} is of class {secret.secret_class.value}, expected another for {workload.name}",
            )
    return listed


def release_weights(
    client: "KMSClient", secret: SealedSecret, source: CiphertextSource, *, max_bytes: int
) -> ReleasedSecret:
    """Return a sealed secret's plaintext, once KMS released its data key and every digest is the manifest's.

    Args:
        client: the attested one.
        secret: as the manifest lists it.
        source: the sealed file, from the parent.
        max_bytes: how much memory is left for it.

    Raises:
        ReleaseError: ``enclave-release``, ``weights-`` codes, or whatever the attested client refuses with.
    """
    expectation = ReleaseExpectation(
        operation="Decrypt",
        key_arn=secret.key_arn,
        encryption_context=secret.encryption_context,
        plaintext_bytes=DATA_KEY_BYTES,
    )
    with expecting(expectation), kms_errors():
        content = open_weights(
            source,
            secret.expectation(),
            opener=SdkHeaderOpener.on_kms(client, secret.key_arn),
            max_plaintext_bytes=max_bytes,
        )
    return ReleasedSecret(epoch=secret.epoch, format=secret.format, content=content)


def policy_hash(client: "KMSClient", key_arn: KeyArn) -> Sha384 | None:
    """Return the SHA-384 of a key's live policy as KMS tells it, or None where it may not be read.

    It is observed, not enforced: whoever administers the account can change the policy a moment later.
    """
    try:
        with kms_errors():
            policy = client.get_key_policy(KeyId=str(key_arn), PolicyName="default")["Policy"]
    except ReleaseError:
        return None
    return Sha384(hashlib.sha384(policy.encode()).digest())


@contextmanager
def kms_errors() -> Iterator[None]:
    """Turn what botocore raises into our own error; of KMS's answer only the error's name is told."""
    try:
        yield
    except ClientError as error:
        name = str(error.response.get("Error", {}).get("Code", "unknown"))[:64]
        raise ReleaseError(ErrorCode.ENCLAVE_RELEASE, f"KMS answered {name}, expected a release") from None
    except BotoCoreError as error:
        raise ReleaseError(
            ErrorCode.ENCLAVE_RELEASE, f"KMS was not reached ({type(error).__name__}), expected an answer"
        ) from None
