"""One manifest vector: its JSON form, and how to judge it with this library."""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from pcrgate.cli.manifest_draft import manifest_json
from pcrgate.errors import ManifestError
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.manifest.verification import VerifiedManifest, expected_pcr16, verify_manifest
from pcrgate.units import KeyArn

ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One vector; see the README beside the files for every key."""

    name: str
    description: str
    now_ms: int
    floor_epoch: int
    publisher_keys: tuple[str, ...]
    pinned_keys: tuple[str, ...] | None
    signed: str
    expect: str
    fields: Mapping[str, Any] | None

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Vector":
        decoded: dict[str, Any] = json.loads(text)
        known = {field.name for field in fields(cls)}
        if decoded.keys() != known:
            raise ValueError(f"keys {sorted(decoded.keys() ^ known)} are unknown or missing")
        decoded["publisher_keys"] = tuple(decoded["publisher_keys"])
        if decoded["pinned_keys"] is not None:
            decoded["pinned_keys"] = tuple(decoded["pinned_keys"])
        return cls(**decoded)


def judge(vector: Vector) -> tuple[str, Mapping[str, Any] | None]:
    """The verdict, and the fields of what was accepted."""
    try:
        verified = verify_manifest(
            base64.b64decode(vector.signed, validate=True),
            publisher_keys=[VerifyingKey(bytes.fromhex(key)) for key in vector.publisher_keys],
            floor_epoch=vector.floor_epoch,
            now_ms=vector.now_ms,
            pinned_keys=None if vector.pinned_keys is None else frozenset(map(KeyArn.parse, vector.pinned_keys)),
        )
    except ManifestError as error:
        return error.code.code, None
    return ACCEPTED, describe(verified)


def describe(verified: VerifiedManifest) -> dict[str, Any]:
    """What a vector says of an accepted manifest."""
    return {
        "digest_sha384": verified.digest.hex(),
        "pcr16": expected_pcr16(verified.digest).hex(),
        "publisher_key_id": verified.key_id.hex(),
        "manifest": manifest_json(verified.manifest),
    }
