"""The pool gives every key once, stays bounded, and erases what is left."""

import threading

import pytest

from pcrgate.envelope.recipient import RecipientKey
from pcrgate.errors import ErrorCode, UsageError
from pcrgate.kms.key_pool import POOL_MAX_KEYS, FreshKeys, RecipientKeyPool


def test_fresh_keys_differ_and_have_the_asked_size() -> None:
    keys = FreshKeys()
    first, second = keys.take(), keys.take()
    assert first.rid != second.rid
    assert first.modulus_bytes == 256
    assert FreshKeys(bits=3072).take().modulus_bytes == 384


def test_it_fills_to_its_capacity_and_again() -> None:
    with RecipientKeyPool(capacity=2) as pool:
        assert pool.wait_full(60)
        assert pool.ready() == 2
        pool.take()
        assert pool.wait_full(60)
        assert pool.ready() == 2


def test_no_key_is_given_twice_however_many_take() -> None:
    taken = [RecipientKey.generate()]
    with RecipientKeyPool(capacity=3) as pool:
        threads = [threading.Thread(target=lambda: taken.append(pool.take())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({key.rid for key in taken}) == 9
    assert all(key.usable for key in taken)


def test_closing_erases_and_ends() -> None:
    pool = RecipientKeyPool(capacity=1)
    assert pool.wait_full(60)
    pool.close()
    pool.close()
    assert pool.ready() == 0
    with pytest.raises(UsageError) as caught:
        pool.take()
    assert caught.value.code is ErrorCode.USAGE_RECIPIENT_KEY


@pytest.mark.parametrize("capacity", [0, POOL_MAX_KEYS + 1])
def test_the_capacity_is_bounded(capacity: int) -> None:
    with pytest.raises(UsageError):
        RecipientKeyPool(capacity=capacity)
