"""The five outcomes that were seen on AWS hardware, each as its own test, and replay in both modes.

The table was published with a hardware run of an enclave in non-debug mode against AWS KMS, under a key policy with a
PCR0 condition: right PCR0 releases, wrong PCR0 and no recipient are AccessDenied, random bytes and one changed byte
are ValidationException, a replayed document releases again.
"""

import os
from collections.abc import Mapping

import pytest

from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import ModeSettings, ReplayMode
from pcrgate.units import Sha384
from tests.support.twin_stage import PLAINTEXT, Stage, document, opened, recipient, refusal, set_stage, spki_der

pytestmark = pytest.mark.network


@pytest.fixture
def stage(kms_twin: Twin, nsm_pcrs: Mapping[int, Sha384]) -> Stage:
    return set_stage(kms_twin, nsm_pcrs[0])


def test_right_pcr0_is_released_to_the_recipient_alone(stage: Stage, nsm: SoftwareNsm) -> None:
    answer = stage.decrypt(Recipient=recipient(document(nsm, spki_der())))
    assert "Plaintext" not in answer
    assert opened(answer["CiphertextForRecipient"]) == PLAINTEXT
    assert answer["KeyId"] == stage.key_arn


def test_wrong_pcr0_is_denied(stage: Stage) -> None:
    other = SoftwareNsm(pki=stage.twin.pki, pcrs={0: Sha384(b"\xee" * 48)}, clock=stage.twin.clock)
    code, message = refusal(stage.decrypt, Recipient=recipient(document(other, spki_der())))
    assert code == "AccessDeniedException"
    assert message.endswith("with an explicit deny in a resource-based policy")


def test_without_recipient_it_is_denied(stage: Stage) -> None:
    code, _ = refusal(stage.decrypt)
    assert code == "AccessDeniedException"


@pytest.mark.parametrize("length", [1, 100, 4096, 16384])
def test_random_bytes_are_invalid(stage: Stage, length: int) -> None:
    code, _ = refusal(stage.decrypt, Recipient=recipient(os.urandom(length)))
    assert code == "ValidationException"


@pytest.mark.parametrize("position", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_one_flipped_byte_is_invalid(stage: Stage, nsm: SoftwareNsm, position: float) -> None:
    changed = bytearray(document(nsm, spki_der()))
    changed[int(len(changed) * position)] ^= 0x01
    code, _ = refusal(stage.decrypt, Recipient=recipient(bytes(changed)))
    assert code == "ValidationException"


def test_a_replay_is_released_again_as_on_hardware(stage: Stage, nsm: SoftwareNsm) -> None:
    sent = recipient(document(nsm, spki_der()))
    first, second = stage.decrypt(Recipient=sent), stage.decrypt(Recipient=sent)
    assert first["CiphertextForRecipient"] != second["CiphertextForRecipient"]
    assert opened(second["CiphertextForRecipient"]) == PLAINTEXT


def test_a_replay_is_invalid_where_replays_are_refused(stage: Stage, nsm: SoftwareNsm) -> None:
    stage.twin.modes.change(ModeSettings(replay=ReplayMode.REFUSED))
    sent = recipient(document(nsm, spki_der()))
    assert "CiphertextForRecipient" in stage.decrypt(Recipient=sent)
    code, message = refusal(stage.decrypt, Recipient=sent)
    assert (code, message) == ("ValidationException", "The attestation document has been used before.")
    assert "CiphertextForRecipient" in stage.decrypt(Recipient=recipient(document(nsm, spki_der(key=None))))
