"""The seam to where sealed files lie: named by their SHA-384, received in parts, shown only when the digest fits.

Whatever lies here is ciphertext. An upload that breaks off goes on where it stood, also in another process: what a
store has received it finds again by itself.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from pcrgate.errors import ErrorCode, ServiceError
from pcrgate.units import SHA384_BYTES, Sha384

READ_BYTES: Final = 1 << 20
"""Length of what is read at once, 1 MiB: large enough for a disk or a request, small beside the memory of a parent."""


_NAME: Final = re.compile(rf"[0-9a-f]{{{2 * SHA384_BYTES}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Say how far an upload has come.

    Attributes:
        received_bytes: how much lies in the store for good; the next part begins there.
        complete: whether the file is there, its digest checked.
    """

    received_bytes: int
    complete: bool


class ArtifactStore(Protocol):
    """Keep files under their digests. Calls for one digest come one after the other; the service sees to that.

    Attributes:
        part_bytes: length of every part but the last.
    """

    part_bytes: int

    def upload(self, digest: Sha384) -> Upload:
        """Return how far the upload of a file has come; nothing received for one that is unknown.

        Raises:
            ServiceError: ``service-store``.
        """
        ...

    def append(self, digest: Sha384, offset: int, part: bytes) -> None:
        """Keep the next part; when this returns, it outlives the process.

        Args:
            digest: names the file.
            offset: where the part begins, in bytes.
            part: ``part_bytes`` long, or 1 byte and up for the last one.

        Raises:
            ServiceError: ``service-upload-offset`` when the part does not begin where the last one ended,
                ``service-store``.
        """
        ...

    def finish(self, digest: Sha384) -> int:
        """Make the file appear, once its bytes have the digest, and return its length.

        Raises:
            ServiceError: ``service-digest``; everything received for it is dropped then. ``service-store``.
        """
        ...

    def discard(self, digest: Sha384) -> None:
        """Drop what was received of a file that is not complete; a complete one stays.

        Raises:
            ServiceError: ``service-store``.
        """
        ...

    def unfinished(self, before_ms: int) -> list[Sha384]:
        """Return the files that are not complete and of which nothing arrived since a time.

        Args:
            before_ms: milliseconds since the epoch.

        Raises:
            ServiceError: ``service-store``.
        """
        ...

    def read(self, digest: Sha384, offset: int = 0) -> Iterator[bytes]:
        """Yield a complete file from an offset on, in pieces of at most 1 MiB.

        Raises:
            ServiceError: ``service-not-found``, also for a file that is not complete; ``service-store``.
        """
        ...

    def local_file(self, digest: Sha384) -> Path | None:
        """Return where on this machine a complete file lies; None when it lies elsewhere or is not complete."""
        ...


def digests_named(names: Iterable[str]) -> list[Sha384]:
    """Return the digests that names are the hex of, each once; other names are somebody else's."""
    return [Sha384(bytes.fromhex(name)) for name in sorted(set(names)) if _NAME.fullmatch(name)]


def require_offset(upload: Upload, offset: int, part_bytes: int) -> None:
    """Refuse a part that does not begin where the last one ended, or that follows a short one, which was the last.

    Raises:
        ServiceError: ``service-upload-offset``.
    """
    if upload.complete or offset != upload.received_bytes or offset % part_bytes:
        raise ServiceError(
            ErrorCode.SERVICE_UPLOAD_OFFSET,
            f"a part begins at byte {offset}, expected it at byte {upload.received_bytes} of an upload that goes on",
        )


def no_such_artifact(digest: Sha384) -> ServiceError:
    """Return the refusal of a file that is not there."""
    return ServiceError(ErrorCode.SERVICE_NOT_FOUND, f"no file {digest.hex()}, expected one that was uploaded whole")


def wrong_digest(digest: Sha384) -> ServiceError:
    """Return the refusal of bytes that have another digest than their name."""
    return ServiceError(ErrorCode.SERVICE_DIGEST, f"the bytes received are not those of {digest.hex()}")


def store_failed(fact: str) -> ServiceError:
    """Return the refusal of a store that does not work now."""
    return ServiceError(ErrorCode.SERVICE_STORE, f"{fact}, expected the store to work")
