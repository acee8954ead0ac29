"""Seal with the stock Encryption SDK, as a stream: the data key is drawn here, and KMS only wraps it (ADR 0100).

What comes out is measured as it passes, so that a manifest can name it without a second look at the file.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError
from aws_encryption_sdk.identifiers import Algorithm
from aws_encryption_sdk.key_providers.kms import KMSMasterKey, KMSMasterKeyConfig
from aws_encryption_sdk.structures import DataKey
from botocore.exceptions import BotoCoreError, ClientError

from pcrgate.envelope.weights_digest import WeightsMeasurement, measure_sealed
from pcrgate.envelope.weights_source import ByteStream, IteratorStream
from pcrgate.errors import ErrorCode, ReleaseError, UsageError
from pcrgate.units import KeyArn, Sha384

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

SEALING_FRAME_MIN_BYTES: Final = 1 << 20
"""Shortest frame that is made: below 1 MiB the reader spends more on each frame than on its bytes."""

SEALING_FRAME_MAX_BYTES: Final = 4 << 20
"""Longest frame that is made: above 4 MiB nothing gets faster, and every reader needs the memory."""

SEALING_FRAME_BYTES: Final = SEALING_FRAME_MIN_BYTES
"""Frame length by default."""

_SUITE: Final = Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
"""Committing, without a signature: the manifest is signed. Spec: Encryption SDK algorithm suites reference, 0478."""


class Plaintext(Protocol):
    """Give the plaintext in order, as buffered files do."""

    def read(self, size: int, /) -> bytes:
        """Return ``size`` bytes, fewer only at the end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedMessage:
    """Say what was sealed.

    Attributes:
        measurement: of the message: header, frames, lengths.
        plaintext_sha384: SHA-384 over the plaintext.
    """

    measurement: WeightsMeasurement
    plaintext_sha384: Sha384


def seal_message(
    plaintext: Plaintext,
    write: Callable[[bytes], object],
    *,
    client: "KMSClient",
    key_arn: KeyArn,
    encryption_context: Mapping[str, str],
    plaintext_bytes: int,
    frame_bytes: int = SEALING_FRAME_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> SealedMessage:
    """Write the sealed message, holding a few frames in memory, and return what a manifest says of it.

    Args:
        plaintext: what to seal.
        write: takes the message piece by piece, in order.
        client: a stock KMS client of somebody who may ``kms:Encrypt``; one call is made.
        key_arn: the wrapping key, in full.
        encryption_context: what the data key is wrapped under; also stands in the message, readable.
        plaintext_bytes: how long the plaintext is; another length is refused.
        frame_bytes: plaintext length of every frame but the last, 1 to 4 MiB.
        progress: called with sealed and total plaintext bytes, from the calling thread.

    Raises:
        ReleaseError: ``seal-kms`` when KMS does not wrap the data key, ``seal-source`` when the plaintext is empty or
            of another length.
        UsageError: ``usage-kms`` for another frame length.
        OSError: what ``plaintext`` and ``write`` raise.

    Spec: AWS Encryption SDK message format, version 2.
    """
    if not SEALING_FRAME_MIN_BYTES <= frame_bytes <= SEALING_FRAME_MAX_BYTES:
        raise UsageError(
            ErrorCode.USAGE_KMS,
            f"frames of {frame_bytes} bytes, expected {SEALING_FRAME_MIN_BYTES} to {SEALING_FRAME_MAX_BYTES}",
        )
    source = _Measured(plaintext, plaintext_bytes, progress)
    sdk = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    stream = sdk.stream(
        mode="encrypt",
        source=source,
        source_length=plaintext_bytes,
        key_provider=_SealingKey(config=KMSMasterKeyConfig(key_id=str(key_arn), client=client)),
        encryption_context=dict(encryption_context),
        algorithm=_SUITE,
        frame_length=frame_bytes,
    )
    try:
        wrapped_by = [bytes(one.key_provider.key_info).decode() for one in stream.header.encrypted_data_keys]
    except (AWSEncryptionSDKClientError, BotoCoreError) as error:
        raise ReleaseError(ErrorCode.SEAL_KMS, f"KMS did not wrap the data key: {_reason(error)}") from error
    if wrapped_by != [str(key_arn)]:
        raise ReleaseError(ErrorCode.SEAL_KMS, "KMS wrapped the data key under another key than the one named")
    message = _Message(lambda: _pieces(stream, frame_bytes, write))
    try:
        measurement = measure_sealed(message)
    except _BrokenError as broken:
        raise broken.error from None
    if source.read_bytes != plaintext_bytes:
        raise ReleaseError(
            ErrorCode.SEAL_SOURCE, f"the plaintext has {source.read_bytes} bytes, expected {plaintext_bytes}"
        )
    return SealedMessage(measurement=measurement, plaintext_sha384=source.sha384())


class _SealingKey(KMSMasterKey):  # type: ignore[misc]  # the SDK ships no types
    """Wrap a data key drawn here, instead of asking KMS for one in clear."""

    def _generate_data_key(self, algorithm: Any, encryption_context: Any = None) -> DataKey:
        drawn = DataKey(
            key_provider=self.key_provider,
            data_key=secrets.token_bytes(algorithm.kdf_input_len),
            encrypted_data_key=b"",
        )
        wrapped = self._encrypt_data_key(drawn, algorithm, encryption_context)
        return DataKey(
            key_provider=wrapped.key_provider,
            data_key=drawn.data_key,
            encrypted_data_key=wrapped.encrypted_data_key,
        )


class _Measured:
    """Hash and count a plaintext as it is read, and refuse more of it than was announced."""

    closed = False

    def __init__(self, plaintext: Plaintext, total_bytes: int, progress: Callable[[int, int], None] | None) -> None:
        if total_bytes < 1:
            raise ReleaseError(ErrorCode.SEAL_SOURCE, "the plaintext is empty, expected at least one byte")
        self._plaintext = plaintext
        self._total_bytes = total_bytes
        self._progress = progress
        self._hash = hashlib.sha384()
        self.read_bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        # The SDK takes a short read for the end.
        data = self._plaintext.read(size)
        self._hash.update(data)
        self.read_bytes += len(data)
        if self.read_bytes > self._total_bytes:
            raise ReleaseError(
                ErrorCode.SEAL_SOURCE, f"the plaintext goes on after {self._total_bytes} bytes, expected its end"
            )
        if self._progress is not None:
            self._progress(self.read_bytes, self._total_bytes)
        return data

    def sha384(self) -> Sha384:
        return Sha384(self._hash.digest())


class _BrokenError(Exception):
    """Carry an OSError past the reader of sealed messages, which takes those for a stream to open again."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error


class _Message:
    """Let the message be measured as it comes into being: once, from the start."""

    def __init__(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        self._pieces = pieces

    def open(self, offset: int) -> ByteStream:  # noqa: ARG002 - asked for once: nothing the reader sees breaks
        return IteratorStream(self._pieces())


def _pieces(stream: Any, size: int, write: Callable[[bytes], object]) -> Iterator[bytes]:
    try:
        while piece := stream.read(size):
            write(piece)
            yield piece
    except OSError as error:
        raise _BrokenError(error) from error


def _reason(error: BaseException) -> str:
    """Return KMS's error code if KMS answered, else the type of what went wrong: both public."""
    while not isinstance(error, ClientError) and error.__cause__ is not None:
        error = error.__cause__
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__
