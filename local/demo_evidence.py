"""Scenes of attestation: the agent accepts the enclave it asked, and evidence is refused in every way it is wrong."""

import secrets
import time
from collections.abc import Iterator
from typing import Final

from local.demo_stage import Stage
from local.scene import ACCEPTED, Scene
from pcrgate.attestation.anchors import AWS_ROOTS, Roots
from pcrgate.attestation.appraisal import appraise
from pcrgate.attestation.verifier import Live, verify
from pcrgate.client.attesting import Attested
from pcrgate.client.client import Client
from pcrgate.client.trust import TrustPolicy
from pcrgate.envelope.session_identity import parse_identity
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.units import Nonce, Sha384

LATER_S: Final = 301
"""One second past the default age of evidence for live use."""

NONCE_BYTES: Final = 32


class Agent:
    """Hold an agent that asks one enclave, and judges its evidence as the client does."""

    def __init__(self, stage: Stage, client: Client) -> None:
        """Take whom it asks; nothing is asked yet."""
        self._stage: Final = stage
        self._client: Final = client
        self._trust: Final = TrustPolicy.read(stage.deployment.trust_file)
        self._attested: Attested | None = None

    @property
    def attested(self) -> Attested:
        """The enclave, once attested."""
        if self._attested is None:
            self._attested = self._client.attest()
        return self._attested

    def attest(self) -> str:
        """Ask for fresh evidence and appraise it; return the fact to show.

        Raises:
            EvidenceError: the refusal.
        """
        result = self.attested.result
        names = ", ".join(f"PCR{index} is {name.partition(' ')[2]}..." for index, name in result.matched)
        return f"{names}; {len(result.checks)} checks made, root {shown_root(self._trust)} given explicitly"

    def judge(
        self,
        document: bytes,
        *,
        roots: Roots | None = None,
        nonce: bytes | None = None,
        pcr0: Sha384 | None = None,
        later_s: int = 0,
    ) -> str:
        """Verify and appraise by the trust policy, or by one that differs in one thing; return the fact to show.

        Raises:
            EvidenceError: the refusal.
        """
        trust = TrustPolicy(
            roots=roots or self._trust.roots,
            pcr0=(pcr0,) if pcr0 else self._trust.pcr0,
            manifest=self._trust.manifest,
            regions=self._trust.regions,
        )
        evidence = verify(document, trust.roots, Live(now_ms=int(time.time() * 1000) + later_s * 1000))
        statement = parse_identity(self.attested.statement)
        result = appraise(evidence, trust.enclave_policy(statement, Nonce(nonce or self.attested.nonce)))
        return f"{len(result.checks)} checks made"

    def debug_document(self) -> bytes:
        """Return what the same enclave would be given by its NSM in debug mode: all registers zero."""
        nsm = SoftwareNsm(pki=self._stage.twin.pki, pcrs={}, debug=True, clock=self._stage.twin.clock)
        return NsmClient(nsm, roots=self._trust.roots).attestation(nonce=self.attested.nonce).document


def evidence_scenes(stage: Stage, client: Client) -> Iterator[Scene]:
    """Yield the scenes in order; the first makes the document that the others try to pass off as something else."""
    agent = Agent(stage, client)
    yield Scene(
        title="the agent asks the enclave for evidence",
        expected=ACCEPTED,
        play=agent.attest,
        essential=True,
    )
    document = agent.attested.document
    tampered = bytearray(document)
    tampered[document.index(agent.attested.nonce)] ^= 1
    yield Scene(
        title="the same evidence, again by hand",
        expected=ACCEPTED,
        play=lambda: agent.judge(document),
    )
    yield Scene(
        title="one bit of its nonce flipped",
        expected="signature-invalid",
        play=lambda: agent.judge(bytes(tampered)),
    )
    yield Scene(
        title="an answer to somebody else's nonce",
        expected="nonce-mismatch",
        play=lambda: agent.judge(document, nonce=secrets.token_bytes(NONCE_BYTES)),
    )
    yield Scene(
        title="an agent that expects another image",
        expected="pcr-mismatch",
        play=lambda: agent.judge(document, pcr0=Sha384(secrets.token_bytes(48))),
    )
    yield Scene(
        title="an enclave in debug mode",
        expected="debug-evidence",
        play=lambda: agent.judge(agent.debug_document()),
    )
    yield Scene(
        title=f"the evidence, {LATER_S} seconds later",
        expected="evidence-too-old",
        play=lambda: agent.judge(document, later_s=LATER_S),
    )
    yield Scene(
        title="the evidence, with AWS's roots",
        expected="root-unpinned",
        play=lambda: agent.judge(document, roots=AWS_ROOTS),
    )


def shown_root(trust: TrustPolicy) -> str:
    """Return the beginning of the root's fingerprint, for people."""
    return f"{min(trust.roots.fingerprints).hex()[:16]}..."
