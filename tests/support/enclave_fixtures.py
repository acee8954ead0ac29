"""Fixtures of a stage, a parent and a live enclave process, one of each a file of tests; named where they are used."""

from collections.abc import Iterator

import pytest

from tests.support.enclave_stage import EnclaveProcess, EnclaveStage, Site, open_site, open_stage, running


@pytest.fixture(scope="module")
def stage() -> Iterator[EnclaveStage]:
    with open_stage() as found:
        yield found


@pytest.fixture(scope="module")
def site(stage: EnclaveStage) -> Iterator[Site]:
    with open_site(stage) as found:
        yield found


@pytest.fixture(scope="module")
def enclave(site: Site) -> Iterator[EnclaveProcess]:
    with running(site) as process:
        assert process.wait("live").failure is None
        yield process
        assert process.stop() == (b"", b"")
