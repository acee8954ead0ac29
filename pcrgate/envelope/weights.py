"""Open sealed weights at memory speed: authenticated frame by frame, in parallel, while the bytes still arrive.

Nothing of the plaintext is handed out before every check has passed; on any failure the buffer is wiped. Memory stays
within the plaintext and 64 MiB. The steps are numbered as in docs/adr/0200-weights-digest.md.
"""

import hashlib
import hmac
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from pcrgate.envelope.weights_buffer import WeightsBuffer
from pcrgate.envelope.weights_digest import FramesDigest, WeightsExpectation, feed_of
from pcrgate.envelope.weights_frames import (
    FINAL_OVERHEAD_BYTES,
    TAG_BYTES,
    Layout,
    is_final,
    open_final_frame,
    open_regular_frames,
)
from pcrgate.envelope.weights_header import FrameKey, HeaderOpener, open_header, parse_header
from pcrgate.envelope.weights_source import CiphertextSource, Feed
from pcrgate.errors import ErrorCode, ReleaseError

LOADING_MEMORY_BYTES: Final = 64 << 20
"""Most memory that loading takes beside the plaintext; what is in flight stays below it."""

SPAN_BYTES: Final = 4 << 20
"""How much of a message in memory is one piece of work, when frames are shorter: taking it costs nothing then."""

STREAM_SPAN_BYTES: Final = 1 << 20
"""How much of a stream is one piece of work: what was received is opened while it is still in a cache."""

SPANS_MEMORY_BYTES: Final = LOADING_MEMORY_BYTES * 3 // 4
"""Most memory in which a stream's spans arrive, one for each thread: fewer threads open the longest frames."""

WORKERS_IN_PLACE: Final = 2
"""Threads that decrypt a message in memory by default: half the time of one where the kernel gives each a core of its
own, about the time of one, or somewhat more, where it leaves both on one, as it may for tens of megabytes."""

WORKERS_STREAMED: Final = 1
"""Threads that decrypt a stream by default: the receiving one itself, while what came is in its cache. A second thread
cost more than it hid on two cores, which the parent's copying keeps busy; enclaves with more may try more."""

