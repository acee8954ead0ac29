"""Seal streams without KMS: what goes wrong on the way is refused with its own code, and memory stays bounded."""

import base64
import functools
import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.key_providers.kms import KMSMasterKey, KMSMasterKeyConfig
from botocore.awsrequest import AWSResponse
from botocore.exceptions import NoCredentialsError

from pcrgate.envelope.sealing import SEALING_FRAME_MAX_BYTES, SEALING_FRAME_MIN_BYTES, SealedMessage, seal_message
from pcrgate.envelope.weights_digest import measure_sealed
from pcrgate.envelope.weights_source import MemorySource
from pcrgate.errors import ErrorCode, PcrgateError, ReleaseError, UsageError
from tests.unit.manifest.samples import WEIGHTS_KEY, key_arn

CONTEXT = {"class": "weights", "name": "tiny", "epoch": "1"}


class LocalKms:
    """Answer a real boto3 client where its bytes would leave: keep what is to be wrapped, or answer wrongly."""

    def __init__(self, key_id: str = str(WEIGHTS_KEY), error: Exception | None = None, code: str | None = None) -> None:
        self.key_id, self.error, self.code = key_id, error, code
        self.kept: list[bytes] = []
        self.client: Any = _session().client("kms", region_name="eu-central-1")
        events: Any = self.client.meta.events  # the stubs want hooks that return nothing
        events.register("before-call.kms", self.answer)

    def answer(self, model: Any, params: Any, **_: Any) -> tuple[AWSResponse, dict[str, Any]]:
        sent = json.loads(params["body"])
        assert sent["EncryptionContext"] == CONTEXT
        if self.error is not None:
            raise self.error
        if self.code is not None:
            return _http(400), {"Error": {"Code": self.code, "Message": "secret"}}
        if model.name == "Encrypt":
            self.kept.append(base64.b64decode(sent["Plaintext"]))
            return _http(200), {"KeyId": self.key_id, "CiphertextBlob": b"kept"}
        assert model.name == "Decrypt"
        return _http(200), {"KeyId": self.key_id, "Plaintext": self.kept[-1]}


def _http(status: int) -> AWSResponse:
    headers: Any = {}
    return AWSResponse("", status, headers, None)


@functools.cache
def _session() -> boto3.Session:
    return boto3.Session(aws_access_key_id="local", aws_secret_access_key="local")


def seal(
    plaintext: bytes, sink: io.BytesIO | None = None, kms: LocalKms | None = None, **changes: Any
) -> SealedMessage:
    told: dict[str, Any] = {"plaintext_bytes": len(plaintext), "encryption_context": CONTEXT, **changes}
    write = told.pop("write", (sink or io.BytesIO()).write)
    source = told.pop("source", io.BytesIO(plaintext))
    return seal_message(source, write, client=(kms or LocalKms()).client, key_arn=WEIGHTS_KEY, **told)


@pytest.mark.parametrize(
    "length", [1, SEALING_FRAME_MIN_BYTES - 1, SEALING_FRAME_MIN_BYTES, 3 * SEALING_FRAME_MIN_BYTES + 7]
)
def test_what_is_measured_on_the_way_is_what_lies_there(length: int) -> None:
    plaintext, sink, kms = bytes(length), io.BytesIO(), LocalKms()
    steps: list[tuple[int, int]] = []
    sealed = seal(plaintext, sink, kms, progress=lambda done, total: steps.append((done, total)))
    assert sealed.measurement == measure_sealed(MemorySource(sink.getvalue()))
    assert sealed.measurement.plaintext_bytes == length
    assert sealed.measurement.ciphertext_bytes == len(sink.getvalue())
    assert sealed.plaintext_sha384.digest == hashlib.sha384(plaintext).digest()
    assert steps == sorted(steps)
    assert steps[-1] == (length, length)
    assert [len(key) for key in kms.kept] == [32]
    key: Any = KMSMasterKey(config=KMSMasterKeyConfig(key_id=str(WEIGHTS_KEY), client=kms.client))
    client = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    assert client.decrypt(source=sink.getvalue(), key_provider=key)[0] == plaintext


