"""Judge bytes by a grammar of docs/, with a validator of CDDL that is not ours, and make edits of what it takes."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import cbor2
from cddl_verifier import Validator

DOCS = Path(__file__).resolve().parents[2] / "docs"

WRONG: dict[type, list[Any]] = {
    int: ["1", b"\x01", -1, 1 << 53, None, True],
    bytes: ["text", 7, b"", bytes(33), bytes(49), None],
    str: [b"bytes", 7, "", "x" * 129, None],
    dict: [[], 7, {1: 1}, {"a": -1}, {"a": "b"}, {"a": 1 << 53}, {"": 1}, {f"s{n}": n for n in range(17)}],
    list: [{}, 7, None, [7.5], [[]]],
    bool: [0, 1, None, "true"],
    type(None): [False, 0.5, "", b""],
}
"""What stands in no place of a type, or beyond its limits in some."""


class Grammar:
    """One file of grammar."""

    def __init__(self, name: str) -> None:
        self._validator = Validator((DOCS / f"{name}.cddl").read_text(encoding="utf-8"))

    def fits(self, data: bytes, rule: str, *, deterministic: bool = True) -> bool:
        return bool(self._validator.validate(data, rule, require_deterministic=deterministic).valid)


def ordered(value: Any) -> Any:
    """Return the value with its keys in the order of RFC 8949, 4.2.1; cbor2's canonical form has that of RFC 7049."""
    if isinstance(value, list | tuple):
        return [ordered(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {key: ordered(value[key]) for key in sorted(value, key=cbor2.dumps)}


def edits(value: dict[Any, Any], *, open_maps: Collection[Any] = ()) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yield every entry left out, of another type or length, and one too many in each map.

    Args:
        value: what has the form.
        open_maps: keys of maps whose own entries are not edited.
    """
    more = "unknown" if all(type(key) is str for key in value) else -70_999
    yield "one more", {**value, more: 1}
    for key, entry in value.items():
        yield f"without {key}", {other: value[other] for other in value if other != key}
        for wrong in WRONG[type(entry)]:
            yield f"{key} = {wrong!r}", {**value, key: wrong}
        if isinstance(entry, dict) and key not in open_maps:
            for name, inner in edits(entry, open_maps=open_maps):
                yield f"{key}/{name}", {**value, key: inner}
