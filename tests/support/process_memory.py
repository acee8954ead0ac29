"""Read all of another process's memory and search it, as whoever holds the parent instance could."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

CHUNK_BYTES = 16 << 20
OVERLAP_BYTES = 4096
"""Kept from one piece to the next: longer than anything that is looked for."""

_KERNELS = ("[vvar", "[vsyscall")
"""Pages of the kernel's own, which nobody writes to and not everybody may read."""


def pieces(pid: int) -> Iterator[bytes]:
    """Yield every readable mapping of a process, in overlapping pieces; what was unmapped meanwhile is left out."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            place, rights, *rest = line.split(maxsplit=5)
            if "r" not in rights or (rest and rest[-1].startswith(_KERNELS)):
                continue
            first, last = (int(edge, 16) for edge in place.split("-"))
            for at in range(first, last, CHUNK_BYTES - OVERLAP_BYTES):
                try:
                    memory.seek(at)
                    yield memory.read(min(CHUNK_BYTES, last - at))
                except (OSError, OverflowError):
                    break  # a device's page, or gone


def found_in(pid: int, sought: dict[str, Iterable[bytes]]) -> tuple[set[str], int]:
    """Return the names of what is in a process's memory in any of its forms, and how many bytes were searched."""
    wanted = {name: sorted(set(forms)) for name, forms in sought.items()}
    assert all(16 <= len(form) < OVERLAP_BYTES for form in itertools.chain(*wanted.values()))
    found: set[str] = set()
    searched = 0
    for piece in pieces(pid):
        searched += len(piece)
        found |= {name for name, forms in wanted.items() if name not in found and any(form in piece for form in forms)}
    return found, searched
