"""Scenes of evidence: a document of the software NSM is accepted once, and refused in every way it is wrong."""

import hashlib
import secrets
import time
from collections.abc import Iterator
from typing import Final

from local.scene import ACCEPTED, Scene
from pcrgate.attestation.anchors import AWS_ROOTS, Roots
from pcrgate.attestation.appraisal import appraise
from pcrgate.attestation.policy import EnclavePolicy, Equal, Expectation, OneOf, ReferenceValue
from pcrgate.attestation.verifier import Live, verify
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import Sha384

LATER_S: Final = 301
"""One second past the default age of evidence for live use."""

NONCE_BYTES: Final = 32


class Laptop:
    """Hold what the scenes share: a development PKI, an enclave's NSM, an agent's nonce and its policy."""

    def __init__(self) -> None:
        """Start an enclave of an image made up for the occasion, and record one document."""
        self.pki: Final = DevPki.ephemeral()
        self.roots: Final = Roots.pinned(self.pki.root_fingerprint)
        self.image: Final = Sha384(hashlib.sha384(b"the demonstration's image").digest())
        self.nonce: Final = secrets.token_bytes(NONCE_BYTES)
        self.document: Final = self.record()

    def record(self, *, image: Sha384 | None = None, debug: bool = False) -> bytes:
        """Return a document that an enclave of this image, or of another, makes for the agent's nonce."""
        nsm = SoftwareNsm(pki=self.pki, pcrs={} if debug else {0: image or self.image}, debug=debug)
        return NsmClient(nsm, roots=self.roots).attestation(nonce=self.nonce).document

    def policy(self, *, nonce: bytes | None = None) -> EnclavePolicy:
        """Return what the agent expects: its image, and its own nonce or another."""
        return EnclavePolicy(
            pcr0=OneOf(values=(ReferenceValue(name="demo-image", value=self.image),)),
            nonce=Equal(value=nonce or self.nonce),
            user_data=Expectation.ABSENT,
            public_key=Expectation.ABSENT,
        )

    def judge(
        self, document: bytes, *, roots: Roots | None = None, policy: EnclavePolicy | None = None, later_s: int = 0
    ) -> str:
        """Verify and appraise as an agent does; return the fact to show.

        Raises:
            EvidenceError: the refusal.
        """
        now_ms = int(time.time() * 1000) + later_s * 1000
        evidence = verify(document, roots or self.roots, Live(now_ms=now_ms))
        result = appraise(evidence, policy or self.policy())
        names = ", ".join(f"PCR{index} is {name}" for index, name in result.matched)
        return f"{names}; {len(result.checks)} checks made, {len(result.omitted)} not made by choice"


def evidence_scenes(laptop: Laptop) -> Iterator[Scene]:
    """Yield the scenes in order: as an agent appraises evidence."""
    document = laptop.document
    other_image = Sha384(hashlib.sha384(b"another image").digest())
    tampered = bytearray(document)
    tampered[document.index(laptop.nonce)] ^= 1
    yield Scene(title="the recorded document", expected=ACCEPTED, play=lambda: laptop.judge(document))
    yield Scene(
        title="one bit of its nonce flipped",
        expected="signature-invalid",
        play=lambda: laptop.judge(bytes(tampered)),
    )
    yield Scene(
        title="an answer to somebody else's nonce",
        expected="nonce-mismatch",
        play=lambda: laptop.judge(document, policy=laptop.policy(nonce=secrets.token_bytes(NONCE_BYTES))),
    )
    yield Scene(
        title="another image",
        expected="pcr-mismatch",
        play=lambda: laptop.judge(laptop.record(image=other_image)),
    )
    yield Scene(
        title="the image in debug mode",
        expected="debug-evidence",
        play=lambda: laptop.judge(laptop.record(debug=True)),
    )
    yield Scene(
        title=f"the document, {LATER_S} seconds later",
        expected="evidence-too-old",
        play=lambda: laptop.judge(document, later_s=LATER_S),
    )
    yield Scene(
        title="the document, with AWS's roots",
        expected="root-unpinned",
        play=lambda: laptop.judge(document, roots=AWS_ROOTS),
    )
