"""The control endpoint, ``/_twin/...``: JSON for tests and for ``pcrgate twin``, answered to loopback peers alone.

``GET health | environment | modes | clock | audit | counters``; ``POST modes`` (the members to change), ``POST
clock/advance`` (``{"seconds": n}``); ``DELETE audit | counters``. A request whose ``Host`` is not a loopback name is
refused, so that no web page can reach it through a name of its own.
"""

import ipaddress
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from pcrgate.errors import PcrgateError
from pcrgate.twin.audit import AuditTrail
from pcrgate.twin.clock import TwinClock
from pcrgate.twin.counters import CallCounters
from pcrgate.twin.faults import FrontDoorError
from pcrgate.twin.http_edge import StartResponse, read_request, respond
from pcrgate.twin.mode_json import modes_from_json, modes_to_json
from pcrgate.twin.modes import Modes

PREFIX: Final = "/_twin/"
"""Where the control endpoint lives; no AWS service has paths that begin so."""

_JSON: Final = "application/json"
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlParts:
    """Hold what the control endpoint shows and changes."""

    modes: Modes
    audit: AuditTrail
    counters: CallCounters
    clock: TwinClock
    environment: Callable[[str | None], Mapping[str, str]]


class ControlApp:
    """Answer requests under ``/_twin/``."""

    def __init__(self, parts: ControlParts) -> None:
        self._parts = parts

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. Spec: PEP 3333."""
        status, answer = self._answer(environ)
        return respond(start_response, status, json.dumps(answer).encode(), content_type=_JSON)

    def _answer(self, environ: dict[str, Any]) -> tuple[int, object]:
        try:
            request = read_request(environ)
            if not _is_local(request.source_ip, request.headers.get("host", "")):
                return 403, {"error": "the control endpoint answers loopback clients only"}
            members = json.loads(request.body or b"{}")
            if not isinstance(members, dict):
                return 400, {"error": "the body is not a JSON object"}
            members |= dict(parse_qsl(request.query))
            return self._route(request.method, request.path.removeprefix(PREFIX), members)
        except (FrontDoorError, PcrgateError) as error:
            return 400, {"error": str(error)}
        except ValueError:
            return 400, {"error": "the body is not JSON"}

    def _route(self, method: str, name: str, members: Mapping[str, Any]) -> tuple[int, object]:
        parts = self._parts
        match method, name:
            case "GET", "health":
                return 200, {"ok": True}
            case "GET", "environment":
                return 200, dict(parts.environment(members.get("account")))
            case "GET", "modes":
                return 200, modes_to_json(parts.modes.settings)
            case "POST", "modes":
                parts.modes.change(modes_from_json(members, parts.modes.settings))
                return 200, modes_to_json(parts.modes.settings)
            case "GET", "clock":
                return 200, {"now_ms": parts.clock.now_ms(), "frozen": parts.clock.is_frozen}
            case "POST", "clock/advance":
                seconds = members.get("seconds")
                if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                    return 400, {"error": "seconds is not a number"}
                return 200, {"now_ms": parts.clock.advance(seconds), "frozen": parts.clock.is_frozen}
            case "GET", "audit":
                return 200, {"records": list(parts.audit.records())}
            case "DELETE", "audit":
                parts.audit.clear()
                return 200, {"records": []}
            case "GET", "counters":
                return 200, dict(parts.counters.snapshot())
            case "DELETE", "counters":
                parts.counters.clear()
                return 200, dict(parts.counters.snapshot())
        return 404, {"error": f"no {method} {PREFIX}{name}"}


def _is_local(source_ip: str, host: str) -> bool:
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    try:
        return ipaddress.ip_address(source_ip).is_loopback and name.lower() in _LOOPBACK_NAMES
    except ValueError:
        return False
