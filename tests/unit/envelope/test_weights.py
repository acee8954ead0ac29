"""The weights path: what the stock SDK seals opens in place; what is not the signed message is refused and wiped."""

import hashlib
import io
import os
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aws_encryption_sdk.identifiers import Algorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pcrgate.envelope import weights
from pcrgate.envelope.weights import WORKERS_MAX, open_weights
from pcrgate.envelope.weights_buffer import WeightsBuffer
from pcrgate.envelope.weights_digest import FramesDigest, WeightsExpectation, measure_sealed
from pcrgate.envelope.weights_frames import FRAMES_MAX, Layout, open_final_frame, open_regular_frames
from pcrgate.envelope.weights_header import FrameKey, parse_header
from pcrgate.envelope.weights_source import RESUME_ATTEMPTS, IteratorStream, MemorySource
from pcrgate.errors import ErrorCode, ReleaseError
from pcrgate.units import Sha384
from tests.unit.envelope.sealed import CONTEXT, SUITE, Chunked, ChunkedStream, expectation, keys, opener, sdk, seal

FRAME = 4096
BUDGET = 1 << 30
PLAINTEXT = os.urandom(10 * FRAME + 17)
SEALED = seal(PLAINTEXT)
EXPECTED = expectation(SEALED, PLAINTEXT)
HEADER_BYTES = len(parse_header(io.BytesIO(SEALED).read).raw)


def opened(sealed: Any = SEALED, expected: WeightsExpectation = EXPECTED, *, key: int = 0, **options: Any) -> bytes:
    source = MemorySource(sealed) if isinstance(sealed, bytes) else sealed
    with open_weights(source, expected, opener=opener(key), **({"max_plaintext_bytes": BUDGET} | options)) as buffer:
        return bytes(buffer.view())


def refusal(action: Callable[[], object]) -> ReleaseError:
    with pytest.raises(ReleaseError) as caught:
        action()
    return caught.value


def frame(number: int) -> slice:
    """Return where regular frame ``number`` lies in SEALED."""
    start = HEADER_BYTES + (number - 1) * (FRAME + 32)
    return slice(start, start + FRAME + 32)


@pytest.mark.parametrize("length", [1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 300_001])
@pytest.mark.parametrize("workers", [1, 2, WORKERS_MAX])
def test_what_the_stock_sdk_seals_opens_from_memory(length: int, workers: int) -> None:
    plaintext = os.urandom(length)
    sealed = seal(plaintext)
    assert opened(sealed, expectation(sealed, plaintext), workers=workers) == plaintext


@pytest.mark.parametrize("frame_bytes", [1024, 4096, 65_536, 1 << 20])
@pytest.mark.parametrize("chunk_bytes", [777, 100_000, 1 << 22])
@pytest.mark.parametrize("workers", [None, 2])
def test_it_opens_from_a_stream_whatever_the_chunks(frame_bytes: int, chunk_bytes: int, workers: int | None) -> None:
    plaintext = os.urandom(600_000 if chunk_bytes < 1000 else 3_000_000)
    sealed = seal(plaintext, frame_bytes=frame_bytes)
    source = Chunked(sealed, chunk_bytes, [])
    assert opened(source, expectation(sealed, plaintext), workers=workers) == plaintext
    assert source.opened_at == [0]


def test_more_spans_than_slots_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SPAN_BYTES", 2 * (FRAME + 32))
    monkeypatch.setattr(weights, "STREAM_SPAN_BYTES", 2 * (FRAME + 32))
    plaintext = os.urandom(101 * FRAME + 5)
    sealed = seal(plaintext)
    for source in (MemorySource(sealed), Chunked(sealed, 5000, [])):
        for workers in (1, 2, 3):
            assert opened(source, expectation(sealed, plaintext), workers=workers) == plaintext


