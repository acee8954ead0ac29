"""The buffer for weights: its own memory, hidden, wiped, given back."""

import pytest

from pcrgate.envelope.weights_buffer import WIPE_STEP_BYTES, WeightsBuffer
from pcrgate.errors import ErrorCode, ReleaseError


@pytest.mark.parametrize("size", [1, 4095, 4096, WIPE_STEP_BYTES, WIPE_STEP_BYTES + 1, 3 * WIPE_STEP_BYTES - 1])
def test_every_byte_is_wiped(size: int) -> None:
    buffer = WeightsBuffer(size)
    assert len(buffer) == size
    held = memoryview(buffer.writable())
    held[:] = b"\xaa" * size
    buffer.wipe()
    assert not any(held)
    assert buffer.wiped


def test_it_is_read_only_to_users_and_empty_after_its_end() -> None:
    with WeightsBuffer(8) as buffer:
        buffer.writable()[:] = b"weights!"
        view = buffer.view()
        assert view.readonly
        assert bytes(view) == b"weights!"
    assert bytes(view) == bytes(8)
    view.release()
    buffer.wipe()
    for attempt in (buffer.view, buffer.writable):
        with pytest.raises(ReleaseError) as caught:
            attempt()
        assert caught.value.code is ErrorCode.SECRET_WIPED


@pytest.mark.parametrize("size", [0, -1, 1 << 62, 1 << 70])
def test_sizes_that_cannot_be_are_refused(size: int) -> None:
    with pytest.raises(ReleaseError) as caught:
        WeightsBuffer(size)
    assert caught.value.code is ErrorCode.WEIGHTS_SIZE


def test_the_content_does_not_show() -> None:
    buffer = WeightsBuffer(6)
    buffer.writable()[:] = b"canary"
    assert "canary" not in repr(buffer)
    assert "6 bytes" in repr(buffer)
