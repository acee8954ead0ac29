"""A manifest as JSON that people edit: digests and keys in hex, times in RFC 3339. Nobody trusts a draft; it is signed.

Spec: docs/manifest.md, the draft.
"""

import datetime as dt
import json
from typing import Any, Final

from pcrgate.attestation.report import format_time_ms
from pcrgate.errors import ErrorCode, ManifestError, UsageError
from pcrgate.manifest.constraint_form import read_action
from pcrgate.manifest.grants import ActionRule
from pcrgate.manifest.payload import PAYLOAD_MAX_BYTES, manifest_value, read_manifest, read_secret, secret_value
from pcrgate.manifest.release import Manifest
from pcrgate.manifest.sealed_secret import SealedSecret
from pcrgate.units import parse_hex

DRAFT_MAX_BYTES: Final = 4 * PAYLOAD_MAX_BYTES
"""Longest draft: hex doubles digests, and indentation the rest."""

_HEX_FIELDS: Final = {
    "secrets": ("header_sha384", "frames_sha384", "plaintext_sha384"),
    "agents": ("public_key",),
}
_TIMED: Final = ("secrets", "grants", "images")
_TIMES: Final = ("issued", "expires")

Plain = dict[str, Any]


def format_draft(manifest: Manifest) -> str:
    """Return the draft of a manifest: JSON, indented, ending in a line end."""
    return _dump(manifest_json(manifest))


def manifest_json(manifest: Manifest) -> Plain:
    """Return the draft of a manifest, not yet text."""
    value: Any = manifest_value(manifest)
    for name in value:
        if name in (*_HEX_FIELDS, *_TIMED):
            value[name] = [_entry_to_json(name, entry) for entry in value[name]]
    return _times_to_json(value)


def parse_draft(text: bytes) -> Manifest:
    """Return the manifest of a draft.

    Args:
        text: strict JSON, at most ``DRAFT_MAX_BYTES``.

    Raises:
        ManifestError: ``manifest-draft`` for other JSON, else what the entry is refused with.
    """
    value = _times_from_json(_load_object(text), "the draft")
    for name in {*_HEX_FIELDS, *_TIMED} & value.keys():
        if type(value[name]) is not list:
            raise _no_draft(f"{name} is not a list")
        value[name] = [_entry_from_json(name, entry) for entry in value[name]]
    return read_manifest(value)  # type: ignore[arg-type]  # JSON without floats is what the reader takes


def format_secret(secret: SealedSecret) -> str:
    """Return one secret as it stands in a draft."""
    return _dump(secret_json(secret))


def secret_json(secret: SealedSecret) -> Plain:
    """Return one secret as it stands in a draft, not yet text."""
    return _entry_to_json("secrets", secret_value(secret))


def parse_secret(text: bytes) -> SealedSecret:
    """Return the secret of a draft's entry.

    Raises:
        ManifestError: as :func:`parse_draft`.
    """
    return read_secret(_entry_from_json("secrets", _load_object(text)))  # type: ignore[arg-type]  # as above


def parse_actions(text: bytes) -> tuple[ActionRule, ...]:
    """Return the actions of a list, as they stand in a grant or in rules.

    Raises:
        ManifestError: as :func:`parse_draft`.
    """
    value = _load(text)
    if type(value) is not list:
        raise _no_draft("actions are not a list")
    return tuple(read_action(entry) for entry in value)


def parse_time_ms(text: str) -> int:
    """Return milliseconds since 1970 of an RFC 3339 time.

    Raises:
        ManifestError: ``manifest-draft`` for other text, or a time without offset.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _no_draft("a time is not RFC 3339 with an offset, expected one like 2026-01-31T12:00:00Z")
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)


def _entry_to_json(name: str, entry: Any) -> Plain:
    made: Plain = _times_to_json(entry) if name in _TIMED else dict(entry)
    for field in _HEX_FIELDS.get(name, ()):
        made[field] = made[field].hex()
    if name == "images":
        made["pcrs"] = {str(index): value.hex() for index, value in made["pcrs"].items()}
    return made


def _entry_from_json(name: str, entry: Any) -> Plain:
    what = f"an entry of {name}"
    if type(entry) is not dict:
        raise _no_draft(f"{what} is not an object")
    made = _times_from_json(entry, what) if name in _TIMED else dict(entry)
    for field in _HEX_FIELDS.get(name, ()):
        if field in made:
            made[field] = _from_hex(made[field], f"{field} of {what}")
    if name == "images" and type(made.get("pcrs")) is dict:
        pcrs = made["pcrs"].items()
        made["pcrs"] = {_index(index): _from_hex(value, f"PCR{index} of {what}") for index, value in pcrs}
    return made


def _times_to_json(value: Any) -> Plain:
    return {
        name.removesuffix("_ms") if _is_time(name) else name: format_time_ms(entry) if _is_time(name) else entry
        for name, entry in value.items()
    }


def _is_time(name: str) -> bool:
    return name.removesuffix("_ms") in _TIMES


def _times_from_json(value: Plain, what: str) -> Plain:
    made = dict(value)
    for name in _TIMES:
        if f"{name}_ms" in made:
            raise _no_draft(f"{what} has {name}_ms, expected {name} with an RFC 3339 time")
        if name in made:
            text = made.pop(name)
            if type(text) is not str:
                raise _no_draft(f"{name} of {what} is not an RFC 3339 time")
            made[f"{name}_ms"] = parse_time_ms(text)
    return made


def _from_hex(value: Any, what: str) -> bytes:
    try:
        return parse_hex(value if type(value) is str else "?", what)
    except UsageError as error:
        raise _no_draft(error.message) from error


def _index(text: str) -> int:
    if not text.isascii() or not text.isdigit() or str(int(text)) != text:
        raise _no_draft("a PCR index is not a number")
    return int(text)


def _load_object(text: bytes) -> Plain:
    value = _load(text)
    if type(value) is not dict:
        raise _no_draft("the draft is not an object")
    return value


def _load(text: bytes) -> Any:
    if len(text) > DRAFT_MAX_BYTES:
        raise _no_draft(f"the draft is longer than {DRAFT_MAX_BYTES} bytes")
    try:
        return json.loads(
            text.decode(), object_pairs_hook=_unique, parse_float=_no_float, parse_constant=_no_float, parse_int=_whole
        )
    except (ValueError, RecursionError) as error:
        place = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise _no_draft(f"the draft is not JSON{place}") from error


def _unique(pairs: list[tuple[str, Any]]) -> Plain:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _no_draft("a name stands twice in one object")
    return made


def _no_float(text: str) -> Any:  # noqa: ARG001 - the number itself says nothing
    raise _no_draft("a number is not whole, expected integers only")


def _whole(digits: str) -> int:
    if len(digits) > 20:
        raise _no_draft("a number is longer than 20 digits")
    return int(digits)


def _dump(value: Plain) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _no_draft(fact: str) -> ManifestError:
    return ManifestError(ErrorCode.MANIFEST_DRAFT, fact)
