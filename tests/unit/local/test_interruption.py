"""The first signal ends a command in order; what is begun is remembered first; foreign settings come back."""

import os
import signal
import socket
from pathlib import Path

import pytest

from local.interruption import interruptible, uninterrupted, without_foreign_settings
from local.processes import Child, bound_socket, kept_environment
from pcrgate.errors import ErrorCode, PcrgateError


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_interrupts_and_the_next_ones_do_not(number: int) -> None:
    # Whoever started the tests may have ignored a signal, as nohup does; what is ignored stays so (see below).
    given = signal.signal(number, signal.default_int_handler)
    told = []
    try:
        with pytest.raises(KeyboardInterrupt), interruptible():
            try:
                send(number)
            finally:
                send(number)
                told.append("cleaned up")
        assert told == ["cleaned up"]
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, given)


def test_an_interruption_waits_until_what_was_begun_is_remembered() -> None:
    told = []
    with pytest.raises(KeyboardInterrupt), interruptible():
        with uninterrupted():
            with uninterrupted():
                send(signal.SIGTERM)
            told.append("remembered")
        told.append("not reached")
    assert told == ["remembered"]
    with interruptible(), uninterrupted():
        told.append("nothing is left over")


def test_who_starts_it_without_a_terminal_keeps_it_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            send(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_foreign_settings_are_out_of_the_way_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "elsewhere")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with without_foreign_settings():
        assert not {"AWS_PROFILE", "https_proxy"} & os.environ.keys()
    assert (os.environ["AWS_PROFILE"], os.environ["https_proxy"]) == ("elsewhere", "http://127.0.0.1:9")


def test_a_process_that_does_not_get_ready_is_said(tmp_path: Path) -> None:
    child = Child("slow", ("trusted-code",), folder=tmp_path, environment=kept_environment())
    try:
        with pytest.raises(PcrgateError, match="the slow process is not ready after 0 s") as caught:
            child.wait(lambda: False, timeout_s=0)
        assert caught.value.code is ErrorCode.LOCAL_PROCESS
        with pytest.raises(PcrgateError, match=r"the slow process ended with code \d: .* lines in "):
            child.wait(lambda: False)
    finally:
        child.stop()
    child.stop()


@pytest.mark.network
def test_a_port_that_is_taken_is_said() -> None:
    with bound_socket(0) as first:
        port = first.getsockname()[1]
        with pytest.raises(PcrgateError, match=f"port {port} on 127.0.0.1 is in use") as caught:
            bound_socket(port)
        assert caught.value.code is ErrorCode.USAGE_PORT
        assert first.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
