"""The weights reader on edited messages: the signed plaintext, or a typed refusal and zeros."""

import os

from hypothesis import event, given, settings
from hypothesis import strategies as st

from pcrgate.envelope.weights import open_weights
from pcrgate.envelope.weights_buffer import WeightsBuffer
from pcrgate.envelope.weights_source import MemorySource
from pcrgate.errors import ReleaseError
from tests.unit.envelope.sealed import Chunked, expectation, opener, seal

PLAINTEXT = os.urandom(5 * 1024 + 100)
SEALED = seal(PLAINTEXT, frame_bytes=1024)
EXPECTED = expectation(SEALED, PLAINTEXT)
BUDGET = 1 << 20


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 9000),
    frame_blocks=st.integers(8, 40),
    chunk_bytes=st.integers(1, 5000),
    workers=st.integers(1, 3),
)
def test_every_length_opens_from_memory_and_stream(
    length: int, frame_blocks: int, chunk_bytes: int, workers: int
) -> None:
    plaintext = os.urandom(length)
    sealed = seal(plaintext, frame_bytes=128 * frame_blocks)
    expected = expectation(sealed, plaintext)
    for source in (MemorySource(sealed), Chunked(sealed, chunk_bytes, [])):
        with open_weights(source, expected, opener=opener(), max_plaintext_bytes=BUDGET, workers=workers) as buffer:
            assert bytes(buffer.view()) == plaintext


@settings(max_examples=200, deadline=None)
@given(
    at=st.integers(0, len(SEALED) - 1),
    removed=st.integers(0, 2000),
    inserted=st.binary(max_size=60),
    hash_plaintext=st.booleans(),
)
def test_edited_messages_are_refused_and_leave_nothing(
    at: int, removed: int, inserted: bytes, hash_plaintext: bool
) -> None:
    edited = SEALED[:at] + inserted + SEALED[at + removed :]
    buffer = WeightsBuffer(len(PLAINTEXT))
    held = memoryview(buffer.writable())
    try:
        open_weights(
            MemorySource(edited),
            EXPECTED,
            opener=opener(),
            max_plaintext_bytes=BUDGET,
            buffer=buffer,
            hash_plaintext=hash_plaintext,
        )
    except ReleaseError as refused:
        event(refused.code.code)
        assert edited != SEALED
        assert not any(held)
    else:
        assert edited == SEALED
        assert bytes(held) == PLAINTEXT
