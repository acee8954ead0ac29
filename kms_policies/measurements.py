"""Measurements files: the approved measurements as publishers sign them and Terraform reads them.

A file is JSON, ``{"version": "1", "measurements": [{"name", "pcr0", ..., "expires"}, ...]}``, checked in beside the
configuration that reads it, with a detached signature in a second file. What this module returns was not verified;
``kms_policies.measurements_signature`` verifies.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from kms_policies.input_files import parse_pcr
from kms_policies.rollover import RollOver
from kms_policies.strict_json import parse_strict, read_text
from pcrgate.errors import ErrorCode, KeyPolicyError
from pcrgate.units import Sha384

FORMAT_VERSION: Final = "1"
"""The version of the format; another one is refused."""

FILE_MAX_BYTES: Final = 262_144
"""Largest file read: as large as a roll-over document, which holds more of each measurement."""

MEASUREMENTS_MAX: Final = 256
"""Most measurements of a file: as many as an agent takes as reference values; a key policy holds fewer."""

TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"
"""Times in UTC, to the second: the one form that Terraform's ``timecmp`` and our reader take alike."""

_ENCLAVE: Final = ("pcr0", "pcr1", "pcr2", "pcr3", "pcr8")
_NITROTPM: Final = ("pcr4", "pcr7", "pcr12")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_TIME: Final = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedMeasurement:
    """Hold one measurement of a file.

    Attributes:
        name: the release it belongs to, unique in the file.
        pcrs: by field name, for example ``pcr0``; one value each, in the order of the registers.
        expires: from then on it is refused.
    """

    name: str
    pcrs: Mapping[str, Sha384]
    expires: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedMeasurements:
    """Hold what a file says, by whomever it was written.

    Attributes:
        measurements: at least one, all of one kind of attester and with the same registers.
    """

    measurements: tuple[ApprovedMeasurement, ...]


def parse_measurements_file(source: str | bytes) -> UnverifiedMeasurements:
    """Read a measurements file.

    Args:
        source: the file's text, or its bytes as UTF-8.

    Raises:
        KeyPolicyError: ``measurements-file``; ``policy-input-pcr`` for a value; ``policy-json`` and its kin when it is
            not strict JSON.
    """
    text, _ = read_text(source, FILE_MAX_BYTES, "measurements file")
    raw = _object(parse_strict(text, "measurements file"), "the file", {"version", "measurements"})
    if raw["version"] != FORMAT_VERSION:
        raise _refuse(f"the version is not {FORMAT_VERSION}")
    listed = raw["measurements"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= MEASUREMENTS_MAX:
        raise _refuse(f"measurements is not a list of 1 to {MEASUREMENTS_MAX} entries")
    found = tuple(_measurement(one) for one in listed)
    _agree(found)
    return UnverifiedMeasurements(measurements=found)


def measurements_of_rollover(document: RollOver) -> UnverifiedMeasurements:
    """Return the measurements that a roll-over document has its policies list, admitted and draining ones.

    Raises:
        KeyPolicyError: ``measurements-file`` when it lists none.
    """
    listed = tuple(
        ApprovedMeasurement(
            name=one.name,
            pcrs={field: one.pcrs[field] for field in (*_ENCLAVE, *_NITROTPM) if field in one.pcrs},
            expires=one.expires,
        )
        for one in document.listed
    )
    if not listed:
        raise _refuse("no measurement is admitted or draining, expected one: a policy must list something")
    return UnverifiedMeasurements(measurements=listed)


def serialize_measurements(found: UnverifiedMeasurements) -> str:
    """Return the file's text, the same for the same measurements, ready to be signed and checked in."""
    raw = {
        "version": FORMAT_VERSION,
        "measurements": [
            {
                "name": one.name,
                **{field: value.hex() for field, value in one.pcrs.items()},
                "expires": one.expires.astimezone(UTC).strftime(TIME_FORMAT),
            }
            for one in found.measurements
        ],
    }
    return json.dumps(raw, indent=2) + "\n"


def _measurement(value: object) -> ApprovedMeasurement:
    if not isinstance(value, dict):
        raise _refuse("a measurement is not an object")
    name = value.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _refuse("a measurement's name is not 1 to 64 characters a-z, 0-9, dot, dash or underscore")
    registers, required = (_NITROTPM, _NITROTPM) if "pcr4" in value else (_ENCLAVE, ("pcr0",))
    if not {"name", "expires", *required} <= value.keys() <= {"name", "expires", *registers}:
        raise _refuse(
            f"{name}: its fields are not name, expires, pcr0 and of pcr1, pcr2, pcr3, pcr8; or pcr4, pcr7 and pcr12"
        )
    return ApprovedMeasurement(
        name=name,
        pcrs={field: parse_pcr(value[field], f"{name}: {field}") for field in registers if field in value},
        expires=_time(value["expires"], name),
    )


def _time(value: object, name: str) -> datetime:
    try:
        # Not fromisoformat alone, which takes many other forms.
        if isinstance(value, str) and _TIME.fullmatch(value):
            return datetime.strptime(value, TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise _refuse(f"{name}: expires is not a time such as 2027-06-01T00:00:00Z")


def _agree(found: tuple[ApprovedMeasurement, ...]) -> None:
    if len({one.name for one in found}) != len(found):
        raise _refuse("two measurements have one name")
    if len({frozenset(one.pcrs) for one in found}) != 1:
        raise _refuse(
            "the measurements name different registers, expected the same ones: a condition holds for all of them"
        )
    if len({tuple(value.digest for value in one.pcrs.values()) for one in found}) != len(found):
        raise _refuse("two measurements are the same, expected each once")


def _object(value: object, what: str, fields: set[str]) -> dict[str, object]:
    if not isinstance(value, dict) or value.keys() != fields:
        raise _refuse(f"{what} is not an object of {' and '.join(sorted(fields))}")
    return value


def _refuse(fact: str) -> KeyPolicyError:
    return KeyPolicyError(ErrorCode.MEASUREMENTS_FILE, fact)
