"""moto's state, which is one a process: whoever leaves it last clears it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data


@dataclass(slots=True)
class _Users:
    """How many use the state now."""

    count: int = 0


_lock: Final = threading.Lock()
_users: Final = _Users()


@contextmanager
def shared_cloud() -> Iterator[None]:
    """Use moto's state; it is empty again once nobody uses it."""
    with _lock:
        _users.count += 1
    try:
        yield
    finally:
        with _lock:
            _users.count -= 1
            if not _users.count:
                BackendDict.reset()
                reset_model_data()
