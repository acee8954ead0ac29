"""Keep sealed files where the enclave can ask for them by digest; nothing in them is readable here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.units import Sha384


class BlobStore(Protocol):
    """Give sealed files."""

    def find(self, digest: Sha384) -> Path:
        """Return the file whose header has this digest.

        Raises:
            UsageError: ``usage-blob`` when there is none.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobFolder:
    """Hold sealed files in one folder, named by the digest of their header in hex.

    Attributes:
        folder: where they are.
    """

    folder: Path

    def find(self, digest: Sha384) -> Path:
        """Return the file, or raise UsageError."""
        path = self.folder / digest.hex()
        if not path.is_file():
            raise UsageError(ErrorCode.USAGE_BLOB, f"no sealed file {digest.hex()[:16]}, expected it in the store")
        return path
