"""The instrument itself: a mutant changes what runs, everywhere, and is gone afterwards."""

import pytest

from pcrgate import units
from pcrgate.errors import UsageError
from pcrgate.units import Nonce, PcrIndex
from tests.attacks.mutants import mutant, succeeds


def test_a_check_is_gone_inside_the_block_and_back_after_it() -> None:
    assert not succeeds(lambda: Nonce(b"short"))
    with mutant(units, "not NONCE_MIN_BYTES <= len(self.value) <= FIELD_MAX_BYTES", "False"):
        assert succeeds(lambda: Nonce(b"short"))
        assert not succeeds(lambda: PcrIndex(99))
    with pytest.raises(UsageError):
        Nonce(b"short")


@pytest.mark.parametrize("old", ["no such text", "raise UsageError"])
def test_text_that_does_not_occur_once_is_refused(old: str) -> None:
    with pytest.raises(AssertionError, match="occurs"), mutant(units, old, ""):
        pass


def test_a_change_that_changes_nothing_is_refused() -> None:
    with (
        pytest.raises(AssertionError, match="no function"),
        mutant(
            units,
            "a nonce has {NONCE_MIN_BYTES} to {FIELD_MAX_BYTES} bytes",
            "a nonce has {NONCE_MIN_BYTES} to {FIELD_MAX_BYTES} bytes",
        ),
    ):
        pass