WORKERS_MAX: Final = 16
"""Most threads that decrypt: memory is the limit long before."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Span:
    """Say which regular frames are one piece of work."""

    first: int
    frames: int


def open_weights(
    source: CiphertextSource,
    expectation: WeightsExpectation,
    *,
    opener: HeaderOpener,
    max_plaintext_bytes: int,
    hash_plaintext: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
    buffer: WeightsBuffer | None = None,
) -> WeightsBuffer:
    """Return the plaintext of sealed weights, after every check.

    Args:
        source: where the sealed bytes come from.
        expectation: what the signed manifest says of them.
        opener: the Encryption SDK on an attested client (``pcrgate.kms.weights_key``).
        max_plaintext_bytes: the memory budget; a longer plaintext is refused before anything is reserved.
        hash_plaintext: whether to compare the plaintext's SHA-384 too. It costs about a second for each gigabyte and
            protects against somebody who knows the data key; without it, header, key commitment and frames still bind
            the plaintext to the manifest for everybody who does not.
        workers: threads that decrypt, 1 to 16, the calling one among them. By default 2 for a message in memory and 1
            for a stream.
        progress: called with verified and total plaintext bytes, from the calling thread.
        buffer: memory to use again, of exactly the plaintext's length.

    Raises:
        ReleaseError: ``weights-size``, ``weights-header``, ``weights-digest``, ``weights-frame``,
            ``weights-truncated``, ``weights-trailing``, ``weights-source``; whatever the attested client refuses with.
    """
    # 1. The size the manifest says fits the budget, and the buffer.
    size_bytes = expectation.plaintext_bytes
    if not 1 <= size_bytes <= max_plaintext_bytes:
        raise ReleaseError(
            ErrorCode.WEIGHTS_SIZE, f"the manifest says {size_bytes} bytes, budget {max_plaintext_bytes}"
        )
    if buffer is not None and len(buffer) != size_bytes:
        raise ReleaseError(
            ErrorCode.WEIGHTS_SIZE, f"the buffer has {len(buffer)} bytes, the manifest says {size_bytes}"
        )
    feed = feed_of(source)
    threads = (WORKERS_IN_PLACE if feed.in_place else WORKERS_STREAMED) if workers is None else workers
    if not 1 <= threads <= WORKERS_MAX:
        raise ReleaseError(ErrorCode.WEIGHTS_SIZE, f"{threads} threads are to decrypt, expected 1 to {WORKERS_MAX}")

    # 2. The header: digest first, then KMS, commitment and header authentication by the SDK.
    header = parse_header(lambda length: bytes(feed.take(length)))
    layout = Layout(plaintext_bytes=size_bytes, frame_bytes=header.frame_bytes)
    layout.require_representable()
    key = open_header(
        header,
        expected=expectation.header_sha384,
        encryption_context=expectation.encryption_context,
        opener=opener,
    )

    opened = buffer or WeightsBuffer(size_bytes)
    try:
        reader = _Reader(
            feed=feed,
            key=key,
            layout=layout,
            plaintext=opened.writable(),
            workers=threads,
            hash_plaintext=hash_plaintext,
            progress=progress,
        )
        _require_digests(*reader.run(), expectation)
    except BaseException:
        opened.wipe()
        raise
    return opened


def _require_digests(frames_sha384: bytes, plaintext_sha384: bytes | None, expectation: WeightsExpectation) -> None:
    # 6. The digests of the manifest.
    if not hmac.compare_digest(frames_sha384, expectation.frames_sha384.digest):
        raise ReleaseError(ErrorCode.WEIGHTS_DIGEST, "the frames are not those that were signed for")
    if plaintext_sha384 is not None and not hmac.compare_digest(plaintext_sha384, expectation.plaintext_sha384.digest):
        raise ReleaseError(ErrorCode.WEIGHTS_DIGEST, "the plaintext is not the one that was signed for")


class _Reader:
    """Read, open and measure the body of one message; every thread has ended when ``run`` returns or raises.

    The calling thread and its helpers each take the next span, one after the other, and open it without waiting for
    anyone. Waking a thread costs as much as opening a megabyte, so no span is ever handed over.
    """

    def __init__(
        self,
        *,
        feed: Feed,
        key: FrameKey,
        layout: Layout,
        plaintext: memoryview,
        workers: int,
        hash_plaintext: bool,
        progress: Progress | None,
    ) -> None:
        self._feed = feed
        self._key = key
        self._layout = layout
        self._plaintext = plaintext
        self._progress = progress
        wanted_bytes = SPAN_BYTES if feed.in_place else STREAM_SPAN_BYTES
        self._frames_a_span = max(1, wanted_bytes // layout.stored_frame_bytes)
        spans = -(-layout.regular_frames // self._frames_a_span)
        in_memory = WORKERS_MAX if feed.in_place else SPANS_MEMORY_BYTES // self._memory_bytes
        self._helpers = max(1, min(workers, spans, in_memory)) - 1
        self._turn = threading.Lock()
        self._spans = self._all_spans()
        self._stopped = False
        self._opened: dict[int, bytes] = {}
        self._failures: list[tuple[int, Exception]] = []
        self._gathered_frames = 0
        self._frames_digest = FramesDigest(layout)
        self._hash = hashlib.sha384() if hash_plaintext else None
        self._hashing: deque[Future[None]] = deque()
        self._verified_bytes = 0

    def run(self) -> tuple[bytes, bytes | None]:
        """Return the digests of frames and plaintext, the latter None when it was not asked for."""
        with ExitStack() as threads:
            hasher = threads.enter_context(ThreadPoolExecutor(1, "weights-hash")) if self._hash is not None else None
            # 3. Regular frames, in parallel, as they arrive.
            memory = self._memory()
            self._open_all(memory, hasher)
            # 4. The final frame, which closes the sequence, and 5. nothing after it.
            self._tail(memory, hasher)
            self._feed.finish()
            while self._hashing:
                self._hashing.popleft().result()
        return self._frames_digest.result().digest, None if self._hash is None else self._hash.digest()

    @property
    def _memory_bytes(self) -> int:
        """How much memory a thread receives in: a span, or the tail, which may be longer by a final frame's head."""
        return self._frames_a_span * self._layout.stored_frame_bytes + FINAL_OVERHEAD_BYTES

    def _memory(self) -> bytearray | None:
        return None if self._feed.in_place else bytearray(self._memory_bytes)

    def _all_spans(self) -> Iterator[_Span]:
        for done in range(0, self._layout.regular_frames, self._frames_a_span):
            yield _Span(done + 1, min(self._frames_a_span, self._layout.regular_frames - done))

    def _open_all(self, memory: bytearray | None, hasher: ThreadPoolExecutor | None) -> None:
        helpers = [threading.Thread(target=self._help, name=f"weights-{number}") for number in range(self._helpers)]
        started: list[threading.Thread] = []
        try:
            for helper in helpers:
                helper.start()
                started.append(helper)
            while self._open_next(memory):
                self._gather(hasher)
        finally:
            self._stopped = True
            for helper in started:
                helper.join()
        if self._failures:
            # Spans before the first that failed were all taken and are all open: which failure is told is no accident.
            raise min(self._failures, key=lambda failure: failure[0])[1]
        self._gather(hasher)

    def _help(self) -> None:
        memory = self._memory()
        while self._open_next(memory):
            pass

    def _open_next(self, memory: bytearray | None) -> bool:
        """Take the next span and open it; whether there was one, and nothing failed."""
        with self._turn:
            span = None if self._stopped else next(self._spans, None)
            if span is None:
                return False
            try:
                stored = self._feed.take(span.frames * self._layout.stored_frame_bytes, memory)
            except Exception as error:  # noqa: BLE001 - kept for the calling thread, which raises the first
                return self._failed(span, error)
        try:
            self._opened[span.first] = self._open(span, stored)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failed(span, error)
        return True

    def _failed(self, span: _Span, error: Exception) -> bool:
        self._failures.append((span.first, error))
        self._stopped = True
        return False

    def _open(self, span: _Span, stored: memoryview) -> bytes:
        start = (span.first - 1) * self._layout.frame_bytes
        end = start + span.frames * self._layout.frame_bytes
        return open_regular_frames(self._key, span.first, stored, self._plaintext[start:end])

    def _tail(self, memory: bytearray | None, hasher: ThreadPoolExecutor | None) -> None:
        layout, number = self._layout, self._layout.regular_frames + 1
        rest = self._plaintext[layout.plaintext_bytes - layout.tail_plaintext_bytes :]
        stored = self._feed.take(layout.tail_bytes, memory)
        if is_final(stored):
            self._frames_digest.add(open_final_frame(self._key, number, stored, rest))
        elif layout.tail_plaintext_bytes == layout.frame_bytes:
            # A full last frame, closed by an empty final one: other Encryption SDKs may write it so.
            self._frames_digest.add(open_regular_frames(self._key, number, stored[: layout.stored_frame_bytes], rest))
            begun = bytes(stored[layout.stored_frame_bytes :])
            closing = begun + bytes(self._feed.take(layout.empty_final_bytes))
            self._frames_digest.add(open_final_frame(self._key, number + 1, memoryview(closing), rest[:0]))
        else:
            raise ReleaseError(
                ErrorCode.WEIGHTS_FRAME, f"frame {number} is not final, although the plaintext ends there"
            )
        self._advance(layout.tail_plaintext_bytes, hasher)

    def _gather(self, hasher: ThreadPoolExecutor | None) -> None:
        """Measure the tags of spans that are open, in order, up to the first that is not."""
        while (tags := self._opened.pop(self._gathered_frames + 1, None)) is not None:
            frames = len(tags) // TAG_BYTES
            self._gathered_frames += frames
            self._frames_digest.add(tags)
            self._advance(frames * self._layout.frame_bytes, hasher)

    def _advance(self, length: int, hasher: ThreadPoolExecutor | None) -> None:
        """Count plaintext that is verified, hash it on its own thread, and tell whoever watches."""
        start, self._verified_bytes = self._verified_bytes, self._verified_bytes + length
        if hasher is not None and self._hash is not None:
            self._hashing.append(hasher.submit(self._hash.update, self._plaintext[start : self._verified_bytes]))
            while self._hashing and self._hashing[0].done():
                self._hashing.popleft().result()
        if self._progress is not None:
            self._progress(self._verified_bytes, self._layout.plaintext_bytes)
