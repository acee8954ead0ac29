"""Put a release where enclaves find it: sealed files in parts, going on after a break, and the signed manifest."""

import hashlib
import time
from collections.abc import Callable
from io import BufferedReader
from types import TracebackType
from typing import Final, Self

import httpx

from pcrgate.client.exchange import Reply, Request, fields_of
from pcrgate.client.transport import Gathered, Tries, headers_for, http_options, unreachable
from pcrgate.errors import ClientError, ErrorCode
from pcrgate.manifest.signature import parse_manifest

PART_BYTES: Final = 16 << 20
"""Length of a request, 16 MiB: a multiple of what every store keeps at once, so that no byte is sent twice."""

BREAKS_MAX: Final = 5
"""Most breaks in a row without a byte of progress."""


class Publisher:
    """Speak with a service as a publisher. A context manager."""

    def __init__(
        self,
        url: str,
        *,
        token: str,
        transport: httpx.BaseTransport | None = None,
        verify: bool | str = True,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the address and the publisher's token; nothing is sent yet.

        ``transport``, ``verify`` and ``sleep`` are those of :class:`pcrgate.client.client.Client`.

        Raises:
            UsageError: ``usage-arguments`` for an address that cannot be used.
        """
        self._token: Final = token
        self._sleep: Final = sleep
        self._http: Final = httpx.Client(transport=transport, **http_options(url, verify=verify))

    def put_artifact(self, file: BufferedReader, *, progress: Callable[[int], None] = lambda _: None) -> str:
        """Upload a sealed file and return its SHA-384 in hex; what the service has is not sent again.

        Args:
            file: readable and seekable; read twice, first for the digest.
            progress: told how many bytes the service has.

        Raises:
            RemoteRefusalError: with the service's code.
            ClientError: ``client-transport`` after several breaks, ``client-answer``.
        """
        file.seek(0)
        digest = hashlib.file_digest(file, "sha384").hexdigest()
        total, breaks, before = file.tell(), 0, -1
        path = f"/v1/artifacts/{digest}"
        while True:
            try:
                offset, complete = self._received(path)
                progress(offset)
                if complete:
                    return digest
                file.seek(offset)
                part = file.read(PART_BYTES)
                said = f"bytes {offset}-{offset + len(part) - 1}/{total}" if part else f"bytes */{total}"
                fields_of(self._sent("PUT", path, part, {"Content-Range": said})[0])
            except httpx.HTTPError as error:
                breaks = breaks + 1
                if breaks > BREAKS_MAX:
                    raise unreachable(error) from error
                continue
            if offset > before:
                breaks, before = 0, offset

    def put_manifest(self, signed: bytes) -> int:
        """Put a signed manifest and return its epoch.

        Raises:
            ManifestError: when it is none.
            RemoteRefusalError: with the service's code.
            ClientError: ``client-transport`` or ``client-answer``.
        """
        epoch = parse_manifest(signed).claims().epoch
        try:
            fields_of(self._sent("PUT", f"/v1/manifests/{epoch}", signed, {})[0])
        except httpx.HTTPError as error:
            raise unreachable(error) from error
        return epoch

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _received(self, path: str) -> tuple[int, bool]:
        answer, headers = self._sent("HEAD", path, b"", {})
        text = headers.get("upload-offset", "")
        if answer.status not in {200, 204} or not text.isascii() or not text.isdigit():
            # A HEAD has no body to say why; the same question as a PUT has.
            fields_of(self._sent("PUT", path, b"", {"Content-Range": "bytes */1"})[0])
            raise ClientError(
                ErrorCode.CLIENT_ANSWER, "an answer does not say what was received, expected Upload-Offset"
            )
        return int(text), answer.status == 200

    def _sent(self, method: str, path: str, content: bytes, headers: dict[str, str]) -> tuple[Reply, httpx.Headers]:
        """Return what came; all that is sent here has one effect, so it is sent again when the service says when."""
        request = Request(method=method, path=path, headers=headers, repeatable=True)
        tries = Tries(request)
        while True:
            with self._http.stream(method, path, content=content, headers=headers_for(request, self._token)) as answer:
                gathered = Gathered(answer.status_code, answer.headers)
                for piece in answer.iter_raw():
                    gathered.add(piece)
            pause = tries.answered(gathered.reply())
            if pause is None:
                return gathered.reply(), answer.headers
            self._sleep(pause)
