"""B6 and B8 at the enclave: a KMS that answers for another key, and a parent that comes with credentials of its own.

Each attack is played against the real enclave process; its mutant runs in this process against the same twin.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest
from aws_encryption_sdk.key_providers import kms as sdk_kms

from pcrgate.errors import ErrorCode
from pcrgate.kms import answers
from pcrgate.twin.clients import boto_client, root_credentials
from pcrgate.twin.kms import enforcement, operations_data_keys, operations_encryption
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from pcrgate.units import KeyArn
from service.enclave_link import EnclaveRefusedError
from tests.attacks.hostile_boot import PINS, boots, play, resealed, without
from tests.attacks.hostile_peer import agent_at, agent_of_desk, served
from tests.attacks.mutants import mutant, succeeds
from tests.support.enclave_stage import EnclaveProcess, EnclaveStage, Site
from tests.support.twin_stage import assume, make_role

pytestmark = pytest.mark.network
FOREIGN = "210987654321"
RETURNED = '"KeyId": key.arn,\n            "Plaintext"', '"KeyId": key.arn[:-12] + "0" * 12,\n            "Plaintext"'
RETURNED_NEW = (
    '"KeyId": key.arn,\n            "KeyMaterialId": current_material(key).material_id,\n        }\n        return answer | {"Plaintext"',
    '"KeyId": key.arn[:-12] + "0" * 12,\n        }\n        return answer | {"Plaintext"',
)
COMPARED = 'parsed.get("KeyId") != expected.key_id'


@pytest.fixture(scope="module")
def stage() -> Iterator[EnclaveStage]:
    settings = TwinSettings(https_port=0, http_port=None, other_accounts=(FOREIGN,))
    with tempfile.TemporaryDirectory(prefix="pcrgate-stage-") as folder, Twin(settings) as twin:
        yield EnclaveStage(Path(folder), twin)


def test_b6_the_answer_of_another_key_releases_no_weights(stage: EnclaveStage) -> None:
    with mutant(operations_encryption, *RETURNED):  # the twin answers for a key that nobody asked for
        assert play(stage) == "kms-response"
        with mutant(answers, COMPARED, "False"):
            assert not boots(stage)  # the Encryption SDK compares too
            with mutant(sdk_kms, "returned_key_id != self._key_id", "False"):
                assert boots(stage)


def test_b6_the_answer_of_another_key_makes_no_session(site: Site, enclave: EnclaveProcess) -> None:
    desk = site.boot()[1]
    with mutant(operations_data_keys, *RETURNED_NEW):
        with pytest.raises(EnclaveRefusedError) as refused:
            agent_at(site, enclave.ask).open()
        assert refused.value.code is ErrorCode.KMS_RESPONSE
        assert refused.value.problem.receipt is not None
        assert not succeeds(agent_of_desk(site, desk).open)
        with mutant(answers, COMPARED, "False"):
            assert succeeds(agent_of_desk(site, desk).open)
    served(agent_at(site, enclave.ask).open())


def refused_by_kms(stage: EnclaveStage) -> set[tuple[object, object]]:
    """Return what KMS was asked to release since its trail was cleared, and what it answered."""
    return {
        (record["eventName"], record.get("errorCode"))
        for record in stage.twin.audit.records()
        if record["eventName"] == "Decrypt"
    }


ADMITTED: tuple[ModuleType, str, str] = (enforcement, "if decision.allowed:", "if True:")


def test_b8_credentials_of_another_role(stage: EnclaveStage) -> None:
    """Same account, every KMS action in its own policy: the key's policy does not know the role."""
    stranger = assume(stage.twin, make_role(stage.twin, "stranger", "kms:*"))
    stage.twin.audit.clear()
    assert play(stage, credentials=stranger) == "enclave-release"
    assert refused_by_kms(stage) == {("Decrypt", "AccessDenied")}
    with mutant(*ADMITTED):
        assert boots(stage, credentials=stranger)


def test_b8_credentials_of_another_account(stage: EnclaveStage) -> None:
    """The strongest that the parent can bring: the root user of an account of its own. It is KMS that refuses them."""
    own = root_credentials(stage.twin, FOREIGN)
    stage.twin.audit.clear()
    assert play(stage, credentials=own) == "enclave-release"
    assert refused_by_kms(stage) == {("Decrypt", "AccessDenied")}
    with mutant(*ADMITTED):
        assert boots(stage, credentials=own)


def test_b8_a_key_of_another_account_with_credentials_for_it(stage: EnclaveStage) -> None:
    """With the key in the parent's account its credentials would open it: the pinned ARNs name the account."""
    own = root_credentials(stage.twin, FOREIGN)
    kms = boto_client(stage.twin, "kms", credentials=own)
    key = KeyArn.parse(kms.create_key()["KeyMetadata"]["Arn"])
    assert key.account == FOREIGN
    manifest = resealed(stage, key, kms)
    assert play(stage, manifest=manifest, credentials=own) == "manifest-key-pinned"
    with ExitStack() as stack:
        without(stack, *PINS)
        assert boots(stage, manifest=manifest, credentials=own)
