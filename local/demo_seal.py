"""Scenes of sealing: keys that release to nobody, a real model sealed under one; not even its publisher opens it."""

from collections.abc import Iterator

from local.demo_stage import CONTEXT, DENIED, EPOCH, MODEL, SECRET, Stage
from local.scene import PROVISIONED, RELEASED, SEALED, OtherVerdict, Scene
from pcrgate.cli.output import progress

PROBE_BYTES = 4096
"""How much of the model is looked for in the sealed file."""


def seal_scenes(stage: Stage) -> Iterator[Scene]:
    """Yield the scenes in order."""
    yield Scene(
        title="roles, and keys that release to nobody yet",
        expected=PROVISIONED,
        play=lambda: provision(stage),
        success=PROVISIONED,
        essential=True,
    )
    yield Scene(
        title=f"{MODEL}'s model, sealed by the publisher",
        expected=SEALED,
        play=lambda: seal(stage),
        success=SEALED,
        has_bar=True,
        essential=True,
    )
    yield Scene(
        title="the publisher opens what it sealed",
        expected=DENIED,
        play=lambda: open_again(stage),
        success=RELEASED,
    )


def provision(stage: Stage) -> str:
    """Make roles and keys; return the fact to show."""
    stage.provision()
    made = stage.deployment.provisioned
    return f"{made.weights_key} and a key of sessions, by {stage.provisioner.means}"


def seal(stage: Stage) -> str:
    """Seal the model, and see that nothing of it can be read; return the fact to show.

    Raises:
        OtherVerdict: when it can.
    """
    plaintext = stage.model.plaintext
    with progress() as bar:
        task = bar.add_task("sealing", total=len(plaintext))
        stage.sealed = stage.deployment.seal(
            MODEL, plaintext, epoch=EPOCH, progress=lambda done, _total: bar.update(task, completed=done)
        )
    middle = len(plaintext) // 2
    for start in (0, middle, len(plaintext) - PROBE_BYTES):
        if plaintext[start : start + PROBE_BYTES] in stage.sealed.message:
            raise OtherVerdict("readable", "a piece of the model stands in the sealed file")
    return (
        f"{stage.model.name}, {len(plaintext):,} bytes of ONNX; its SHA-384 begins"
        f" {stage.sealed.secret.plaintext_sha384.hex()[:16]}, KMS wrapped the data key"
    )


def open_again(stage: Stage) -> str:
    """Wrap a key as the publisher, and ask for it back; return the fact to show.

    Raises:
        ClientError: KMS's refusal.
    """
    kms = stage.publisher_kms()
    key_arn = str(stage.deployment.provisioned.weights_key)
    stage.blob = kms.encrypt(KeyId=key_arn, Plaintext=SECRET, EncryptionContext=CONTEXT)["CiphertextBlob"]
    return f"the publisher holds {len(kms.decrypt(**stage.decrypt_request())['Plaintext'])} bytes of plaintext"
