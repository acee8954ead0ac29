"""Plain moto as the negative fixture: a KMS that ignores ``Recipient`` and answers with the plaintext."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from pcrgate.twin.listener import Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainMoto:
    """Hold where an unmodified moto listens.

    Attributes:
        url: the endpoint.
        port: its port on 127.0.0.1.
    """

    url: str
    port: int


@contextmanager
def plain_moto(context: ssl.SSLContext | None = None) -> Iterator[PlainMoto]:
    """Run moto's own applications, unmodified, on a free loopback port.

    Args:
        context: serves HTTPS with it; HTTP without.
    """
    listener = Listener("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), context=context)
    try:
        yield PlainMoto(url=listener.url, port=listener.port)
    finally:
        listener.stop()
