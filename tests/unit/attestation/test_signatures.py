import subprocess
import sys
import threading
from pathlib import Path
from typing import cast

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from pcrgate.attestation import signatures
from pcrgate.attestation.signatures import ES384, SignatureClaim, verify_signatures
from pcrgate.errors import ErrorCode, ForgedEvidenceError

KEY = ec.generate_private_key(ec.SECP384R1())


def claim(number: int, *, holds: bool = True) -> SignatureClaim:
    data = bytes([number])
    signature = KEY.sign(data if holds else b"other", ES384)
    refusal = ForgedEvidenceError(ErrorCode.SIGNATURE_INVALID, f"claim {number}")
    return SignatureClaim(KEY.public_key(), signature, data, refusal)


@pytest.mark.parametrize("threads", [0, 1, 2, 3, 16])
def test_every_claim_is_checked_on_any_number_of_threads(threads: int) -> None:
    verify_signatures([claim(number) for number in range(5)], threads)
    for bad in range(5):
        with pytest.raises(ForgedEvidenceError, match=f"claim {bad}"):
            verify_signatures([claim(number, holds=number != bad) for number in range(5)], threads)


def test_the_first_claim_that_fails_takes_precedence() -> None:
    with pytest.raises(ForgedEvidenceError, match="claim 1"):
        verify_signatures([claim(0), claim(1, holds=False), claim(2), claim(3, holds=False)])


class MeetingKey:
    """Verify nothing, but only return when as many threads as the barrier counts are in it at once."""

    def __init__(self, barrier: threading.Barrier, breaks: type[Exception] | None = None) -> None:
        self._barrier = barrier
        self._breaks = breaks

    def verify(self, *_: object) -> None:
        self._barrier.wait(timeout=60)
        if self._breaks and threading.current_thread() is not threading.main_thread():
            raise self._breaks


def meeting(barrier: threading.Barrier, breaks: type[Exception] | None = None) -> SignatureClaim:
    key = cast("ec.EllipticCurvePublicKey", MeetingKey(barrier, breaks))
    return SignatureClaim(key, b"", b"", ForgedEvidenceError(ErrorCode.SIGNATURE_INVALID, "a meeting"))


def test_two_threads_work_at_once() -> None:
    barrier = threading.Barrier(2)
    verify_signatures([meeting(barrier), meeting(barrier)])


def test_what_the_helper_refuses_is_refused() -> None:
    barrier = threading.Barrier(2)
    with pytest.raises(ForgedEvidenceError, match="a meeting"):
        verify_signatures([meeting(barrier, InvalidSignature), meeting(barrier, InvalidSignature)])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_helper_that_breaks_proves_nothing_and_has_a_successor() -> None:
    barrier = threading.Barrier(2)
    with pytest.raises(ForgedEvidenceError, match="a meeting"):
        verify_signatures([meeting(barrier, ZeroDivisionError), meeting(barrier, ZeroDivisionError)])
    signatures._helpers[-1].join(timeout=60)
    verify_signatures([meeting(barrier), meeting(barrier)])


def test_the_callers_thread_does_it_all_when_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "_helpers", [])
    verify_signatures([claim(number) for number in range(5)], 1)
    verify_signatures([claim(0)], 2)
    assert not signatures._helpers


def test_without_a_thread_to_be_had_the_caller_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(signatures, "_helpers", [])
    monkeypatch.setattr(threading.Thread, "start", exhausted)
    verify_signatures([claim(number) for number in range(4)])
    with pytest.raises(ForgedEvidenceError, match="claim 1"):
        verify_signatures([claim(number, holds=number != 1) for number in range(4)])


FORKED = """
import os, threading
from tests.unit.attestation.test_signatures import meeting, verify_signatures
def meet():
    barrier = threading.Barrier(2)
    verify_signatures([meeting(barrier), meeting(barrier)])
meet()
child = os.fork()
meet()
if child:
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_has_its_own_helper() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], check=False, timeout=120, cwd=Path(__file__).parents[3])
    assert done.returncode == 0


def test_what_breaks_a_check_leaves_the_claim_unproven() -> None:
    broken = SignatureClaim(KEY.public_key(), b"", b"", ForgedEvidenceError(ErrorCode.SIGNATURE_INVALID, "broken"))
    with pytest.raises(ForgedEvidenceError, match="broken"):
        verify_signatures([broken])
