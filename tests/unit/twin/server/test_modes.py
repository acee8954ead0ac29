import pytest

from pcrgate.twin import modes as module
from pcrgate.twin.faults import DroppedConnectionError, FaultCode, FrontDoorError
from pcrgate.twin.modes import MAX_LATENCY_MS, Modes
from pcrgate.twin.settings import ModeSettings, Outage, OutageKind, ReplayMode, Throttle


class Stage:
    """Modes with a clock and a sleep that only count."""

    def __init__(self, **settings: object) -> None:
        self.now_ms = 0
        self.slept: list[float] = []
        self.modes = Modes(
            ModeSettings(**settings),  # type: ignore[arg-type]
            clock_ms=lambda: self.now_ms,
            sleep=self.slept.append,
        )

    def throttled(self, account: str = "1", region: str = "r") -> bool:
        try:
            self.modes.charge(account, region)
        except FrontDoorError as error:
            return error.code is FaultCode.THROTTLING
        return False


def test_without_modes_nothing_happens() -> None:
    stage = Stage()
    stage.modes.before("Decrypt")
    assert not any(stage.throttled() for _ in range(1000))
    assert stage.slept == []


def test_latency_is_slept_up_to_its_bound() -> None:
    stage = Stage(latency_ms=250)
    stage.modes.before("Decrypt")
    stage.modes.change(ModeSettings(latency_ms=MAX_LATENCY_MS + 1))
    stage.modes.before("Decrypt")
    assert stage.slept == [0.25, MAX_LATENCY_MS / 1000]


def test_a_bucket_empties_and_fills_at_its_rate() -> None:
    stage = Stage(throttle=Throttle(rate_per_s=2, burst=3))
    assert [stage.throttled() for _ in range(4)] == [False, False, False, True]
    stage.now_ms += 499
    assert stage.throttled()
    stage.now_ms += 1
    assert not stage.throttled()
    assert stage.throttled()
    stage.now_ms += 60_000
    assert [stage.throttled() for _ in range(4)] == [False, False, False, True]


def test_each_account_and_region_has_its_own_bucket() -> None:
    stage = Stage(throttle=Throttle(rate_per_s=1, burst=1))
    assert not stage.throttled("1", "a")
    assert not stage.throttled("2", "a")
    assert not stage.throttled("1", "b")
    assert stage.throttled("1", "a")


def test_a_change_fills_the_buckets() -> None:
    stage = Stage(throttle=Throttle(rate_per_s=1, burst=1))
    assert not stage.throttled()
    stage.modes.change(stage.modes.settings)
    assert not stage.throttled()


@pytest.mark.parametrize(
    ("kind", "code"),
    [(OutageKind.INTERNAL, FaultCode.INTERNAL), (OutageKind.DEPENDENCY_TIMEOUT, FaultCode.DEPENDENCY_TIMEOUT)],
)
def test_an_outage_fails_so_many_requests(kind: OutageKind, code: FaultCode) -> None:
    stage = Stage(outage=Outage(kind=kind, remaining=2))
    for _ in range(2):
        with pytest.raises(FrontDoorError) as caught:
            stage.modes.before("Decrypt")
        assert caught.value.code is code
    stage.modes.before("Decrypt")
    assert stage.modes.settings.outage is None


def test_an_outage_without_end_lasts() -> None:
    stage = Stage(outage=Outage(kind=OutageKind.DROP))
    for _ in range(5):
        with pytest.raises(DroppedConnectionError):
            stage.modes.before("Encrypt")


def test_an_outage_of_some_operations_spares_the_others() -> None:
    stage = Stage(outage=Outage(kind=OutageKind.INTERNAL, operations=frozenset({"Decrypt"}), remaining=1))
    stage.modes.before("Encrypt")
    with pytest.raises(FrontDoorError):
        stage.modes.before("Decrypt")


def test_replays_are_admitted_or_refused() -> None:
    stage = Stage()
    stage.modes.admit_document(b"one")
    stage.modes.admit_document(b"one")
    stage.modes.change(ModeSettings(replay=ReplayMode.REFUSED))
    with pytest.raises(FrontDoorError) as caught:
        stage.modes.admit_document(b"one")
    assert caught.value.code is FaultCode.VALIDATION
    stage.modes.admit_document(b"two")


def test_the_memory_for_replays_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED_DOCUMENTS", 2)
    stage = Stage(replay=ReplayMode.REFUSED)
    for document in (b"one", b"two", b"three"):
        stage.modes.admit_document(document)
    stage.modes.admit_document(b"one")
    with pytest.raises(FrontDoorError):
        stage.modes.admit_document(b"three")
