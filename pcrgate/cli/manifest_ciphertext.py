"""Describe a sealed file for a manifest: measure it, and hold what its header says to what the publisher says."""

import contextlib
import hashlib
import struct
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Final

from pcrgate.cli.text import printable
from pcrgate.envelope.weights_digest import WeightsMeasurement, measure_sealed
from pcrgate.envelope.weights_header import parse_header
from pcrgate.envelope.weights_source import ByteStream
from pcrgate.errors import ErrorCode, ManifestError, ReleaseError, UsageError
from pcrgate.manifest.sealed_secret import SealedSecret, SecretClass, SecretFormat, secret_context
from pcrgate.units import KeyArn, Sha384

_BEFORE_CONTEXT_BYTES: Final = 1 + 2 + 32
"""Version, suite and message id. Spec: AWS Encryption SDK message format, header version 2."""


def describe_ciphertext(
    file: str,
    *,
    plaintext: str | None,
    plaintext_sha384: str | None,
    secret_class: SecretClass,
    name: str,
    epoch: int,
    file_format: SecretFormat,
    key_arn: KeyArn,
    context: list[str] | None,
    workloads: tuple[str, ...],
    expires_ms: int,
) -> SealedSecret:
    """Return the entry of a message that some Encryption SDK wrote.

    Args:
        file: the message.
        plaintext: the file it holds; or
        plaintext_sha384: its digest, in hex. Exactly one of the two.
        secret_class: as in the manifest.
        name: as in the manifest.
        epoch: as in the manifest.
        file_format: as in the manifest.
        key_arn: the key that the header must name.
        context: ``NAME=VALUE``, beside class, name and epoch; all of them must stand in the header.
        workloads: as in the manifest.
        expires_ms: as in the manifest.

    Raises:
        ReleaseError: ``weights-...`` when it is no message that would load.
        ManifestError: ``manifest-context`` when its header says otherwise.
        UsageError: ``usage-file``, ``usage-arguments``.
    """
    if (plaintext is None) is (plaintext_sha384 is None):
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, "expected either --plaintext FILE or --plaintext-sha384 HEX")
    expected = full_context(secret_class, name, epoch, context)
    measurement, said, keys = _measure(file)
    if said != expected:
        raise ManifestError(
            ErrorCode.MANIFEST_CONTEXT,
            f"{printable(file)} is sealed under another context, expected class, name, epoch and --context as given",
        )
    if str(key_arn) not in keys:
        raise ManifestError(
            ErrorCode.MANIFEST_CONTEXT, f"{printable(file)} is not sealed under {key_arn}, expected it in its header"
        )
    if plaintext is not None:
        digest, plaintext_bytes = _hash_file(plaintext)
        if plaintext_bytes != measurement.plaintext_bytes:
            raise UsageError(
                ErrorCode.USAGE_FILE,
                f"{printable(plaintext)} has {plaintext_bytes} bytes, expected {measurement.plaintext_bytes} as sealed",
            )
    else:
        digest = Sha384.from_hex(plaintext_sha384 or "")
    return SealedSecret(
        secret_class=secret_class,
        name=name,
        epoch=epoch,
        format=file_format,
        key_arn=key_arn,
        encryption_context=expected,
        header_sha384=measurement.header_sha384,
        frames_sha384=measurement.frames_sha384,
        plaintext_sha384=digest,
        plaintext_bytes=measurement.plaintext_bytes,
        workloads=workloads,
        expires_ms=expires_ms,
    )


def full_context(secret_class: SecretClass, name: str, epoch: int, pairs: list[str] | None) -> dict[str, str]:
    """Return class, name, epoch and the pairs ``NAME=VALUE``.

    Raises:
        UsageError: ``usage-arguments`` when a pair is none, or says again what is there.
    """
    found = secret_context(secret_class, name, epoch)
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key or key in found:
            raise UsageError(ErrorCode.USAGE_ARGUMENTS, "a --context is not NAME=VALUE with a name of its own")
        found[key] = value
    return found


class _FileSource:
    """Read an open file from an offset."""

    def __init__(self, stream: BufferedReader) -> None:
        self._stream = stream

    def open(self, offset: int) -> ByteStream:
        self._stream.seek(offset)
        return self

    def readinto(self, buffer: memoryview, /) -> int:
        return self._stream.readinto(buffer)


def _measure(file: str) -> tuple[WeightsMeasurement, dict[str, str], list[str]]:
    with opened(file) as stream:
        header = parse_header(lambda length: _exactly(stream, length))
        said, keys = _header_claims(header.raw)
        return measure_sealed(_FileSource(stream)), said, keys


def _exactly(stream: BufferedReader, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise ReleaseError(ErrorCode.WEIGHTS_TRUNCATED, "the file ends within the header, expected a sealed message")
    return data


def _header_claims(raw: bytes) -> tuple[dict[str, str], list[str]]:
    """Return the context and the wrapping keys of a header whose lengths were checked; nothing is authenticated."""
    position = _BEFORE_CONTEXT_BYTES

    def number() -> int:
        nonlocal position
        position += 2
        return int(struct.unpack_from(">H", raw, position - 2)[0])

    def text() -> str:
        nonlocal position
        length = number()
        position += length
        return raw[position - length : position].decode(errors="replace")

    try:
        pairs = number() and number()
        context = {text(): text() for _ in range(pairs)}
        keys = [(text(), text(), text()) for _ in range(number())]
    except struct.error as error:
        raise ReleaseError(ErrorCode.WEIGHTS_HEADER, "the context of the header does not fit its length") from error
    return context, [key for provider, key, _ in keys if provider == "aws-kms"]


@contextlib.contextmanager
def opened(file: str) -> Iterator[BufferedReader]:
    """Give a file to read.

    Raises:
        UsageError: ``usage-file`` when it cannot be opened or read.
    """
    try:
        with Path(file).open("rb") as stream:
            yield stream
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a file name"
        raise UsageError(ErrorCode.USAGE_FILE, f"cannot read {printable(file)}: {reason.lower()}") from error


def _hash_file(file: str) -> tuple[Sha384, int]:
    with opened(file) as stream:
        digest = hashlib.file_digest(stream, "sha384")
        return Sha384(digest.digest()), stream.tell()
