"""Carry HTTPS to KMS over the parent's byte relay: the socket is the parent's, the TLS inside it is the enclave's.

The relay moves plain TCP bytes to one host, as AWS's vsock-proxy does. It sees the server name and ciphertext; a relay
that answers TLS itself fails the certificate check.
"""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from botocore.awsrequest import AWSHTTPSConnection, AWSHTTPSConnectionPool
from botocore.httpsession import URLLib3Session
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

PARENT_CID: Final = 3
"""The parent's context id as seen from its enclaves. Spec: Nitro Enclaves User Guide, vsock."""

VSOCK_PROXY_PORT: Final = 8000
"""Port of the parent's relay to KMS by default, as in AWS's examples of vsock-proxy."""

CONNECTIONS: Final = 10
"""Connections kept open, botocore's default."""


class Dialer(Protocol):
    """Open a byte stream that the relay carries to KMS."""

    def dial(self, timeout_s: float | None) -> socket.socket:
        """Return a connected stream socket.

        Args:
            timeout_s: longest wait, seconds; None waits for ever.

        Raises:
            OSError: when it cannot be opened; TimeoutError when it takes too long.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VsockDialer:
    """Dial the parent over AF_VSOCK.

    Attributes:
        cid: whom; the parent is 3.
        port: where its relay to KMS listens.
    """

    cid: int = PARENT_CID
    port: int = VSOCK_PROXY_PORT

    def dial(self, timeout_s: float | None) -> socket.socket:
        """Return a connected stream socket, or raise OSError."""
        return _connected(socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM), (self.cid, self.port), timeout_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixDialer:
    """Dial a relay that listens on a Unix socket: the laptop's stand-in for AF_VSOCK.

    Attributes:
        path: of the socket.
    """

    path: Path

    def dial(self, timeout_s: float | None) -> socket.socket:
        """Return a connected stream socket, or raise OSError."""
        return _connected(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), str(self.path), timeout_s)


def _connected(endpoint: socket.socket, address: str | tuple[int, int], timeout_s: float | None) -> socket.socket:
    try:
        endpoint.settimeout(timeout_s)
        endpoint.connect(address)
    except BaseException:
        endpoint.close()
        raise
    return endpoint


class RelaySession(URLLib3Session):
    """Be botocore's HTTP session, its errors and timeouts included, over connections that a dialer opens."""

    def __init__(self, dialer: Dialer, *, ca_bundle: Path, connect_timeout_s: float, read_timeout_s: float) -> None:
        """Prepare the session.

        Args:
            dialer: opens the byte streams.
            ca_bundle: PEM file of the CAs that KMS's certificate must lead to.
            connect_timeout_s: longest for dialling and TLS.
            read_timeout_s: longest wait for an answer.
        """
        self._ca_bundle = ca_bundle
        # The stubs know neither a path to verify with nor two timeouts; botocore takes both.
        options: dict[str, Any] = {
            "verify": str(ca_bundle),
            "proxies": {},
            "timeout": (connect_timeout_s, read_timeout_s),
            "max_pool_connections": CONNECTIONS,
        }
        super().__init__(**options)
        # Only https has a pool: a plain request cannot be sent at all. The attribute is botocore's own, unknown to the
        # stubs; a test holds every connection to the dialer.
        vars(self)["_manager"].pool_classes_by_scheme = {"https": _relayed_pool(dialer)}

    def _get_ssl_context(self) -> ssl.SSLContext:
        """Return a context of our own: botocore's would write session keys where SSLKEYLOGFILE says."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = True
        context.load_verify_locations(self._ca_bundle)
        return context


def _relayed_pool(dialer: Dialer) -> type[AWSHTTPSConnectionPool]:
    """Return a pool class whose connections are dialled, never resolved or routed by this machine."""

    class RelayedConnection(AWSHTTPSConnection):
        def _new_conn(self) -> socket.socket:
            timeout_s = self.timeout if isinstance(self.timeout, (int, float)) else None
            try:
                return dialer.dial(timeout_s)
            except TimeoutError as error:
                raise ConnectTimeoutError(self, f"the relay took longer than {timeout_s} s") from error
            except OSError as error:
                raise NewConnectionError(self, f"the relay cannot be reached ({error.strerror})") from error

    class RelayedPool(AWSHTTPSConnectionPool):
        ConnectionCls = RelayedConnection

    return RelayedPool
