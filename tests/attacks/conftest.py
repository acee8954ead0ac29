"""A stage, a parent, a live enclave process and an agent in session with it, one of each a file of tests."""

import pytest

from tests.attacks.hostile_peer import agent_at
from tests.support.enclave_agent import TestAgent
from tests.support.enclave_fixtures import enclave, site, stage
from tests.support.enclave_stage import EnclaveProcess

__all__ = ["agent", "enclave", "site", "stage"]


@pytest.fixture(scope="module")
def agent(enclave: EnclaveProcess) -> TestAgent:
    return agent_at(enclave.site, enclave.ask).open()
