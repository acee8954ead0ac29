"""Receive a sealed file: in one request or in several, each going on where the last one ended.

Spec: RFC 9110, 14.4 (Content-Range); what was received is told as Upload-Offset, as in
draft-ietf-httpbis-resumable-upload.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pcrgate.envelope.weights_header import HEADER_MAX_BYTES, parse_header
from pcrgate.errors import ErrorCode, ReleaseError, ServiceError
from pcrgate.units import Sha384
from service.artifact_store import ArtifactStore
from service.state_store import Artifact, StateStore

RANGE_PATTERN: Final = r"^bytes (?:([0-9]{1,15})-([0-9]{1,15})|\*)/([0-9]{1,15})$"
"""Form of Content-Range, as the OpenAPI document has it too."""

_RANGE: Final = re.compile(RANGE_PATTERN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """Hold what the headers of an upload say.

    Attributes:
        first: offset of the first byte; None when the request only asks to finish.
        length: bytes in this request.
        total: bytes of the whole file.
        restart: whether everything comes in this one request, so that what came before counts no more.
    """

    first: int | None
    length: int
    total: int
    restart: bool


def announced(content_length: str | None, content_range: str | None, *, most: int) -> Announced:
    """Read the headers of an upload.

    Args:
        content_length: header, if any.
        content_range: header, if any.
        most: longest file, in bytes.

    Raises:
        ServiceError: ``service-length-required``, ``service-request`` or ``service-too-large``.
    """
    if content_length is None or not content_length.isdigit() or len(content_length) > 15:
        raise ServiceError(ErrorCode.SERVICE_LENGTH_REQUIRED, "no Content-Length, expected the length of this part")
    length = int(content_length)
    if content_range is None:
        found = Announced(first=0, length=length, total=length, restart=True)
    else:
        match = _RANGE.fullmatch(content_range)
        if match is None:
            raise ServiceError(
                ErrorCode.SERVICE_REQUEST, "Content-Range is not bytes FIRST-LAST/TOTAL or bytes */TOTAL"
            )
        first, last, total = (None if group is None else int(group) for group in match.groups())
        found = Announced(first=first, length=length, total=total or 0, restart=False)
        expected = 0 if first is None or last is None else last - first + 1
        if length != expected or (last is not None and last >= found.total):
            raise ServiceError(ErrorCode.SERVICE_REQUEST, "Content-Length or TOTAL does not fit Content-Range")
    if found.total < 1:
        raise ServiceError(ErrorCode.SERVICE_REQUEST, "the file is empty, expected at least one byte")
    if found.total > most:
        raise ServiceError(ErrorCode.SERVICE_TOO_LARGE, f"the file has {found.total} bytes, expected at most {most}")
    return found


class Uploads:
    """Receive files, one request a file at a time."""

    def __init__(self, artifacts: ArtifactStore, state: StateStore) -> None:
        """Take where files and their names are kept."""
        self._artifacts: Final = artifacts
        self._state: Final = state
        self._busy: Final[set[Sha384]] = set()

    async def receive(
        self, digest: Sha384, said: Announced, body: AsyncIterator[bytes], *, now_ms: int
    ) -> Artifact | int:
        """Return the file when it is complete, else where its next part begins.

        Args:
            digest: names the file.
            said: what the headers say.
            body: the bytes of this request.
            now_ms: milliseconds since the epoch.

        Raises:
            ServiceError: ``service-conflict`` while another request uploads the same file, ``service-upload-offset``,
                ``service-request`` for another length than was said, ``service-digest``, ``service-store``.
        """
        with self._alone(digest):
            return await self._receive(digest, said, body, now_ms)

    async def forget(self, before_ms: int) -> int:
        """Drop uploads of which nothing arrived since a time, and return how many.

        Args:
            before_ms: milliseconds since the epoch.

        Raises:
            ServiceError: ``service-store``.
        """
        count = 0
        for digest in await asyncio.to_thread(self._artifacts.unfinished, before_ms):
            if digest not in self._busy:  # else somebody goes on with it just now
                with self._alone(digest):
                    await asyncio.to_thread(self._artifacts.discard, digest)
                count += 1
        return count

    @contextmanager
    def _alone(self, digest: Sha384) -> Iterator[None]:
        """Keep others from a file until the end of the block.

        Raises:
            ServiceError: ``service-conflict`` while somebody else does.
        """
        if digest in self._busy:
            raise ServiceError(
                ErrorCode.SERVICE_CONFLICT, "another request uploads this file, expected it to end first"
            )
        self._busy.add(digest)
        try:
            yield
        finally:
            self._busy.discard(digest)

    async def _receive(
        self, digest: Sha384, said: Announced, body: AsyncIterator[bytes], now_ms: int
    ) -> Artifact | int:
        upload = await asyncio.to_thread(self._artifacts.upload, digest)
        if upload.complete:
            return await asyncio.to_thread(self._complete, digest, upload.received_bytes, now_ms)
        offset = upload.received_bytes
        if said.restart and offset:
            await asyncio.to_thread(self._artifacts.discard, digest)
            offset = 0
        if said.first is not None:
            if said.first != offset:
                raise UploadOffsetError(said.first, offset)
            offset = await self._append(digest, said, body)
        if offset < said.total:
            return offset
        size = await asyncio.to_thread(self._artifacts.finish, digest)
        return await asyncio.to_thread(self._complete, digest, size, now_ms)

    async def _append(self, digest: Sha384, said: Announced, body: AsyncIterator[bytes]) -> int:
        """Keep whole parts, and the rest only when it is the end of the file; return where the next part begins."""
        first = offset = said.first or 0
        part_bytes = self._artifacts.part_bytes
        held = bytearray()
        async for piece in body:
            held += piece
            if offset + len(held) > first + said.length:
                raise ServiceError(ErrorCode.SERVICE_REQUEST, "the body is longer than Content-Length says")
            while len(held) >= part_bytes:
                part = bytes(held[:part_bytes])
                await asyncio.to_thread(self._artifacts.append, digest, offset, part)
                offset += part_bytes
                del held[:part_bytes]
        if held and offset + len(held) == said.total:
            await asyncio.to_thread(self._artifacts.append, digest, offset, bytes(held))
            offset = said.total
        return offset

    def _complete(self, digest: Sha384, size_bytes: int, now_ms: int) -> Artifact:
        found = self._state.artifact(digest)
        if found is not None:
            return found
        header = _header_digest(self._artifacts, digest)
        artifact = Artifact(digest=digest, header_digest=header, size_bytes=size_bytes, created_ms=now_ms)
        self._state.add_artifact(artifact)
        return artifact


class UploadOffsetError(ServiceError):
    """A part does not begin where the last one ended.

    Attributes:
        received_bytes: where it must begin.
    """

    def __init__(self, offset: int, received_bytes: int) -> None:
        """Take where it began and where it must."""
        super().__init__(
            ErrorCode.SERVICE_UPLOAD_OFFSET, f"a part begins at byte {offset}, expected it at byte {received_bytes}"
        )
        self.received_bytes: Final = received_bytes


def _header_digest(artifacts: ArtifactStore, digest: Sha384) -> Sha384 | None:
    """Return the digest of a sealed file's header, by which enclaves ask for it; None for what is no sealed file."""
    beginning = bytearray()
    for piece in artifacts.read(digest):
        beginning += piece[:HEADER_MAX_BYTES]
        if len(beginning) >= HEADER_MAX_BYTES:
            break
    view = memoryview(bytes(beginning))

    def take(length: int) -> bytes:
        nonlocal view
        if length > len(view):
            raise ReleaseError(ErrorCode.WEIGHTS_TRUNCATED, "the file ends within its header")
        taken, view = bytes(view[:length]), view[length:]
        return taken

    try:
        return parse_header(take).sha384
    except ReleaseError:
        return None