def test_progress_counts_verified_bytes_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SPAN_BYTES", 2 * (FRAME + 32))
    seen: list[tuple[int, int]] = []
    opened(progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert len(seen) == 6
    assert seen[-1] == (len(PLAINTEXT), len(PLAINTEXT))


def as_other_sdk(plaintext: bytes) -> bytes:
    """Return SEALED's message with a full last frame closed by an empty final frame, as some SDKs write it."""
    key, message_id = derived_key(), SEALED[3:35]
    count = len(plaintext) // FRAME
    body = b"".join(
        regular(key, message_id, number, plaintext[(number - 1) * FRAME : number * FRAME])
        for number in range(1, count + 1)
    )
    return SEALED[:HEADER_BYTES] + body + final(key, message_id, count + 1, b"")


def derived_key() -> AESGCM:
    return AESGCM(opener().open_header(SEALED[:HEADER_BYTES]).derived_key)


def regular(key: AESGCM, message_id: bytes, number: int, content: bytes) -> bytes:
    iv = number.to_bytes(12, "big")
    aad = message_id + b"AWSKMSEncryptionClient Frame" + struct.pack(">IQ", number, len(content))
    return struct.pack(">I", number) + iv + key.encrypt(iv, content, aad)


def final(key: AESGCM, message_id: bytes, number: int, content: bytes) -> bytes:
    iv = number.to_bytes(12, "big")
    aad = message_id + b"AWSKMSEncryptionClient Final Frame" + struct.pack(">IQ", number, len(content))
    head = struct.pack(">II", 0xFFFFFFFF, number) + iv + struct.pack(">I", len(content))
    return head + key.encrypt(iv, content, aad)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_an_empty_final_frame_is_taken_as_the_stock_sdk_takes_it(frames: int) -> None:
    plaintext = PLAINTEXT[: frames * FRAME]
    sealed = as_other_sdk(plaintext)
    stock, _ = sdk().decrypt(source=sealed, key_provider=keys())
    assert stock == plaintext
    expected = expectation(sealed, plaintext)
    assert opened(sealed, expected) == plaintext
    assert opened(Chunked(sealed, 1000, []), expected) == plaintext


def test_the_private_attribute_is_the_key_of_the_frames() -> None:
    # The one private attribute of the SDK that is used: it must be what the stock decryption uses.
    content = SEALED[frame(1)]
    aad = SEALED[3:35] + b"AWSKMSEncryptionClient Frame" + struct.pack(">IQ", 1, FRAME)
    assert derived_key().decrypt(content[4:16], content[16:], aad) == PLAINTEXT[:FRAME]


def swapped(first: int, second: int) -> bytes:
    edited = bytearray(SEALED)
    edited[frame(first)], edited[frame(second)] = SEALED[frame(second)], SEALED[frame(first)]
    return bytes(edited)


def with_bytes(at: int, value: bytes) -> bytes:
    return SEALED[:at] + value + SEALED[at + len(value) :]


def flipped(at: int) -> bytes:
    return with_bytes(at, bytes((SEALED[at] ^ 1,)))


OTHER = seal(os.urandom(len(PLAINTEXT)))
TAIL = HEADER_BYTES + 10 * (FRAME + 32)
TAMPERED: dict[str, tuple[bytes, ErrorCode]] = {
    "frames swapped": (swapped(2, 3), ErrorCode.WEIGHTS_FRAME),
    "frames swapped, numbers put right": (
        swapped(2, 3)[: frame(2).start] + struct.pack(">I", 2) + swapped(2, 3)[frame(2).start + 4 :],
        ErrorCode.WEIGHTS_FRAME,
    ),
    "frame repeated": (SEALED[: frame(3).start] + SEALED[frame(2)] + SEALED[frame(3).stop :], ErrorCode.WEIGHTS_FRAME),
    "frame left out": (SEALED[: frame(3).start] + SEALED[frame(3).stop :], ErrorCode.WEIGHTS_TRUNCATED),
    "frame of another message": (
        SEALED[: frame(3).start] + OTHER[frame(3)] + SEALED[frame(3).stop :],
        ErrorCode.WEIGHTS_FRAME,
    ),
    "body of another message": (SEALED[:HEADER_BYTES] + OTHER[HEADER_BYTES:], ErrorCode.WEIGHTS_FRAME),
    "another message": (OTHER, ErrorCode.WEIGHTS_DIGEST),
    "ciphertext flipped": (flipped(frame(1).start + 50), ErrorCode.WEIGHTS_FRAME),
    "tag flipped": (flipped(frame(10).stop - 1), ErrorCode.WEIGHTS_FRAME),
    "sequence number flipped": (flipped(frame(4).start + 3), ErrorCode.WEIGHTS_FRAME),
    "iv flipped": (flipped(frame(4).start + 15), ErrorCode.WEIGHTS_FRAME),
    "final content flipped": (flipped(TAIL + 24), ErrorCode.WEIGHTS_FRAME),
    "final tag flipped": (flipped(len(SEALED) - 1), ErrorCode.WEIGHTS_FRAME),
    "final number flipped": (flipped(TAIL + 7), ErrorCode.WEIGHTS_FRAME),
    "final iv flipped": (flipped(TAIL + 19), ErrorCode.WEIGHTS_FRAME),
    "final length flipped": (flipped(TAIL + 23), ErrorCode.WEIGHTS_FRAME),
    "final marker flipped": (flipped(TAIL), ErrorCode.WEIGHTS_FRAME),
    "last byte missing": (SEALED[:-1], ErrorCode.WEIGHTS_TRUNCATED),
    "final frame missing": (SEALED[:TAIL], ErrorCode.WEIGHTS_TRUNCATED),
    "only the header": (SEALED[:HEADER_BYTES], ErrorCode.WEIGHTS_TRUNCATED),
    "half the header": (SEALED[: HEADER_BYTES // 2], ErrorCode.WEIGHTS_TRUNCATED),
    "nothing": (b"", ErrorCode.WEIGHTS_TRUNCATED),
    "a byte more": (SEALED + b"\x00", ErrorCode.WEIGHTS_TRAILING),
    "the message twice": (SEALED * 2, ErrorCode.WEIGHTS_TRAILING),
    "commitment flipped": (flipped(HEADER_BYTES - 17), ErrorCode.WEIGHTS_DIGEST),
    "header tag flipped": (flipped(HEADER_BYTES - 1), ErrorCode.WEIGHTS_DIGEST),
    "message id flipped": (flipped(10), ErrorCode.WEIGHTS_DIGEST),
}


@pytest.mark.parametrize("name", TAMPERED)
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_not_the_signed_message_is_refused_and_wiped(name: str, streamed: bool, workers: int) -> None:
    sealed, code = TAMPERED[name]
    buffer = WeightsBuffer(len(PLAINTEXT))
    held = memoryview(buffer.writable())  # as somebody who still looks would see it
    error = refusal(lambda: opened(Chunked(sealed, 3000, []) if streamed else sealed, buffer=buffer, workers=workers))
    assert error.code is code
    if sealed[:HEADER_BYTES] == SEALED[:HEADER_BYTES] and code is not ErrorCode.WEIGHTS_TRUNCATED:
        assert buffer.wiped
    assert not any(held)


DIGESTS: dict[str, tuple[dict[str, Any], ErrorCode]] = {
    "header": ({"header_sha384": Sha384(bytes(48))}, ErrorCode.WEIGHTS_DIGEST),
    "frames": ({"frames_sha384": Sha384(bytes(48))}, ErrorCode.WEIGHTS_DIGEST),
    "plaintext": ({"plaintext_sha384": Sha384(bytes(48))}, ErrorCode.WEIGHTS_DIGEST),
    "context": ({"encryption_context": CONTEXT | {"epoch": "2"}}, ErrorCode.WEIGHTS_HEADER),
    "one byte shorter": ({"plaintext_bytes": len(PLAINTEXT) - 1}, ErrorCode.WEIGHTS_FRAME),
    "one byte longer": ({"plaintext_bytes": len(PLAINTEXT) + 1}, ErrorCode.WEIGHTS_TRUNCATED),
    "a frame shorter": ({"plaintext_bytes": len(PLAINTEXT) - FRAME}, ErrorCode.WEIGHTS_FRAME),
    "whole frames only": ({"plaintext_bytes": 10 * FRAME}, ErrorCode.WEIGHTS_FRAME),
    "a frame longer": ({"plaintext_bytes": len(PLAINTEXT) + FRAME}, ErrorCode.WEIGHTS_TRUNCATED),
}


@pytest.mark.parametrize("name", DIGESTS)
def test_what_the_manifest_does_not_say_is_refused(name: str) -> None:
    changes, code = DIGESTS[name]
    assert refusal(lambda: opened(expected=replace(EXPECTED, **changes))).code is code


def test_without_hashing_the_other_digests_still_hold() -> None:
    loose = replace(EXPECTED, plaintext_sha384=Sha384(bytes(48)))
    assert opened(expected=loose, hash_plaintext=False) == PLAINTEXT
    other_header = replace(EXPECTED, header_sha384=Sha384(bytes(48)))
    other_frames = replace(EXPECTED, frames_sha384=Sha384(bytes(48)))
    for expected in (other_header, other_frames):
        with pytest.raises(ReleaseError) as caught:
            opened(expected=expected, hash_plaintext=False)
        assert caught.value.code is ErrorCode.WEIGHTS_DIGEST


def test_another_header_does_not_even_ask_for_the_key() -> None:
    before = keys().asked
    refusal(lambda: opened(OTHER))
    assert keys().asked == before


def test_another_key_does_not_open_the_header() -> None:
    assert refusal(lambda: opened(key=1)).code is ErrorCode.WEIGHTS_HEADER


def test_a_size_beyond_the_budget_is_refused_before_anything_is_reserved() -> None:
    assert opened(max_plaintext_bytes=len(PLAINTEXT)) == PLAINTEXT
    before = keys().asked
    assert refusal(lambda: opened(max_plaintext_bytes=len(PLAINTEXT) - 1)).code is ErrorCode.WEIGHTS_SIZE
    huge = replace(EXPECTED, plaintext_bytes=1 << 50)
    assert refusal(lambda: opened(expected=huge)).code is ErrorCode.WEIGHTS_SIZE
    assert refusal(lambda: opened(expected=replace(EXPECTED, plaintext_bytes=0))).code is ErrorCode.WEIGHTS_SIZE
    unframeable = replace(EXPECTED, plaintext_bytes=FRAMES_MAX * FRAME)
    assert refusal(lambda: opened(expected=unframeable, max_plaintext_bytes=1 << 50)).code is ErrorCode.WEIGHTS_SIZE
    assert keys().asked == before


@pytest.mark.parametrize("workers", [0, WORKERS_MAX + 1])
def test_the_number_of_threads_is_bounded(workers: int) -> None:
    assert refusal(lambda: opened(workers=workers)).code is ErrorCode.WEIGHTS_SIZE


def test_a_buffer_of_another_length_is_refused() -> None:
    assert refusal(lambda: opened(buffer=WeightsBuffer(len(PLAINTEXT) + 1))).code is ErrorCode.WEIGHTS_SIZE


def test_a_buffer_is_used_again() -> None:
    buffer = WeightsBuffer(len(PLAINTEXT))
    again = open_weights(MemorySource(SEALED), EXPECTED, opener=opener(), max_plaintext_bytes=BUDGET, buffer=buffer)
    assert again is buffer
    assert bytes(again.view()) == PLAINTEXT
    buffer.wipe()


@pytest.mark.parametrize(
    ("algorithm", "frame_bytes", "what"),
    [
        (Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384, 4096, "suite"),
        (SUITE, 0, "framed"),
        (SUITE, 512, "frames of 512"),
        (SUITE, (16 << 20) + 128, "frames of"),
    ],
)
def test_other_messages_are_refused_by_name(algorithm: Any, frame_bytes: int, what: str) -> None:
    error = refusal(lambda: opened(seal(b"weights", algorithm=algorithm, frame_bytes=frame_bytes)))
    assert error.code is ErrorCode.WEIGHTS_HEADER
    assert what in error.message


@pytest.mark.parametrize("frame_bytes", [1024, 16 << 20])
def test_frames_at_the_bounds_are_taken(frame_bytes: int) -> None:
    sealed = seal(PLAINTEXT, frame_bytes=frame_bytes)
    assert opened(sealed, expectation(sealed, PLAINTEXT)) == PLAINTEXT


HEADERS: dict[str, bytes] = {
    "format version 1": with_bytes(0, b"\x01"),
    "unknown suite": with_bytes(1, b"\x00\x14"),
    "endless context": with_bytes(35, b"\xff\xff") + bytes(70_000),
    "no data keys": SEALED[:35] + b"\x00\x00\x00\x00" + bytes(200),
    "five data keys": SEALED[:35] + b"\x00\x00\x00\x05" + bytes(200),
}


@pytest.mark.parametrize("name", HEADERS)
def test_odd_headers_are_refused(name: str) -> None:
    assert refusal(lambda: opened(HEADERS[name])).code is ErrorCode.WEIGHTS_HEADER


class Breaking:
    """Break each stream after some bytes, with an error or an early end, so many times."""

    def __init__(self, sealed: bytes, *, after: int, times: int, error: bool) -> None:
        self.sealed, self.after, self.times, self.error = sealed, after, times, error
        self.opened_at: list[int] = []

    def open(self, offset: int) -> "Breaking.Stream":
        self.opened_at.append(offset)
        return Breaking.Stream(self, offset)

    class Stream(ChunkedStream):
        def __init__(self, source: "Breaking", offset: int) -> None:
            super().__init__(source.sealed, offset, 1000)
            self.source, self.left = source, source.after

        def readinto(self, buffer: memoryview, /) -> int:
            if self.source.times and self.left <= 0:
                self.source.times -= 1
                if self.source.error:
                    raise ConnectionResetError(104, "reset")
                return 0
            read = super().readinto(buffer)
            self.left -= read
            return read


@pytest.mark.parametrize("error", [False, True])
def test_a_broken_stream_resumes_where_a_span_began(error: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "STREAM_SPAN_BYTES", 2 * (FRAME + 32))
    source = Breaking(SEALED, after=15_000, times=3, error=error)
    assert opened(source) == PLAINTEXT
    assert len(source.opened_at) == 4
    assert source.opened_at == sorted(set(source.opened_at))
    assert all((at - HEADER_BYTES) % (2 * (FRAME + 32)) == 0 for at in source.opened_at[1:])


@pytest.mark.parametrize(("error", "code"), [(False, ErrorCode.WEIGHTS_TRUNCATED), (True, ErrorCode.WEIGHTS_SOURCE)])
def test_a_stream_that_keeps_breaking_is_given_up(error: bool, code: ErrorCode) -> None:
    source = Breaking(SEALED, after=HEADER_BYTES + 2000, times=1000, error=error)
    assert refusal(lambda: opened(source)).code is code
    assert len(source.opened_at) == RESUME_ATTEMPTS + 1


def test_a_source_that_cannot_be_opened_is_given_up() -> None:
    class Closed:
        def open(self, offset: int) -> IteratorStream:
            raise FileNotFoundError(2, "gone", str(offset))

    assert refusal(lambda: opened(Closed())).code is ErrorCode.WEIGHTS_SOURCE


def test_a_stream_that_breaks_after_its_end_has_ended() -> None:
    source = Breaking(SEALED, after=len(SEALED), times=1, error=True)
    assert opened(source) == PLAINTEXT


def test_chunks_of_an_iterator_are_a_stream() -> None:
    class Chunks:
        def open(self, offset: int) -> IteratorStream:
            assert offset == 0
            return IteratorStream(SEALED[at : at + 999] for at in range(0, len(SEALED), 999))

    assert opened(Chunks()) == PLAINTEXT
    stream = IteratorStream(iter([b"", b"ab", b"", b"c"]))
    memory = bytearray(5)
    assert stream.readinto(memoryview(memory)) == 2
    assert stream.readinto(memoryview(memory)[2:]) == 1
    assert stream.readinto(memoryview(memory)) == 0
    assert memory == b"abc\x00\x00"


def test_a_failure_elsewhere_wipes_too_and_leaves_no_thread() -> None:
    buffer = WeightsBuffer(len(PLAINTEXT))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt(f"{done} of {total}")

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        opened(progress=stop, buffer=buffer)
    assert buffer.wiped
    assert threading.active_count() <= before  # another test's threads may end meanwhile


def test_a_publisher_measures_what_a_reader_expects() -> None:
    for sealed in (SEALED, as_other_sdk(PLAINTEXT[: 3 * FRAME])):
        from_memory = measure_sealed(MemorySource(sealed))
        assert from_memory == measure_sealed(Chunked(sealed, 333, []))
        assert from_memory.ciphertext_bytes == len(sealed)
        assert from_memory.frame_bytes == FRAME
    assert EXPECTED.header_sha384.digest == hashlib.sha384(SEALED[:HEADER_BYTES]).digest()
    tags = [SEALED[frame(number)][-16:] for number in range(1, 11)] + [SEALED[-16:]]
    digest = FramesDigest(Layout(plaintext_bytes=len(PLAINTEXT), frame_bytes=FRAME))
    digest.add(b"".join(tags))
    assert digest.result() == EXPECTED.frames_sha384


@pytest.mark.parametrize(
    ("sealed", "code"),
    [
        (SEALED[:-1], ErrorCode.WEIGHTS_TRUNCATED),
        (SEALED + b"x", ErrorCode.WEIGHTS_TRAILING),
        (swapped(1, 2), ErrorCode.WEIGHTS_FRAME),
        (flipped(TAIL + 20), ErrorCode.WEIGHTS_FRAME),
        (flipped(TAIL + 7), ErrorCode.WEIGHTS_FRAME),
        (seal(b""), ErrorCode.WEIGHTS_TRUNCATED),
    ],
    ids=["cut", "longer", "swapped", "final length", "final number", "empty"],
)
def test_a_publisher_does_not_measure_what_would_not_load(sealed: bytes, code: ErrorCode) -> None:
    assert refusal(lambda: measure_sealed(MemorySource(sealed))).code is code


def test_no_repr_shows_key_or_content() -> None:
    key = FrameKey(cipher=derived_key(), message_id=bytes(32), frame_bytes=FRAME)
    raw = opener().open_header(SEALED[:HEADER_BYTES])
    for text in (repr(key), repr(raw), repr(WeightsBuffer(3))):
        assert raw.derived_key.hex() not in text
        assert repr(raw.derived_key) not in text


def test_frames_open_only_with_their_number_and_length() -> None:
    key = FrameKey(cipher=derived_key(), message_id=SEALED[3:35], frame_bytes=FRAME)
    memory = memoryview(bytearray(FRAME))
    assert open_regular_frames(key, 3, memoryview(SEALED)[frame(3)], memory) == SEALED[frame(3)][-16:]
    for number in (2, 4):
        with pytest.raises(ReleaseError):
            open_regular_frames(key, number, memoryview(SEALED)[frame(3)], memory)
    last = memoryview(bytearray(17))
    open_final_frame(key, 11, memoryview(SEALED)[TAIL:], last)
    assert bytes(last) == PLAINTEXT[-17:]
    with pytest.raises(ReleaseError):
        open_final_frame(key, 12, memoryview(SEALED)[TAIL:], last)


class Gated:
    """Give a message, and let a test decide what happens at each span that is read."""

    def __init__(self, sealed: bytes, at: Callable[[int], None]) -> None:
        self._sealed, self._at = sealed, at

    def open(self, offset: int) -> "GatedStream":
        return GatedStream(self._sealed, offset, self._at)


class GatedStream(ChunkedStream):
    """Tell where each read begins."""

    def __init__(self, sealed: bytes, offset: int, at: Callable[[int], None]) -> None:
        super().__init__(sealed, offset, len(sealed))
        self._tell = at

    def readinto(self, buffer: memoryview, /) -> int:
        self._tell(self._at)
        return super().readinto(buffer)


def test_of_several_failures_the_first_in_the_message_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SPAN_BYTES", FRAME + 32)
    edited = bytearray(SEALED)
    for number in (2, 3, 4, 5):
        edited[frame(number).start + 20] ^= 1
    for _ in range(20):
        assert "frame 2 " in refusal(lambda: opened(bytes(edited), workers=4)).message


def test_threads_share_the_spans_and_end_before_the_reader_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "STREAM_SPAN_BYTES", FRAME + 32)
    both, readers = threading.Barrier(2), set[str]()

    def at(position: int) -> None:
        # The first two spans are read by two threads: the one that has read its span waits until the other comes.
        if position >= HEADER_BYTES:
            readers.add(threading.current_thread().name)

    real = open_regular_frames

    def waiting(key: FrameKey, first: int, stored: memoryview, plaintext: memoryview) -> bytes:
        if first <= 2:
            both.wait(60)
        return real(key, first, stored, plaintext)

    monkeypatch.setattr(weights, "open_regular_frames", waiting)
    before = threading.active_count()
    assert opened(Gated(SEALED, at), workers=2) == PLAINTEXT
    assert len(readers) == 2
    assert threading.active_count() == before


def test_a_watcher_that_raises_stops_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SPAN_BYTES", FRAME + 32)
    before = threading.active_count()

    def watcher(done: int, _: int) -> None:
        raise KeyboardInterrupt(done)

    buffer = WeightsBuffer(len(PLAINTEXT))
    with pytest.raises(KeyboardInterrupt):
        opened(workers=4, progress=watcher, buffer=buffer)
    assert buffer.wiped
    assert threading.active_count() == before


@pytest.mark.parametrize(("frames_in_memory", "threads"), [(1, 1), (2, 2), (3, 3), (100, 4)])
def test_long_frames_are_opened_by_fewer_threads(
    monkeypatch: pytest.MonkeyPatch, frames_in_memory: int, threads: int
) -> None:
    monkeypatch.setattr(weights, "STREAM_SPAN_BYTES", FRAME + 32)
    monkeypatch.setattr(weights, "SPANS_MEMORY_BYTES", frames_in_memory * (FRAME + 32 + 40))
    started: list[str] = []
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        started.append(thread.name)
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    assert opened(Chunked(SEALED, 5000, []), workers=4, hash_plaintext=False) == PLAINTEXT
    assert len(started) == threads - 1
