"""Let Ctrl-C, a termination or a closed terminal end a command once, and in order; and keep foreign settings out."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

FOREIGN: Final = ("AWS_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
"""Beginnings of variables that would lead a client elsewhere than to the twin."""


class _Deferral:
    """Hold back an interruption while something is begun that must be remembered before it can be ended."""

    def __init__(self) -> None:
        self.depth = 0
        self.pending = False


_deferral: Final = _Deferral()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let an interruption wait until the end of the block."""
    _deferral.depth += 1
    try:
        yield
    finally:
        _deferral.depth -= 1
    if _deferral.pending and _deferral.depth == 0:
        _deferral.pending = False
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Have the first of the signals raise KeyboardInterrupt in the main thread, and the next ones disturb nothing."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    if before[signal.SIGHUP] is signal.SIG_IGN:  # whoever started it wants it to stay without a terminal
        del before[signal.SIGHUP]

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        if _deferral.depth:
            _deferral.pending = True
            return
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        _deferral.pending = False
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def without_foreign_settings() -> Iterator[None]:
    """Take variables that point AWS clients elsewhere out of the environment until the end of the block."""
    taken = {name: os.environ.pop(name) for name in tuple(os.environ) if name.startswith(FOREIGN)}
    try:
        yield
    finally:
        os.environ.update(taken)
