"""The demonstration: evidence from the software NSM is accepted once, and refused in every way it is wrong.

Each scene asks the verifier for a verdict and says beforehand which one must come; a demonstration that goes another
way than announced fails.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pcrgate.attestation.anchors import AWS_ROOTS, Roots
from pcrgate.attestation.appraisal import appraise
from pcrgate.attestation.policy import EnclavePolicy, Equal, Expectation, OneOf, ReferenceValue
from pcrgate.attestation.verifier import Live, verify
from pcrgate.cli.output import console, print_json, table
from pcrgate.errors import PcrgateError
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import Sha384

ACCEPTED: Final = "accepted"

LATER_S: Final = 301
"""One second past the default age of evidence for live use."""

NONCE_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Announce one verdict.

    Attributes:
        title: what happens.
        expected: ``accepted``, or the code of the refusal that must come.
        play: asks for the verdict; returns the fact to show, or raises the refusal.
    """

    title: str
    expected: str
    play: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Hold what came of a scene.

    Attributes:
        title: what happened.
        expected: the verdict announced.
        verdict: the verdict that came.
        fact: what the verifier said.
        took_ms: how long the verdict took, milliseconds.
    """

    title: str
    expected: str
    verdict: str
    fact: str
    took_ms: float

    @property
    def as_announced(self) -> bool:
        """Whether the verdict is the one announced."""
        return self.verdict == self.expected


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


def scenes(laptop: Laptop) -> Iterator[Scene]:
    """Yield the scenes in order."""
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


def play(scene: Scene) -> Outcome:
    """Play one scene and return what came of it."""
    start = time.perf_counter()
    try:
        verdict, fact = ACCEPTED, scene.play()
    except PcrgateError as error:
        verdict, fact = error.code.code, error.message
    took_ms = (time.perf_counter() - start) * 1000
    return Outcome(title=scene.title, expected=scene.expected, verdict=verdict, fact=fact, took_ms=took_ms)


def run(*, as_json: bool) -> int:
    """Play all scenes, show them, and return 0 when every verdict was the one announced, else 1."""
    laptop = Laptop()
    outcomes = [play(scene) for scene in scenes(laptop)]
    ok = all(outcome.as_announced for outcome in outcomes)
    if as_json:
        print_json(
            {
                "ok": ok,
                "root_fingerprint": laptop.pki.root_fingerprint.hex(),
                "document_bytes": len(laptop.document),
                "scenes": [
                    {
                        "title": outcome.title,
                        "expected": outcome.expected,
                        "verdict": outcome.verdict,
                        "fact": outcome.fact,
                        "took_ms": round(outcome.took_ms, 3),
                    }
                    for outcome in outcomes
                ],
            }
        )
        return 0 if ok else 1
    show(laptop, outcomes)
    return 0 if ok else 1


def show(laptop: Laptop, outcomes: list[Outcome]) -> None:
    """Print the scenes as a table, and one line that sums them up."""
    out = console()
    out.print(f"recorded {len(laptop.document)} bytes of evidence from the software NSM")
    out.print(f"development root, given explicitly: {laptop.pki.root_fingerprint.hex()}")
    rows = [
        (outcome.title, outcome.verdict, "yes" if outcome.as_announced else "NO", outcome.fact) for outcome in outcomes
    ]
    out.print(table("", ("scene", "verdict", "as announced", "what the verifier said"), rows))
    as_announced = sum(outcome.as_announced for outcome in outcomes)
    out.print(f"{as_announced} of {len(outcomes)} verdicts as announced")
