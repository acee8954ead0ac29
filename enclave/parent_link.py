"""Ask the parent for what it stores: manifest, credentials, sealed files. All of it is verified by whoever asked."""

import socket
import weakref
from typing import Final, TypeVar

from pcrgate.envelope.weights_source import ByteStream
from pcrgate.errors import ErrorCode, WireError
from pcrgate.kms.credentials import TemporaryCredentials
from pcrgate.kms.relay import Dialer
from pcrgate.units import Sha384
from pcrgate.wire.frames import HEAD_BYTES, parse_head
from pcrgate.wire.messages import (
    BlobAnswer,
    BlobRequest,
    CredentialsAnswer,
    CredentialsRequest,
    ManifestAnswer,
    ManifestRequest,
    Message,
    Problem,
    decode_message,
    encode_message,
)

TIMEOUT_S: Final = 10.0
"""Longest wait for the parent to take or give some bytes."""

_Answer = TypeVar("_Answer", bound=Message)


class ParentLink:
    """Dial the parent's broker for every request; threads may share it."""

    def __init__(self, dialer: Dialer, *, timeout_s: float = TIMEOUT_S) -> None:
        """Take the dialer; nothing is dialled yet."""
        self._dialer: Final = dialer
        self._timeout_s: Final = timeout_s

    def manifest(self) -> bytes:
        """Return what the parent says is the manifest.

        Raises:
            WireError: ``wire-link``, ``wire-frame`` or ``wire-message``.
        """
        return self._ask(ManifestRequest(), ManifestAnswer).manifest

    def fetch(self) -> TemporaryCredentials:
        """Return the parent's credentials.

        Raises:
            WireError: ``wire-link``, ``wire-frame`` or ``wire-message``.
            ReleaseError: ``kms-credentials``.
        """
        answer = self._ask(CredentialsRequest(), CredentialsAnswer)
        return TemporaryCredentials(
            access_key_id=answer.access_key_id,
            secret_access_key=answer.secret_access_key,
            session_token=answer.session_token,
            expires_at_s=answer.expires_at_s,
        )

    def sealed(self, header_sha384: Sha384) -> "ParentBlob":
        """Return the sealed file whose header has this digest, to be read."""
        return ParentBlob(self, header_sha384)

    def open_blob(self, header_sha384: Sha384, offset: int) -> ByteStream:
        """Return a stream of a sealed file.

        Raises:
            OSError: when the parent cannot be reached or refuses; the reader tries again.
        """
        endpoint = self._dialer.dial(self._timeout_s)
        try:
            endpoint.settimeout(self._timeout_s)
            _exchange(endpoint, BlobRequest(sha384=header_sha384.digest, offset=offset), BlobAnswer)
        except WireError as error:
            endpoint.close()
            raise ConnectionError(error.message) from error
        except BaseException:
            endpoint.close()
            raise
        return _SocketStream(endpoint)

    def _ask(self, request: Message, expected: type[_Answer]) -> _Answer:
        try:
            with self._dialer.dial(self._timeout_s) as endpoint:
                endpoint.settimeout(self._timeout_s)
                return _exchange(endpoint, request, expected)
        except OSError as error:
            raise WireError(ErrorCode.WIRE_LINK, "the parent cannot be reached, expected its broker") from error


class ParentBlob:
    """Read one sealed file from the parent, from any offset."""

    def __init__(self, link: ParentLink, header_sha384: Sha384) -> None:
        """Name the file."""
        self._link: Final = link
        self._header_sha384: Final = header_sha384

    def open(self, offset: int) -> ByteStream:
        """Return a stream of the bytes from ``offset`` on.

        Raises:
            OSError: when it cannot be opened now.
        """
        return self._link.open_blob(self._header_sha384, offset)


class _SocketStream:
    """Read a socket until its end; closed with the last reference, also where an error and its trace form a circle."""

    def __init__(self, endpoint: socket.socket) -> None:
        self._endpoint: Final = endpoint
        weakref.finalize(self, endpoint.close)

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill some of the buffer and return how much; 0 at the end."""
        return self._endpoint.recv_into(buffer)


def _exchange(endpoint: socket.socket, request: Message, expected: type[_Answer]) -> _Answer:
    endpoint.sendall(encode_message(request))
    head = parse_head(_exactly(endpoint, HEAD_BYTES))
    if head.kind not in {expected.KIND, Problem.KIND}:
        raise WireError(
            ErrorCode.WIRE_MESSAGE, f"a {head.kind.name.lower()} came, expected {expected.KIND.name.lower()}"
        )
    answer = decode_message(head, _exactly(endpoint, head.payload_bytes))
    if isinstance(answer, expected):
        return answer
    raise WireError(ErrorCode.WIRE_LINK, "the parent refused, expected what it was asked for")


def _exactly(endpoint: socket.socket, length: int) -> bytes:
    buffer = bytearray(length)
    view, filled = memoryview(buffer), 0
    while filled < length:
        received = endpoint.recv_into(view[filled:])
        if not received:
            raise ConnectionError("the parent closed the connection")
        filled += received
    return bytes(buffer)
