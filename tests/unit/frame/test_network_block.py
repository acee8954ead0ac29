"""Unit tests reach no network; marked ones reach loopback and nothing else."""

import socket
import threading

import pytest
from pytest_socket import SocketBlockedError, SocketConnectBlockedError

ELSEWHERE = ("192.0.2.1", 9)
"""An address of TEST-NET-1: nobody is there. Spec: RFC 5737."""


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_a_unit_test_opens_no_internet_socket() -> None:
    with pytest.raises(SocketBlockedError):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with pytest.raises(SocketBlockedError):
        socket.getaddrinfo("localhost", 80)


def test_a_unit_test_may_use_unix_sockets() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"x")
        assert other.recv(1) == b"x"


@pytest.mark.network
def test_a_network_test_reaches_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []
        thread = threading.Thread(target=lambda: accepted.append(server.accept()[0]))
        thread.start()
        with socket.create_connection(server.getsockname(), timeout=30):
            thread.join()
        accepted[0].close()


@pytest.mark.network
@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_a_network_test_reaches_nothing_else() -> None:
    with socket.socket() as client, pytest.raises(SocketConnectBlockedError):
        client.connect(ELSEWHERE)
