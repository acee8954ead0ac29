"""Read the prover's vectors, refusing whatever the README does not describe."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kms_policies.document import PolicyKind, parse_policy
from kms_policies.grants import parse_grants, parse_key_metadata
from kms_policies.prover import ApprovedMeasurements, Question
from pcrgate.units import Sha384

FOLDER = Path(__file__).parents[2] / "vectors" / "policies"
_REQUIRED = {"what", "source", "key_policy", "approved", "administrators", "expect"}
_OPTIONAL = {"identity_policies", "identity_complete", "grants", "key", "resource_control_policies"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One vector: the question, and what the prover must answer."""

    name: str
    question: Question
    plaintext: str
    escalation: str
    holes: frozenset[str]


def _keys(found: Mapping[str, Any], required: set[str], optional: set[str], where: str) -> None:
    if not required <= found.keys() <= required | optional:
        raise ValueError(f"{where}: keys {sorted(found)}, expected {sorted(required)} and maybe {sorted(optional)}")


def _approved(raw: Mapping[str, Any], where: str) -> ApprovedMeasurements:
    _keys(raw, set(), {"pcr0", "further", "nitrotpm"}, f"{where}: approved")
    further = raw.get("further", {})
    return ApprovedMeasurements(
        pcr0=frozenset(map(Sha384.from_hex, raw.get("pcr0", []))),
        further={int(index): frozenset(map(Sha384.from_hex, values)) for index, values in further.items()},
        nitrotpm=tuple({int(i): Sha384.from_hex(value) for i, value in one.items()} for one in raw.get("nitrotpm", [])),
    )


def read_vector(name: str, text: str) -> Vector:
    """Return one vector.

    Raises:
        ValueError: for a key that is missing or not known, and for a name that says something else than the verdict.
    """
    raw = json.loads(text)
    _keys(raw, _REQUIRED, _OPTIONAL, name)
    expect = raw["expect"]
    _keys(expect, {"plaintext", "escalation", "holes"}, set(), f"{name}: expect")
    if name.startswith("accept-") is not (expect["plaintext"] == expect["escalation"] == "proven"):
        raise ValueError(f"{name}: the name says something else than the verdict")
    identity = {
        attached: tuple(parse_policy(json.dumps(policy), kind=PolicyKind.IDENTITY) for policy in policies)
        for attached, policies in raw.get("identity_policies", {}).items()
    }
    question = Question(
        key_policy=parse_policy(json.dumps(raw["key_policy"]), kind=PolicyKind.KEY),
        approved=_approved(raw["approved"], name),
        administrators=frozenset(raw["administrators"]),
        identity_policies=identity,
        identity_complete=frozenset(raw.get("identity_complete", ())),
        grants=parse_grants(json.dumps(raw.get("grants", []))),
        key=parse_key_metadata(json.dumps(raw["key"])) if "key" in raw else None,
        resource_control_policies=tuple(
            parse_policy(json.dumps(policy), kind=PolicyKind.RESOURCE_CONTROL)
            for policy in raw.get("resource_control_policies", ())
        ),
    )
    return Vector(
        name=name,
        question=question,
        plaintext=expect["plaintext"],
        escalation=expect["escalation"],
        holes=frozenset(expect["holes"]),
    )


def read_vectors() -> Iterator[Vector]:
    """Yield every vector of the folder, by name."""
    for path in sorted(FOLDER.glob("*.json")):
        yield read_vector(path.stem, path.read_text(encoding="utf-8"))
