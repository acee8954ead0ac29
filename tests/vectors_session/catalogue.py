"""Put the vectors into files, one each, and read them back strictly."""

import json
from pathlib import Path
from typing import Any

from tests.vectors_session.hpke_cases import hpke_vectors
from tests.vectors_session.receipt_cases import receipt_vectors
from tests.vectors_session.session_cases import session_vectors

FOLDER = Path(__file__).resolve().parents[1] / "vectors"
Vector = dict[str, Any]


def generated() -> dict[str, str]:
    """Return the content of every file, by its path below the folder of vectors."""
    made = {"session": [*session_vectors(), *hpke_vectors()], "receipts": receipt_vectors()}
    return {
        f"{folder}/{vector['name']}.json": json.dumps(vector, indent=2) + "\n"
        for folder, vectors in made.items()
        for vector in vectors
    }


def stored() -> dict[str, str]:
    return {
        path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8")
        for folder in ("session", "receipts")
        for path in sorted((FOLDER / folder).glob("*.json"))
    }


def differences() -> list[str]:
    made, held = generated(), stored()
    return sorted(name for name in made.keys() | held.keys() if made.get(name) != held.get(name))


def write() -> int:
    made = generated()
    for name in stored().keys() - made.keys():
        (FOLDER / name).unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return len(made)


def load(folder: str) -> list[Vector]:
    return [json.loads(text) for name, text in stored().items() if name.startswith(f"{folder}/")]
