import json
from collections.abc import Mapping
from typing import Any

import pytest

from pcrgate.twin.audit import AuditTrail
from pcrgate.twin.clock import TwinClock
from pcrgate.twin.control_app import ControlApp, ControlParts
from pcrgate.twin.counters import CallCounters
from pcrgate.twin.modes import Modes
from pcrgate.twin.settings import ModeSettings
from tests.unit.twin.server.wsgi_caller import answer, environ


class Stage:
    def __init__(self) -> None:
        self.clock = TwinClock.frozen(1_000)
        self.modes = Modes(ModeSettings(), clock_ms=self.clock)
        self.counters = CallCounters()
        self.audit = AuditTrail(clock_ms=self.clock)
        self.app = ControlApp(
            ControlParts(
                modes=self.modes,
                audit=self.audit,
                counters=self.counters,
                clock=self.clock,
                environment=self.environment,
            )
        )

    @staticmethod
    def environment(account: str | None) -> Mapping[str, str]:
        return {"ACCOUNT": account or "default"}

    def ask(self, method: str, path: str, members: object = None, **more: Any) -> tuple[int, Any]:
        body = b"" if members is None else json.dumps(members).encode()
        status, text = answer(self.app, environ(method, f"/_twin/{path}", body=body, **more))
        return status, json.loads(text)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("health", {"ok": True}),
        ("environment", {"ACCOUNT": "default"}),
        ("environment?account=1", {"ACCOUNT": "1"}),
        ("clock", {"now_ms": 1000, "frozen": True}),
        ("audit", {"records": []}),
        ("counters", {"attested": 0, "not_attested": 0, "calls": []}),
    ],
)
def test_what_can_be_read(path: str, expected: object) -> None:
    assert Stage().ask("GET", path) == (200, expected)


def test_modes_are_changed_in_part() -> None:
    stage = Stage()
    status, shown = stage.ask("POST", "modes", {"latency_ms": 5})
    assert (status, shown["latency_ms"], shown["replay"]) == (200, 5, "accepted")
    assert stage.ask("GET", "modes") == (200, shown)
    assert stage.modes.settings.latency_ms == 5


def test_the_clock_is_advanced() -> None:
    stage = Stage()
    assert stage.ask("POST", "clock/advance", {"seconds": 1.5}) == (200, {"now_ms": 2500, "frozen": True})
    assert stage.clock() == 2500


@pytest.mark.parametrize("seconds", [None, "1", True, -1])
def test_the_clock_is_not_advanced_by_nonsense(seconds: object) -> None:
    assert Stage().ask("POST", "clock/advance", {"seconds": seconds})[0] == 400


def test_counters_and_records_are_cleared() -> None:
    stage = Stage()
    stage.counters.add("Decrypt", attested=True, outcome="ok")
    assert stage.ask("DELETE", "counters")[1]["attested"] == 0
    assert stage.ask("DELETE", "audit") == (200, {"records": []})


@pytest.mark.parametrize(
    ("method", "path", "members", "status"),
    [
        ("GET", "nothing", None, 404),
        ("POST", "health", None, 404),
        ("POST", "modes", {"latency_ms": -1}, 400),
        ("POST", "modes", [], 400),
    ],
)
def test_what_is_not_there_or_cannot_be_meant(method: str, path: str, members: object, status: int) -> None:
    found, said = Stage().ask(method, path, members)
    assert found == status
    assert said["error"]


def test_a_body_that_is_no_json_is_refused() -> None:
    status, _ = answer(Stage().app, environ("POST", "/_twin/modes", body=b"{"))
    assert status == 400


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:5600", "LOCALHOST:1", "[::1]", "[::1]:5600"])
def test_loopback_names_are_answered(host: str) -> None:
    assert Stage().ask("GET", "health", HTTP_HOST=host)[0] == 200


@pytest.mark.parametrize(
    "more",
    [
        {"REMOTE_ADDR": "192.0.2.1"},
        {"REMOTE_ADDR": ""},
        {"HTTP_HOST": "attacker.example:5600"},
        {"HTTP_HOST": "localhost.attacker.example"},
        {"HTTP_HOST": ""},
    ],
)
def test_everybody_else_is_refused(more: dict[str, str]) -> None:
    assert Stage().ask("GET", "environment", **more)[0] == 403
