"""Find the recordings that lie beside a checkout; tests that need them are skipped visibly without them."""

import json
import os
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]


def recordings_dir() -> Path | None:
    """Return the folder of recordings: ``$PCRGATE_RECORDINGS``, else ``../shared/recordings``, else None."""
    told = os.environ.get("PCRGATE_RECORDINGS")
    folder = Path(told) if told else _ROOT.parent / "shared" / "recordings"
    return folder if folder.is_dir() else None


def load_index(kind: str) -> list[dict[str, Any]]:
    """Return the entries of ``KIND/index.json`` with ``bytes`` added, or an empty list without recordings."""
    folder = recordings_dir()
    if folder is None:
        return []
    entries: list[dict[str, Any]] = json.loads((folder / kind / "index.json").read_text())
    for entry in entries:
        entry["bytes"] = (folder / kind / entry["file"]).read_bytes()
    return entries