def test_each_message_has_a_data_key_of_its_own() -> None:
    kms = LocalKms()
    seal(b"x", kms=kms)
    seal(b"x", kms=kms)
    assert len(set(kms.kept)) == 2


def test_memory_stays_within_a_few_frames() -> None:
    class Endless:
        def __init__(self) -> None:
            self.largest, self.left = 0, 40 << 20

        def read(self, size: int, /) -> bytes:
            self.largest = max(self.largest, size)
            taken = min(size, self.left)
            self.left -= taken
            return bytes(taken)

    source, pieces = Endless(), []
    seal(b"", source=source, plaintext_bytes=40 << 20, write=lambda piece: pieces.append(len(piece)))
    assert source.largest == SEALING_FRAME_MIN_BYTES
    assert max(pieces) <= SEALING_FRAME_MIN_BYTES


@pytest.mark.parametrize("frame_bytes", [SEALING_FRAME_MIN_BYTES, SEALING_FRAME_MAX_BYTES])
def test_frames_at_their_bounds(frame_bytes: int) -> None:
    assert seal(b"x", frame_bytes=frame_bytes).measurement.frame_bytes == frame_bytes


@pytest.mark.parametrize("frame_bytes", [SEALING_FRAME_MIN_BYTES - 1, SEALING_FRAME_MAX_BYTES + 1])
def test_frames_past_their_bounds(frame_bytes: int) -> None:
    with pytest.raises(UsageError) as refused:
        seal(b"x", frame_bytes=frame_bytes)
    assert refused.value.code is ErrorCode.USAGE_KMS


@pytest.mark.parametrize(
    ("act", "code", "said"),
    [
        (lambda: seal(b""), ErrorCode.SEAL_SOURCE, "empty"),
        (lambda: seal(b"xy", plaintext_bytes=1), ErrorCode.SEAL_SOURCE, "goes on after 1 bytes"),
        (lambda: seal(b"xy", plaintext_bytes=3), ErrorCode.SEAL_SOURCE, "has 2 bytes, expected 3"),
        (lambda: seal(b"x", kms=LocalKms(code="AccessDeniedException")), ErrorCode.SEAL_KMS, "AccessDeniedException"),
        (lambda: seal(b"x", kms=LocalKms(error=NoCredentialsError())), ErrorCode.SEAL_KMS, "NoCredentialsError"),
        (lambda: seal(b"x", kms=LocalKms(str(key_arn(5)))), ErrorCode.SEAL_KMS, "another key"),
    ],
)
def test_refusals(act: Callable[[], object], code: ErrorCode, said: str) -> None:
    with pytest.raises(ReleaseError) as refused:
        act()
    assert refused.value.code is code
    assert said in refused.value.message
    assert "secret" not in refused.value.message


class Full:
    """A disk that takes one piece."""

    def __init__(self) -> None:
        self.taken = 0

    def write(self, piece: bytes) -> None:
        self.taken += 1 if piece else 0
        if self.taken > 1:
            raise OSError(28, "No space left on device")


class Broken(io.BytesIO):
    """A file that cannot be read to its end."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError(5, "Input/output error")
        return super().read(size)


def test_broken_files_are_told_as_they_are_and_never_read_again() -> None:
    plaintext, full = bytes(3 * SEALING_FRAME_MIN_BYTES), Full()
    with pytest.raises(OSError, match="No space"):
        seal(plaintext, write=full.write)
    assert full.taken == 2
    with pytest.raises(OSError, match="Input/output"):
        seal(plaintext, source=Broken(plaintext))


def test_our_own_refusal_passes_through() -> None:
    def write(piece: bytes) -> None:
        raise PcrgateError(ErrorCode.USAGE_FILE, "x")

    with pytest.raises(PcrgateError) as refused:
        seal(b"x", write=write)
    assert refused.value.code is ErrorCode.USAGE_FILE
