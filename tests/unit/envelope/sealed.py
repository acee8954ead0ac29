"""Seal weights with the stock Encryption SDK, for tests: a raw key stands for KMS where KMS is not what is tested."""

import functools
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import Algorithm, EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider

from pcrgate.envelope.weights_digest import WeightsExpectation, measure_sealed
from pcrgate.envelope.weights_source import MemorySource
from pcrgate.kms.weights_key import SdkHeaderOpener
from pcrgate.units import Sha384

CONTEXT = {"class": "weights", "name": "demo", "epoch": "1"}
SUITE = Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY


class RawKeys(RawMasterKeyProvider):  # type: ignore[misc]  # the SDK ships no types
    """Wrap data keys with one raw AES key."""

    provider_id = "test"

    def __new__(cls, *_: bytes) -> Self:
        made: Self = super().__new__(cls)
        return made

    def __init__(self, wrapping_key: bytes) -> None:
        super().__init__()
        self._key = wrapping_key
        self.asked = 0
        self.add_master_key("test")

    def _get_raw_key(self, key_id: bytes) -> WrappingKey:
        assert key_id == b"test"
        return WrappingKey(
            wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
            wrapping_key=self._key,
            wrapping_key_type=EncryptionKeyType.SYMMETRIC,
        )

    def decrypt_data_key_from_list(self, *args: Any, **named: Any) -> Any:
        self.asked += 1
        return super().decrypt_data_key_from_list(*args, **named)


@functools.cache
def keys(number: int = 0) -> RawKeys:
    """Return the provider of one wrapping key."""
    return RawKeys(hashlib.sha256(b"wrapping key %d" % number).digest())


def opener(number: int = 0) -> SdkHeaderOpener:
    """Return an opener on one wrapping key."""
    return SdkHeaderOpener(keys(number))


def sdk() -> EncryptionSDKClient:
    """Return the stock client."""
    return EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)


def seal(
    plaintext: bytes,
    *,
    frame_bytes: int = 4096,
    context: Mapping[str, str] = CONTEXT,
    algorithm: Any = SUITE,
    key: int = 0,
) -> bytes:
    """Return a message of the stock SDK."""
    gathered = bytearray()
    with sdk().stream(
        mode="encrypt",
        source=io.BytesIO(plaintext),
        source_length=len(plaintext),
        key_provider=keys(key),
        encryption_context=dict(context),
        algorithm=algorithm,
        frame_length=frame_bytes,
    ) as stream:
        # The SDK is slow in any other way: it cuts its buffer anew for each line it looks for.
        while piece := stream.read(max(frame_bytes, 1 << 20)):
            gathered += piece
    return bytes(gathered)


def expectation(sealed: bytes, plaintext: bytes, context: Mapping[str, str] = CONTEXT) -> WeightsExpectation:
    """Return what a manifest would say of a message."""
    measured = measure_sealed(MemorySource(sealed))
    return WeightsExpectation(
        header_sha384=measured.header_sha384,
        frames_sha384=measured.frames_sha384,
        plaintext_bytes=measured.plaintext_bytes,
        plaintext_sha384=Sha384(hashlib.sha384(plaintext).digest()),
        encryption_context=context,
    )


@dataclass(frozen=True)
class Chunked:
    """Give a message in chunks of one size, from any offset, keeping where it was opened."""

    sealed: bytes
    chunk_bytes: int
    opened_at: list[int]

    def open(self, offset: int) -> "ChunkedStream":
        self.opened_at.append(offset)
        return ChunkedStream(self.sealed, offset, self.chunk_bytes)


class ChunkedStream:
    """Give at most so many bytes each time."""

    def __init__(self, sealed: bytes, offset: int, chunk_bytes: int) -> None:
        self._sealed = sealed
        self._at = offset
        self._chunk_bytes = chunk_bytes

    def readinto(self, buffer: memoryview, /) -> int:
        piece = self._sealed[self._at : self._at + min(self._chunk_bytes, len(buffer))]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
