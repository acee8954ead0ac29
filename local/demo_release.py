"""Scenes of release: the enclave's process boots behind the parent's, and KMS releases the model's key to it alone."""

from collections.abc import Iterator
from typing import Final

from local.demo_stage import DENIED, EPOCH, Stage, shown
from local.deployment import Enclave
from local.scene import PUBLISHED, RELEASED, OtherVerdict, Scene
from pcrgate.cli.output import progress
from service.state_store import Role

PORT: Final = 0
"""Any free one."""


def release_scenes(stage: Stage) -> Iterator[Scene]:
    """Yield the scenes in order."""
    yield Scene(
        title="sealed model and signed manifest, put into the parent's service",
        expected=PUBLISHED,
        play=lambda: publish(stage),
        success=PUBLISHED,
        has_bar=True,
        essential=True,
    )
    yield Scene(
        title="this checkout's enclave boots, and asks KMS",
        expected=RELEASED,
        play=lambda: boot(stage),
        success=RELEASED,
        essential=True,
    )
    yield Scene(
        title="the parent itself asks KMS, without a recipient",
        expected=DENIED,
        play=lambda: release_to_the_parent(stage),
        success=RELEASED,
    )


def publish(stage: Stage) -> str:
    """Start the parent, and publish; return the fact to show."""
    deployment = stage.deployment
    deployment.start_parent(PORT)
    total = len(stage.sealed.message)
    with progress() as bar:
        task = bar.add_task("publishing", total=total)
        deployment.publish(stage.sealed, epoch=EPOCH, progress=lambda done: bar.update(task, completed=done))
    return f"{total:,} bytes and epoch {EPOCH} at {deployment.url}, by the token of a {Role.PUBLISHER.value}"


def boot(stage: Stage) -> str:
    """Start the enclave, and see what KMS recorded; return the fact to show.

    Raises:
        OtherVerdict: the failure that the enclave tells.
    """
    return booted(stage, stage.deployment.start_enclave())


def booted(stage: Stage, enclave: Enclave) -> str:
    """Wait for an enclave's boot to end; return the fact to show.

    Raises:
        OtherVerdict: the failure that the enclave tells.
    """
    status = enclave.wait()
    if status.failure is not None:
        raise OtherVerdict(status.failure, "the enclave failed to boot, and holds nothing")
    attested = stage.attested_pcr0()
    if attested is None or attested != stage.deployment.measured():
        raise OtherVerdict("released-to-another", "KMS recorded no release to the approved measurement")
    return f"live; KMS released the data key to PCR0 {shown(attested)}, encrypted to the enclave's one-time key"


def release_to_the_parent(stage: Stage) -> str:
    """Ask for a wrapped key with the parent's own credentials and no recipient; return the fact to show.

    Raises:
        ClientError: KMS's refusal.
    """
    answer = stage.parent_kms().decrypt(**stage.decrypt_request())
    return f"the parent holds {len(answer['Plaintext'])} bytes of plaintext"
