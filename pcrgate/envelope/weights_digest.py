"""Measure sealed weights for a manifest: header, frames, lengths. docs/adr/0200 says what each binds."""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from pcrgate.envelope.weights_frames import (
    FINAL_OVERHEAD_BYTES,
    IV_BYTES,
    REGULAR_OVERHEAD_BYTES,
    TAG_BYTES,
    Layout,
    is_final,
)
from pcrgate.envelope.weights_header import parse_header
from pcrgate.envelope.weights_source import CiphertextSource, Feed, MemoryFeed, MemorySource, StreamFeed, truncated
from pcrgate.errors import ErrorCode, ReleaseError
from pcrgate.units import Sha384

FRAMES_LABEL: Final = b"pcrgate weights frames v1"
"""Domain of the digest over the frames' tags."""

_LENGTHS: Final = struct.Struct(">QI")
_MARKER_BYTES: Final = 4
_FINAL_REST_BYTES: Final = 4 + IV_BYTES + 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsExpectation:
    """Hold what a signed manifest says of sealed weights.

    Attributes:
        header_sha384: SHA-384 over the header with its authentication tag: binds the data key, the context, the suite.
        frames_sha384: SHA-384 over the frames' tags in order: binds which message this is.
        plaintext_bytes: length of the plaintext.
        plaintext_sha384: SHA-384 of the plaintext.
        encryption_context: what the weights were sealed under.
    """

    header_sha384: Sha384
    frames_sha384: Sha384
    plaintext_bytes: int
    plaintext_sha384: Sha384
    encryption_context: Mapping[str, str] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "encryption_context", MappingProxyType(dict(self.encryption_context)))


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsMeasurement:
    """Hold what can be said of sealed weights without their key.

    Attributes:
        header_sha384: as in ``WeightsExpectation``.
        frames_sha384: as in ``WeightsExpectation``.
        plaintext_bytes: what the frames claim to hold.
        ciphertext_bytes: length of the whole message.
        frame_bytes: plaintext length of every frame but the last.
    """

    header_sha384: Sha384
    frames_sha384: Sha384
    plaintext_bytes: int
    ciphertext_bytes: int
    frame_bytes: int


class FramesDigest:
    """Gather the digest over the frames of one message."""

    def __init__(self, layout: Layout) -> None:
        """Begin with what determines where frames lie."""
        self._hash = hashlib.sha384(FRAMES_LABEL + _LENGTHS.pack(layout.plaintext_bytes, layout.frame_bytes))

    def add(self, tags: bytes) -> None:
        """Add tags, 16 bytes each, in the order of their frames."""
        self._hash.update(tags)

    def result(self) -> Sha384:
        """Return the digest."""
        return Sha384(self._hash.digest())


def feed_of(source: CiphertextSource) -> Feed:
    """Return how a source is read: in place when it is in memory, else through slots."""
    return MemoryFeed(source) if isinstance(source, MemorySource) else StreamFeed(source)


def measure_sealed(source: CiphertextSource) -> WeightsMeasurement:
    """Return what a publisher signs of a sealed message, by walking it without the key.

    Nothing is authenticated here: the publisher measures what it has just sealed.

    Args:
        source: the whole message.

    Raises:
        ReleaseError: ``weights-header``, ``weights-frame``, ``weights-truncated`` or ``weights-trailing`` when it is
            no message that would load.
    """
    feed = feed_of(source)
    header = parse_header(lambda length: bytes(feed.take(length)))
    tags, plaintext_bytes, ciphertext_bytes, number = bytearray(), 0, len(header.raw), 1
    memory = bytearray(header.frame_bytes + FINAL_OVERHEAD_BYTES)
    final = False
    while not final:
        head = bytes(feed.take(_MARKER_BYTES))
        final = is_final(memoryview(head))
        head += bytes(feed.take(_FINAL_REST_BYTES if final else IV_BYTES))
        said = int.from_bytes(head[4:8] if final else head[:4], "big")
        length = int.from_bytes(head[-4:], "big") if final else header.frame_bytes
        if said != number or length > header.frame_bytes:
            raise ReleaseError(ErrorCode.WEIGHTS_FRAME, f"frame {number} is not the one that belongs there")
        tags += feed.take(length + TAG_BYTES, memory)[-TAG_BYTES:]
        plaintext_bytes += length
        ciphertext_bytes += length + (FINAL_OVERHEAD_BYTES if final else REGULAR_OVERHEAD_BYTES)
        number += 1
    feed.finish()
    if not plaintext_bytes:
        raise truncated(len(header.raw))
    digest = FramesDigest(Layout(plaintext_bytes=plaintext_bytes, frame_bytes=header.frame_bytes))
    digest.add(bytes(tags))
    return WeightsMeasurement(
        header_sha384=header.sha384,
        frames_sha384=digest.result(),
        plaintext_bytes=plaintext_bytes,
        ciphertext_bytes=ciphertext_bytes,
        frame_bytes=header.frame_bytes,
    )
