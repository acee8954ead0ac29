"""Where keys, ids and vectors get their bytes: the operating system, or a seed when a run must repeat."""

import hashlib
import os
import threading
import uuid
from typing import Final, Protocol

SEED_MAX_BYTES: Final = 1024
"""Longest seed: a seed names a run, it is not a file."""


class Randomness(Protocol):
    """Give bytes that nobody else can guess, or that repeat from a seed.

    Attributes:
        repeats: whether the same seed gives the same bytes again; key generation then avoids other sources.
    """

    @property
    def repeats(self) -> bool:
        """Whether the stream repeats from a seed."""
        ...

    def read(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        ...


class SystemRandomness:
    """Read from the operating system."""

    repeats = False

    def read(self, count: int) -> bytes:
        """Return ``count`` fresh bytes of ``os.urandom``."""
        return os.urandom(count)


class SeededRandomness:
    """Expand a seed: SHAKE-256 over seed and block number. For tests and vectors, never for a secret that matters.

    Where keys outlive the process, each start needs a seed of its own: the same seed would repeat ids and IVs.
    """

    repeats = True

    def __init__(self, seed: bytes) -> None:
        if not 1 <= len(seed) <= SEED_MAX_BYTES:
            raise ValueError(f"a seed has 1 to {SEED_MAX_BYTES} bytes")
        self._seed = seed
        self._block = 0
        self._lock = threading.Lock()

    def read(self, count: int) -> bytes:
        """Return the next ``count`` bytes; each call is a block of its own."""
        with self._lock:
            block = self._block
            self._block += 1
        stream = hashlib.shake_256(b"pcrgate twin randomness\0" + block.to_bytes(8) + self._seed)
        return stream.digest(count)


def integer_below(randomness: Randomness, bound: int) -> int:
    """Return an unbiased integer from 0 to ``bound - 1``."""
    bits = bound.bit_length()
    count = (bits + 7) // 8
    while True:
        value = int.from_bytes(randomness.read(count)) >> (8 * count - bits)
        if value < bound:
            return value


def uuid_text(randomness: Randomness) -> str:
    """Return a version 4 UUID, 36 characters."""
    return str(uuid.UUID(bytes=randomness.read(16), version=4))
