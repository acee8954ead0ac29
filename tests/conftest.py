"""What holds for every test: no network unless marked, and Hypothesis that tells how to repeat a failure."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings
from pytest_socket import disable_socket, enable_socket, socket_allow_hosts

# A shell starts background jobs with SIGINT ignored, and children inherit that: tests of Ctrl-C need it as a terminal
# would leave it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LOOPBACK = ["127.0.0.1", "::1", "localhost"]

# A shared machine is slow at times, so no deadline and no complaint about slow data; the examples stay random, and a
# failure prints the blob that repeats it. Hypothesis would derandomize by itself where it sees CI; that finds nothing new.
settings.register_profile(
    "ci",
    derandomize=False,
    deadline=None,
    print_blob=True,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "thorough",
    derandomize=False,
    deadline=None,
    print_blob=True,
    max_examples=5000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Block sockets, except Unix ones, before its fixtures are made; ``network`` tests reach loopback only."""
    if item.get_closest_marker("network"):
        enable_socket()
        socket_allow_hosts(LOOPBACK, allow_unix_socket=True)
    else:
        disable_socket(allow_unix_socket=True)
