"""A stage, a parent and a live enclave process, one of each a file of tests that asks for them."""

from tests.support.enclave_fixtures import enclave, site, stage

__all__ = ["enclave", "site", "stage"]
