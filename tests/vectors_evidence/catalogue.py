"""All evidence vectors, and the files they are written to."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pcrgate.errors import ErrorCode
from tests.vectors_evidence import (
    cases_accepted,
    cases_chain,
    cases_der,
    cases_encoding,
    cases_fields,
    cases_judgement,
    cases_roles,
)
from tests.vectors_evidence.vector import ACCEPTED, Vector

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "evidence"
CATEGORY_OF = {code.code: code.category.value for code in ErrorCode} | {ACCEPTED: ACCEPTED}


def all_vectors() -> Iterator[Vector]:
    """Every vector, in the order of the cases."""
    for cases in (cases_accepted, cases_encoding, cases_fields, cases_der, cases_chain, cases_roles, cases_judgement):
        yield from cases.vectors()


@cache
def files() -> dict[Path, str]:
    """Path below the folder of vectors to content; a vector lies in the folder of its verdict's category."""
    made: dict[Path, str] = {}
    for vector in all_vectors():
        path = Path(CATEGORY_OF[vector.expect]) / f"{vector.name}.json"
        if path in made:
            raise ValueError(f"{path} is made twice")
        made[path] = vector.to_json()
    return made


def differences() -> list[str]:
    """What the generator would change: lines to print, none when all is as generated."""
    made = files()
    found = {path.relative_to(FOLDER) for path in FOLDER.glob("*/*.json")}
    lines = [f"not generated: {path}" for path in sorted(found - made.keys())]
    for path, content in sorted(made.items()):
        if path not in found:
            lines.append(f"missing: {path}")
        elif (FOLDER / path).read_text(encoding="ascii") != content:
            lines.append(f"differs: {path}")
    return lines


def write() -> int:
    """Write every vector and remove what is no longer made; return how many there are."""
    made = files()
    for path in FOLDER.glob("*/*.json"):
        if path.relative_to(FOLDER) not in made:
            path.unlink()
    for path, content in made.items():
        (FOLDER / path).parent.mkdir(exist_ok=True)
        (FOLDER / path).write_text(content, encoding="ascii")
    return len(made)


def load_all() -> list[Vector]:
    """Every vector as it lies in the folder; keys that are not in the schema are refused."""
    loaded = []
    for path in sorted(FOLDER.glob("*/*.json")):
        try:
            loaded.append(Vector.from_json(path.read_text(encoding="ascii")))
        except (ValueError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path.name}: {error}") from error
    return loaded
