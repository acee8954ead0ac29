"""All manifest vectors, and the files they are written to."""

from functools import cache
from pathlib import Path

from tests.vectors_manifest.cases import vectors
from tests.vectors_manifest.vector import Vector

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "manifest"


@cache
def files() -> dict[str, str]:
    """File name to content."""
    made: dict[str, str] = {}
    for vector in vectors():
        name = f"{vector.name}.json"
        if name in made:
            raise ValueError(f"{name} is made twice")
        made[name] = vector.to_json()
    return made


def differences() -> list[str]:
    """What the generator would change: lines to print, none when all is as generated."""
    made, found = files(), {path.name for path in FOLDER.glob("*.json")}
    lines = [f"not generated: {name}" for name in sorted(found - made.keys())]
    for name, content in sorted(made.items()):
        if name not in found:
            lines.append(f"missing: {name}")
        elif (FOLDER / name).read_text(encoding="ascii") != content:
            lines.append(f"differs: {name}")
    return lines


def write() -> int:
    """Write every vector and remove what is no longer made; return how many there are."""
    made = files()
    for path in FOLDER.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, content in made.items():
        (FOLDER / name).write_text(content, encoding="ascii")
    return len(made)


def load_all() -> list[Vector]:
    """Every vector as it lies in the folder; keys that are not in the schema are refused."""
    loaded = []
    for path in sorted(FOLDER.glob("*.json")):
        try:
            loaded.append(Vector.from_json(path.read_text(encoding="ascii")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path.name}: {error}") from error
    return loaded
