"""Two hundred sessions at once, for some seconds: nothing but declared refusals, bounded memory, every receipt verified.

The long form is run by hand: ``python -m tests.load``.
"""

import json

import pytest

from tests.load.__main__ import main

pytestmark = pytest.mark.network

SESSIONS = 200

SERVICE_GROWTH_MAX_BYTES = 64 << 20
"""Sixty-four requests in progress with a few copies of some kilobytes each, SQLite's caches, and what an allocator keeps."""

ENCLAVE_GROWTH_MAX_BYTES = 48 << 20
"""Two hundred sessions, and at most 8,192 receipts and 4,096 answers of about a kilobyte; threads' arenas beside them."""

STEADY_GROWTH_MAX_BYTES = 16 << 20
"""From the middle of the load to its end: what is kept by then goes on growing for a while, nothing else does."""


def test_two_hundred_sessions_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Every result is opened and every receipt verified by the driver; what it could not verify is a fault."""
    assert main(["--sessions", str(SESSIONS), "--seconds", "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sessions"], told["faults"]) == (SESSIONS, [])
    assert told["done"] >= SESSIONS // 4
    assert set(told["later"]) <= {"429", "503", "wire-busy", "service-busy"}
    before, half, after = (told["memory"][moment] for moment in ("before", "half", "after"))
    for name, most in (("service", SERVICE_GROWTH_MAX_BYTES), ("enclave", ENCLAVE_GROWTH_MAX_BYTES)):
        assert before[name] > 1 << 20
        assert after[name] - before[name] <= most
        assert after[name] - half[name] <= STEADY_GROWTH_MAX_BYTES
