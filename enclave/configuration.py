"""Read the measured configuration: it is part of the image, so whoever appraises the image appraises it too.

Nothing else decides trust: no argument, no environment variable, no answer of the parent. The form is JSON with exactly
the fields of :class:`MeasuredConfiguration`.
Spec: docs/enclave.md, "Measured configuration".
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pcrgate.errors import ErrorCode, PcrgateError, UsageError
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.units import KeyArn, parse_hex

CONFIGURATION_MAX_BYTES: Final = 64 << 10
"""Longest configuration: hundreds of keys fit."""

CONFIGURATION_VERSION: Final = 1
"""Version of the form."""

WEIGHTS_LIMIT_MAX_BYTES: Final = 1 << 40
"""Largest budget for weights that can be meant."""

FINGERPRINT_BYTES: Final = 32
"""Length of a root's fingerprint, SHA-256."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredConfiguration:
    """Hold what an image trusts, and how far it goes.

    Attributes:
        publisher_keys: whose manifests count; at least one.
        manifest_floor_epoch: least epoch of a manifest; the only memory between boots that a parent cannot roll back.
        pinned_keys: full ARNs of every KMS key that may be used; one Region and account.
        allow_multi_region: whether multi-Region keys may be pinned.
        fips: whether to use KMS's FIPS endpoint.
        workloads: which of the image's workloads start.
        weights_max_bytes: most memory for all weights together.
        session_lifetime_s: longest session.
        ca_bundle: PEM file beside the configuration with the CAs for KMS; None takes the one that botocore carries.
        development_roots: SHA-256 of further roots for the enclave's own documents, 32 bytes each; a laptop's only,
            refused in production.
    """

    publisher_keys: tuple[VerifyingKey, ...]
    manifest_floor_epoch: int
    pinned_keys: frozenset[KeyArn]
    allow_multi_region: bool
    fips: bool
    workloads: tuple[str, ...]
    weights_max_bytes: int
    session_lifetime_s: int
    ca_bundle: Path | None
    development_roots: tuple[bytes, ...]


def load_configuration(path: Path, *, production: bool) -> MeasuredConfiguration:
    """Return the configuration in a file.

    Args:
        path: of the file; a CA bundle lies beside it.
        production: whether development roots are refused.

    Raises:
        UsageError: ``enclave-configuration``, and ``usage-file`` when it cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(ErrorCode.USAGE_FILE, f"the configuration cannot be read ({error.strerror})") from error
    return parse_configuration(raw, folder=path.parent, production=production)


def parse_configuration(raw: bytes, *, folder: Path, production: bool) -> MeasuredConfiguration:
    """Return the configuration in JSON.

    Args:
        raw: at most 64 KiB.
        folder: where a CA bundle lies.
        production: whether development roots are refused.

    Raises:
        UsageError: ``enclave-configuration``.
    """
    values = _object(raw)
    if values.pop("version", None) != CONFIGURATION_VERSION:
        raise _refused(f"version is not {CONFIGURATION_VERSION}")
    names = set(MeasuredConfiguration.__slots__)
    if values.keys() != names:
        raise _refused(f"the fields differ from those expected in {sorted(values.keys() ^ names)[:4]}")
    made = MeasuredConfiguration(
        publisher_keys=_list(values, "publisher_keys", lambda text: VerifyingKey(parse_hex(text, "a publisher's key"))),
        manifest_floor_epoch=_number(values, "manifest_floor_epoch", 1, 1_000_000_000),
        pinned_keys=frozenset(_list(values, "pinned_keys", KeyArn.parse)),
        allow_multi_region=_flag(values, "allow_multi_region"),
        fips=_flag(values, "fips"),
        workloads=_list(values, "workloads", str),
        weights_max_bytes=_number(values, "weights_max_bytes", 1, WEIGHTS_LIMIT_MAX_BYTES),
        session_lifetime_s=_number(values, "session_lifetime_s", 1, 86_400),
        ca_bundle=_beside(values, "ca_bundle", folder),
        development_roots=_list(values, "development_roots", _fingerprint),
    )
    if not made.publisher_keys or not made.pinned_keys or not made.workloads:
        raise _refused("publisher_keys, pinned_keys or workloads is empty")
    if production and made.development_roots:
        raise _refused("development_roots are for laptops, expected none in an image for production")
    return made


def _object(raw: bytes) -> dict[str, Any]:
    if len(raw) > CONFIGURATION_MAX_BYTES:
        raise _refused(f"it is longer than {CONFIGURATION_MAX_BYTES} bytes")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise _refused("a field is given twice")
        return found

    try:
        values = json.loads(raw, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _refused("it is not JSON") from error
    if not isinstance(values, dict):
        raise _refused("it is not an object")
    return values


def _list(values: dict[str, Any], name: str, make: Callable[[str], _T]) -> tuple[_T, ...]:
    entries = values[name]
    if not isinstance(entries, list) or not all(type(entry) is str for entry in entries):
        raise _refused(f"{name} is not a list of texts")
    try:
        made = tuple(make(entry) for entry in entries)
    except PcrgateError as error:
        raise _refused(f"{name}: {error.message}") from error
    if len(set(made)) != len(made):
        raise _refused(f"{name} has an entry twice")
    return made


def _fingerprint(text: str) -> bytes:
    fingerprint = parse_hex(text, "a root's fingerprint")
    if len(fingerprint) != FINGERPRINT_BYTES:
        raise _refused(f"a root's fingerprint has {FINGERPRINT_BYTES} bytes")
    return fingerprint


def _number(values: dict[str, Any], name: str, least: int, most: int) -> int:
    value = values[name]
    if type(value) is not int or not least <= value <= most:
        raise _refused(f"{name} is not a number from {least} to {most}")
    return value


def _flag(values: dict[str, Any], name: str) -> bool:
    value = values[name]
    if type(value) is not bool:
        raise _refused(f"{name} is not true or false")
    return value


def _beside(values: dict[str, Any], name: str, folder: Path) -> Path | None:
    value = values[name]
    if value is None:
        return None
    if type(value) is not str or Path(value).name != value or not (folder / value).is_file():
        raise _refused(f"{name} is not the name of a file beside the configuration")
    return folder / value


def _refused(fact: str) -> UsageError:
    return UsageError(ErrorCode.ENCLAVE_CONFIGURATION, f"the measured configuration was refused: {fact}")
