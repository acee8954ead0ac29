"""The enclave's small parts: phases exhaustively, time, counters, budget, configuration, environment, cache, sessions."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from enclave.answer_cache import AnswerCache
from enclave.budget import MemoryBudget
from enclave.clock import SKEW_MAX_MS, OwnClock, monotonic_ms
from enclave.configuration import CONFIGURATION_MAX_BYTES, load_configuration, parse_configuration
from enclave.counters import Counter, Counters, bucket
from enclave.hardening import require_environment, require_hardware_randomness
from enclave.phases import ANSWERED, FOLLOWS, Phase, PhaseMachine
from enclave.workloads.registry import chosen
from pcrgate.errors import ErrorCode, NsmError, PcrgateError, UsageError, WireError
from pcrgate.wire.frames import FrameType

PATHS = {
    Phase.BOOTING: (),
    Phase.ATTESTED: (Phase.ATTESTED,),
    Phase.RELEASING: (Phase.ATTESTED, Phase.RELEASING),
    Phase.LIVE: (Phase.ATTESTED, Phase.RELEASING, Phase.LIVE),
    Phase.DRAINING: (Phase.ATTESTED, Phase.RELEASING, Phase.LIVE, Phase.DRAINING),
}


def machine_in(phase: Phase) -> PhaseMachine:
    machine = PhaseMachine()
    for step in PATHS.get(phase, ()):
        machine.advance(step)
    if phase is Phase.FAILED:
        machine.fail(ErrorCode.INTERNAL)
    assert machine.phase is phase
    return machine


@pytest.mark.parametrize("before", list(Phase))
@pytest.mark.parametrize("after", list(Phase))
def test_every_pair_of_phases(before: Phase, after: Phase) -> None:
    machine = machine_in(before)
    if after in FOLLOWS[before] and after is not Phase.FAILED:
        machine.advance(after)
        assert machine.phase is after
        return
    with pytest.raises(PcrgateError) as refused:
        machine.advance(after)
    assert refused.value.code is ErrorCode.ENCLAVE_PHASE
    assert machine.phase is before


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("request_type", list(FrameType))
def test_what_each_phase_answers(phase: Phase, request_type: FrameType) -> None:
    machine = machine_in(phase)
    if request_type in ANSWERED[phase]:
        machine.require(request_type)
    else:
        with pytest.raises(PcrgateError):
            machine.require(request_type)
    assert (request_type in ANSWERED[phase]) <= (request_type < 0x20)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.FAILED])
def test_failure_follows_every_phase_and_the_first_is_told(phase: Phase) -> None:
    machine = machine_in(phase)
    machine.fail(ErrorCode.ENCLAVE_CLOCK)
    machine.fail(ErrorCode.INTERNAL)
    assert (machine.phase, machine.failure) == (Phase.FAILED, ErrorCode.ENCLAVE_CLOCK)
    assert FOLLOWS[Phase.FAILED] == set()


def test_own_time_goes_forward_only() -> None:
    ticks = [1000]
    clock = OwnClock(5_000_000, monotonic=lambda: ticks[0])
    assert clock.now_ms() == 5_000_000
    ticks[0] += 250
    assert clock.now_ms() == 5_000_250
    clock.observe(5_000_100)  # a little behind: our own counts
    assert clock.now_ms() == 5_000_250
    clock.observe(9_000_000)  # the enclave was paused
    assert clock.now_ms() == 9_000_000
    clock.observe(9_000_000 - SKEW_MAX_MS)
    assert clock.now_ms() == 9_000_000
    with pytest.raises(NsmError) as refused:
        clock.observe(9_000_000 - SKEW_MAX_MS - 1)
    assert refused.value.code is ErrorCode.ENCLAVE_CLOCK
    assert monotonic_ms() <= monotonic_ms()


def test_counters_leave_as_coarse_buckets_of_a_fixed_list() -> None:
    assert [bucket(value) for value in (0, 1, 2, 3, 4, 1023, 1024)] == [0, 1, 2, 2, 4, 512, 1024]
    counters = Counters()
    for _ in range(5):
        counters.add(Counter.REQUESTS)
    assert counters.exact(Counter.REQUESTS) == 5
    assert counters.declared() == {counter.value: 0 for counter in Counter} | {"requests": 4}


def test_the_budget_is_charged_to_its_limit() -> None:
    budget = MemoryBudget(100)
    budget.charge(100)
    with pytest.raises(WireError) as refused:
        budget.charge(1)
    assert refused.value.code is ErrorCode.WIRE_BUSY
    budget.release(100)
    assert (budget.charged_bytes, budget.fits(100), budget.fits(101)) == (0, True, False)


VALID: dict[str, Any] = {
    "version": 1,
    "publisher_keys": ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"],
    "manifest_floor_epoch": 1,
    "pinned_keys": ["arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000000"],
    "allow_multi_region": False,
    "fips": False,
    "workloads": ["validate"],
    "weights_max_bytes": 1,
    "session_lifetime_s": 86_400,
    "ca_bundle": None,
    "development_roots": [],
}


def parsed(values: object, tmp_path: Path) -> Any:
    return parse_configuration(json.dumps(values).encode(), folder=tmp_path, production=True)


def test_a_configuration_is_read(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    (tmp_path / "enclave.json").write_text(json.dumps(VALID | {"ca_bundle": "ca.pem"}))
    found = load_configuration(tmp_path / "enclave.json", production=True)
    assert found.ca_bundle == tmp_path / "ca.pem"
    assert found.workloads == ("validate",)
    with pytest.raises(UsageError) as refused:
        load_configuration(tmp_path / "absent.json", production=True)
    assert refused.value.code is ErrorCode.USAGE_FILE


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"more": 1},
        {"publisher_keys": []},
        {"publisher_keys": ["zz"]},
        {"publisher_keys": "d7"},
        {"publisher_keys": VALID["publisher_keys"] * 2},
        {"manifest_floor_epoch": 0},
        {"manifest_floor_epoch": True},
        {"pinned_keys": []},
        {"pinned_keys": ["alias/x"]},
        {"workloads": []},
        {"workloads": [1]},
        {"fips": 1},
        {"weights_max_bytes": 0},
        {"weights_max_bytes": (1 << 40) + 1},
        {"session_lifetime_s": 86_401},
        {"ca_bundle": "absent.pem"},
        {"ca_bundle": "../ca.pem"},
        {"ca_bundle": 1},
        {"development_roots": ["00"]},
        {"development_roots": ["00" * 32]},
    ],
)
def test_another_configuration_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        parsed(VALID | change, tmp_path)
    assert refused.value.code is ErrorCode.ENCLAVE_CONFIGURATION


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{", b"[" * 100_000, b'{"version": 1, "version": 1}', bytes(CONFIGURATION_MAX_BYTES + 1)]
)
def test_what_is_no_json_object_is_refused(raw: bytes, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        parse_configuration(raw, folder=tmp_path, production=True)
    assert refused.value.code is ErrorCode.ENCLAVE_CONFIGURATION


def test_the_environment_of_an_image_is_taken() -> None:
    require_environment({"PATH": "/usr/bin", "LANG": "C.UTF-8"})
    require_environment({"EXTRA": "1"}, also_allowed={"EXTRA"})
    with pytest.raises(UsageError, match=r"\? is set"):
        require_environment({"\n": "1"})


def test_only_the_modules_randomness_will_do(tmp_path: Path) -> None:
    file = tmp_path / "rng_current"
    file.write_text("nsm-hwrng\n")
    require_hardware_randomness(file)
    for content in ("virtio_rng.0\n", "none\n", ""):
        file.write_text(content)
        with pytest.raises(NsmError) as refused:
            require_hardware_randomness(file)
        assert refused.value.code is ErrorCode.ENCLAVE_RANDOMNESS
    with pytest.raises(NsmError):
        require_hardware_randomness(tmp_path / "absent")


def test_an_unknown_workload_is_refused() -> None:
    assert [workload.name for workload in chosen(["validate"])] == ["validate"]
    with pytest.raises(PcrgateError) as refused:
        chosen(["validate", "mine"])
    assert refused.value.code is ErrorCode.WORKLOAD_UNKNOWN


def test_a_key_is_answered_once_also_at_the_same_time() -> None:
    made: list[int] = []
    go = threading.Event()

    def make() -> bytes:
        go.wait(10)
        made.append(1)
        return b"answer"

    cache = AnswerCache[str, bytes](entries_max=2, bytes_max=100, size=len)
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(cache.once("key", make))) for _ in range(4)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert (found, made) == ([b"answer"] * 4, [1])


def test_the_cache_forgets_the_oldest_and_keeps_no_failure() -> None:
    cache = AnswerCache[int, bytes](entries_max=3, bytes_max=10, size=len, keep=lambda value: value != b"no")
    for key in range(4):
        cache.once(key, lambda: b"abc")
    assert cache.once(3, lambda: b"new") == b"abc"
    assert cache.once(0, lambda: b"new") == b"new"
    assert cache.once(9, lambda: b"0123456789") == b"0123456789"
    assert cache.once(3, lambda: b"no") == b"no"
    assert cache.once(3, lambda: b"yes") == b"yes"
    with pytest.raises(ZeroDivisionError):
        cache.once(5, lambda: bytes(1 // 0))
    assert cache.once(5, lambda: b"later") == b"later"
