"""Give any pytest project a KMS twin: fixtures ``kms_twin``, ``nsm`` and ``attested_kms``.

Loaded by pytest through the ``pytest11`` entry point, so nothing heavy is imported until a fixture is asked for, and
``pcrgate`` without its ``twin`` extra disturbs no test run. In ``pytest.ini`` or ``pyproject.toml``,
``kms_twin_scope = session`` shares one twin between all tests (of one xdist worker).
"""

from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mypy_boto3_kms import KMSClient

    from pcrgate.kms.credentials import TemporaryCredentials
    from pcrgate.kms.expectation import ReleaseExpectation
    from pcrgate.twin.nsm import SoftwareNsm
    from pcrgate.twin.server import Twin
    from pcrgate.units import Sha384


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting ``kms_twin_scope``."""
    parser.addini("kms_twin_scope", "how long one KMS twin lives: function or session", default="function")


def _twin_scope(fixture_name: str, config: pytest.Config) -> Literal["function", "session"]:
    scope = str(config.getini("kms_twin_scope"))
    if scope == "function":
        return "function"
    if scope == "session":
        return "session"
    raise pytest.UsageError(f"kms_twin_scope is {scope!r}, expected function or session (fixture {fixture_name})")


@pytest.fixture(scope=_twin_scope)
def kms_twin() -> "Iterator[Twin]":
    """Run a twin on free loopback ports, over HTTP and HTTPS, with all state in memory."""
    from pcrgate.twin.server import Twin  # noqa: PLC0415 - see the module's docstring
    from pcrgate.twin.settings import TwinSettings  # noqa: PLC0415

    with Twin(TwinSettings(http_port=0, https_port=0)) as twin:
        yield twin


@pytest.fixture
def nsm_pcrs() -> "Mapping[int, Sha384]":
    """Return the boot registers of the fixture ``nsm``; override it to measure another image."""
    import hashlib  # noqa: PLC0415
    import types  # noqa: PLC0415

    from pcrgate.units import Sha384  # noqa: PLC0415

    return types.MappingProxyType({0: Sha384(hashlib.sha384(b"pcrgate: the image of a test").digest())})


@pytest.fixture
def nsm(kms_twin: "Twin", nsm_pcrs: "Mapping[int, Sha384]") -> "SoftwareNsm":
    """Return a software NSM whose documents the twin accepts, on the twin's clock."""
    from pcrgate.twin.nsm import SoftwareNsm  # noqa: PLC0415

    return SoftwareNsm(pki=kms_twin.pki, pcrs=nsm_pcrs, clock=kms_twin.clock)


@pytest.fixture
def attested_kms(kms_twin: "Twin", nsm: "SoftwareNsm") -> "Callable[..., KMSClient]":
    """Return a maker of attested KMS clients: ``attested_kms(*expectations, credentials=None)``.

    The expectations say which releases the client may ask for; the credentials are the account's root user's unless
    others are given.
    """
    from pcrgate.twin.clients import attested_client  # noqa: PLC0415

    def make(*expectations: "ReleaseExpectation", credentials: "TemporaryCredentials | None" = None) -> "KMSClient":
        return attested_client(kms_twin, nsm, *expectations, credentials=credentials)

    return make
