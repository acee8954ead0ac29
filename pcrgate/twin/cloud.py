"""moto's state, which is one a process: whoever leaves it last clears it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data

_lock = threading.Lock()
_users: list[object] = []


@contextmanager
def shared_cloud() -> Iterator[None]:
    """Use moto's state; it is empty again once nobody uses it."""
    user = object()
    with _lock:
        _users.append(user)
    try:
        yield
    finally:
        with _lock:
            _users.remove(user)
            if not _users:
                BackendDict.reset()
                reset_model_data()
