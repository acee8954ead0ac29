"""Scenes of tampering: one byte of the enclave is another, so PCR0 is, so KMS refuses; a parent swaps what it keeps."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from local.demo_release import booted
from local.demo_stage import CONTEXT, EPOCH, MODEL, Stage, shown
from local.measurement import ROOT, copy_checkout
from local.processes import kept_environment
from local.scene import RELEASED, OtherVerdict, Scene

CHANGED: Final = Path("enclave", "boot.py")
"""The file in which one byte is changed: the first letter of its documentation."""

EXPLAIN_TIMEOUT_S: Final = 60


class Tampered:
    """Own a copy of the checkout with one byte changed."""

    def __init__(self, stage: Stage) -> None:
        """Take where the copy shall lie; nothing is copied yet."""
        self.root: Final = stage.folder / "tampered"
        self._stage: Final = stage

    def make(self) -> str:
        """Copy, change the byte, measure; return the fact to show.

        Raises:
            OtherVerdict: when PCR0 is the same.
        """
        copy_checkout(self.root, self._stage.checkout)
        tamper(self.root / CHANGED)
        approved, found = self._stage.deployment.measured(), self._stage.deployment.measured(self.root)
        if found == approved:
            raise OtherVerdict("same-pcr0", f"PCR0 is still {shown(found)}")
        return f"one byte of {CHANGED.as_posix()}: PCR0 {shown(approved)} became {shown(found)}"

    def boot(self) -> str:
        """Boot it beside the same parent; return the fact to show.

        Raises:
            OtherVerdict: what KMS recorded of its Decrypt.
        """
        before = len(self._stage.twin.audit.records())
        status = self._stage.deployment.start_enclave("tampered", root=self.root).wait()
        asked = [one for one in self._stage.twin.audit.records()[before:] if one["eventName"] == "Decrypt"]
        if status.failure is None or not asked:
            return booted_or_not(status.failure)
        told = str(asked[-1].get("errorCode") or RELEASED)
        raise OtherVerdict(told, f"{asked[-1].get('errorMessage')}; the enclave failed to boot ({status.failure})")

    def explain(self) -> str:
        """Ask ``pcrgate policy explain`` about the very request; return why.

        Raises:
            OtherVerdict: its verdict.
        """
        made, policy = self._stage.deployment.provisioned, self._stage.folder / "live-policy.json"
        policy.write_text(self._stage.key_policy())
        words = [
            sys.executable, "-m", "pcrgate.cli.main", "policy", "explain", str(policy), "--json",
            "--principal", made.parent, "--action", "kms:Decrypt", "--key", str(made.weights_key),
            "--pcr", f"0={self._stage.deployment.measured(self.root).hex()}",
        ]  # fmt: skip
        for name, value in CONTEXT.items():
            words += ["--encryption-context", f"{name}={value}"]
        done = subprocess.run(
            words, cwd=ROOT, env=kept_environment("HOME", "TMPDIR"), capture_output=True, text=True, check=False,
            timeout=EXPLAIN_TIMEOUT_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode != 0:
            raise OtherVerdict("failed", done.stderr.strip()[-300:])
        found = json.loads(done.stdout)
        facts = [fact for one in found["obstacles"] for fact in one["facts"] if one["denies"]]
        raise OtherVerdict(found["verdict"], "; ".join(dict.fromkeys(facts)) or found["why"])


def booted_or_not(failure: str | None) -> str:
    """Return the fact of an enclave that is live.

    Raises:
        OtherVerdict: of one that failed before it asked KMS.
    """
    if failure is not None:
        raise OtherVerdict(failure, "the enclave failed to boot before it asked KMS")
    return "the enclave is live"


def tamper(path: Path) -> None:
    """Change one byte of a file: the first letter, and nothing that it does."""
    content = bytearray(path.read_bytes())
    first = next(index for index, byte in enumerate(content) if chr(byte).isascii() and chr(byte).isalpha())
    content[first] ^= 0x20
    path.write_bytes(content)


def tampering_scenes(stage: Stage) -> Iterator[Scene]:
    """Yield the scenes in order."""
    tampered = Tampered(stage)
    yield Scene(
        title="one byte of the enclave's files is changed",
        expected="other-pcr0",
        play=tampered.make,
        success="other-pcr0",
    )
    yield Scene(
        title="this enclave boots behind the same parent, and asks KMS",
        expected="AccessDenied",
        play=tampered.boot,
        success=RELEASED,
    )
    yield Scene(
        title="pcrgate policy explain: why?",
        expected="denied",
        play=tampered.explain,
    )


def hostile_scenes(stage: Stage) -> Iterator[Scene]:
    """Yield the scenes in order; every enclave here is of the approved image."""
    stored, honest = stage.deployment.stored_file(), stage.sealed.message
    older = stage.deployment.seal(MODEL, stage.model.plaintext[:-1] + b"\0", epoch=EPOCH - 1).message
    flipped = bytearray(honest)
    flipped[len(flipped) // 2] ^= 1

    def boot_with(content: bytes, name: str) -> str:
        stored.write_bytes(content)
        return booted(stage, stage.deployment.start_enclave(name))

    yield Scene(
        title="the parent swaps the sealed model for an older one of the same publisher",
        expected="weights-digest",
        play=lambda: boot_with(older, "swapped"),
        success=RELEASED,
    )
    yield Scene(
        title="the parent flips one bit in the middle of the sealed model",
        expected="weights-frame",
        play=lambda: boot_with(bytes(flipped), "flipped"),
        success=RELEASED,
    )
    yield Scene(
        title="the parent puts back what was published",
        expected=RELEASED,
        play=lambda: boot_with(honest, "again"),
        success=RELEASED,
    )
