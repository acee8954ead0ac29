"""Roll-over documents as JSON: text in, typed document out, or a refusal that names the field; and back to text."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kms_policies.input_files import parse_pcr
from kms_policies.rendering import template_named
from kms_policies.rollover import (
    DRAIN_DEFAULT_S,
    ManagedPolicy,
    Measurement,
    MeasurementState,
    RollOver,
    check_rollover,
    refuse,
)
from kms_policies.strict_json import NumberText, parse_strict, read_text

FORMAT_VERSION: Final = "1"
"""The version of the document's format; another one is refused."""

DOCUMENT_MAX_BYTES: Final = 262_144
"""Largest document read: a thousand measurements with all their PCRs."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


def parse_rollover(source: str | bytes) -> RollOver:
    """Read a document.

    Raises:
        KeyPolicyError: ``rollover-document``; ``policy-json`` and its kin when it is not strict JSON.
    """
    text, _ = read_text(source, DOCUMENT_MAX_BYTES, "roll-over document")
    raw = _object(parse_strict(text, "roll-over document"), "the document")
    _fields(raw, {"version", "policies", "measurements"}, {"changed", "probed", "drain_s", "approvals"}, "the document")
    if raw["version"] != FORMAT_VERSION:
        raise refuse(f"the version is not {FORMAT_VERSION}")
    document = RollOver(
        policies=tuple(_policy(one) for one in _list(raw["policies"], "policies")),
        measurements=tuple(_measurement(one) for one in _list(raw["measurements"], "measurements")),
        changed=None if raw.get("changed") is None else _time(raw["changed"], "changed"),
        probed=_flag(raw.get("probed", True)),
        drain_s=_seconds(raw["drain_s"]) if "drain_s" in raw else DRAIN_DEFAULT_S,
        approvals=tuple(_object(one, "an approval") for one in _list(raw.get("approvals", []), "approvals")),
    )
    check_rollover(document)
    return document


def serialize_rollover(document: RollOver) -> str:
    """Return the document as JSON text, ready for version control."""
    raw: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "policies": [
            {"name": policy.name, "template": policy.template.value, "inputs": policy.inputs}
            for policy in document.policies
        ],
        "measurements": [
            {
                "name": one.name,
                "pcrs": {field: value.hex() for field, value in one.pcrs.items()},
                "state": one.state.value,
                "since": time_text(one.since),
                "expires": time_text(one.expires),
            }
            for one in document.measurements
        ],
        "changed": None if document.changed is None else time_text(document.changed),
        "probed": document.probed,
        "drain_s": document.drain_s,
        "approvals": list(document.approvals),
    }
    return json.dumps(raw, indent=2) + "\n"


def time_text(moment: datetime) -> str:
    """Return a time as RFC 3339 text in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_name(value: object, what: str) -> str:
    """Read a short name.

    Raises:
        KeyPolicyError: ``rollover-document``.
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise refuse(f"{what} is not a name of 1 to 64 characters a-z, 0-9, dot, dash or underscore")
    return value


def _policy(value: object) -> ManagedPolicy:
    raw = _object(value, "a policy")
    _fields(raw, {"name", "template", "inputs"}, set(), "a policy")
    name = parse_name(raw["name"], "a policy's name")
    inputs = _plain(_object(raw["inputs"], f"{name}: inputs"))
    if any(re.fullmatch(r"pcr\d+", field) for field in inputs):
        raise refuse(f"{name}: its inputs hold PCRs, expected those under measurements only")
    return ManagedPolicy(name=name, template=template_named(str(raw["template"])), inputs=inputs)


def _plain(raw: Mapping[str, object]) -> dict[str, object]:
    """Return inputs with whole numbers as numbers: the strict reader keeps their text."""
    days = raw.get("minimum_deletion_window_days")
    if isinstance(days, NumberText) and days.isascii() and days.isdigit():
        return {**raw, "minimum_deletion_window_days": int(days)}
    return dict(raw)


def _measurement(value: object) -> Measurement:
    raw = _object(value, "a measurement")
    _fields(raw, {"name", "pcrs", "state", "since", "expires"}, set(), "a measurement")
    name = parse_name(raw["name"], "a measurement's name")
    try:
        state = MeasurementState(raw["state"])
    except ValueError:
        raise refuse(f"{name}: its state is none of {[one.value for one in MeasurementState]}") from None
    return Measurement(
        name=name,
        pcrs={field: parse_pcr(pcr, f"{name}: {field}") for field, pcr in _object(raw["pcrs"], "pcrs").items()},
        state=state,
        since=_time(raw["since"], f"{name}: since"),
        expires=_time(raw["expires"], f"{name}: expires"),
    )


def _object(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise refuse(f"{what} is not an object")
    return value


def _list(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise refuse(f"{what} is not a list")
    return value


def _fields(raw: Mapping[str, object], required: set[str], optional: set[str], what: str) -> None:
    if not required <= raw.keys() <= required | optional:
        raise refuse(f"{what} has other fields than {', '.join(sorted(required | optional))}")


def _time(value: object, what: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise refuse(f"{what} is not an RFC 3339 time with its offset")
    return moment.astimezone(UTC)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise refuse("probed is not true or false")
    return value


def _seconds(value: object) -> int:
    if not isinstance(value, NumberText) or not value.isascii() or not value.isdigit() or len(value) > 8:
        raise refuse("drain_s is not a whole number of seconds")
    return int(value)
