import threading

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

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


def test_threads_end_with_the_call() -> None:
    before = threading.active_count()
    verify_signatures([claim(number) for number in range(5)], 4)
    assert threading.active_count() == before


def test_without_a_thread_to_be_had_the_caller_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", exhausted)
    verify_signatures([claim(number) for number in range(4)])
    with pytest.raises(ForgedEvidenceError, match="claim 1"):
        verify_signatures([claim(number, holds=number != 1) for number in range(4)])


def test_a_thread_is_started_only_when_it_finds_two_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", lambda helper: started.append(helper))
    monkeypatch.setattr(threading.Thread, "join", lambda _: None)
    for count, helpers in ((1, 0), (2, 0), (3, 0), (4, 1), (5, 1)):
        started.clear()
        verify_signatures([claim(number) for number in range(count)])
        assert len(started) == helpers


def test_what_breaks_a_check_leaves_the_claim_unproven() -> None:
    broken = SignatureClaim(KEY.public_key(), b"", b"", ForgedEvidenceError(ErrorCode.SIGNATURE_INVALID, "broken"))
    with pytest.raises(ForgedEvidenceError, match="broken"):
        verify_signatures([broken])
