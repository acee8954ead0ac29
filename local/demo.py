"""The demonstration: evidence is appraised, a key policy is proven, and a KMS that enforces both releases a data key.

Each scene asks for a verdict and says beforehand which one must come; a demonstration that goes another way than
announced fails. Nothing in it is staged: the verifier, the prover, the enclave's KMS client and the twin are the ones
that are shipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from local.demo_evidence import Laptop, evidence_scenes
from local.demo_policies import policy_scenes
from local.demo_release import Account, release_scenes
from local.scene import Outcome, Scene, play
from pcrgate.cli.output import console, print_json, table
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Hold what came of the scenes of one part.

    Attributes:
        name: which part.
        about: one line on what it is judged by.
        outcomes: what came, in order.
    """

    name: str
    about: str
    outcomes: tuple[Outcome, ...]


def acts() -> Iterator[Act]:
    """Play the acts in order, each with what the one before it made."""
    laptop = Laptop()
    yield Act(
        name="evidence",
        about=f"{len(laptop.document)} bytes by the software NSM; root, given explicitly: "
        f"{laptop.pki.root_fingerprint.hex()}",
        outcomes=_play(evidence_scenes(laptop)),
    )
    with Twin(TwinSettings(http_port=None, https_port=0)) as twin:
        account = Account(twin, laptop.image)
        yield Act(
            name="key policy",
            about="is there any request that gets plaintext without an approved attestation?",
            outcomes=_play(policy_scenes(account.roles, account.image)),
        )
        yield Act(
            name="release",
            about=f"a KMS on {twin.url} under the policy that was proven",
            outcomes=_play(release_scenes(account)),
        )


def _play(scenes: Iterator[Scene]) -> tuple[Outcome, ...]:
    return tuple(play(scene) for scene in scenes)


def run(*, as_json: bool) -> int:
    """Play all acts, show them, and return 0 when every verdict was the one announced, else 1."""
    played: list[Act] = []
    for act in acts():
        played.append(act)
        if not as_json:
            show(act)
    outcomes = [outcome for act in played for outcome in act.outcomes]
    as_announced = sum(outcome.as_announced for outcome in outcomes)
    ok = as_announced == len(outcomes)
    if as_json:
        print_json({"ok": ok, "acts": [describe(act) for act in played]})
    else:
        console().print(f"{as_announced} of {len(outcomes)} verdicts as announced")
    return 0 if ok else 1


def describe(act: Act) -> dict[str, object]:
    """Return an act as JSON."""
    return {
        "name": act.name,
        "about": act.about,
        "scenes": [
            {
                "title": outcome.title,
                "expected": outcome.expected,
                "verdict": outcome.verdict,
                "fact": outcome.fact,
                "took_ms": round(outcome.took_ms, 3),
            }
            for outcome in act.outcomes
        ],
    }


def show(act: Act) -> None:
    """Print the scenes of an act as a table."""
    rows = [
        (outcome.title, outcome.verdict, "yes" if outcome.as_announced else "NO", outcome.fact)
        for outcome in act.outcomes
    ]
    out = console()
    out.print(f"{act.name}: {act.about}")
    out.print(table("", ("scene", "verdict", "as announced", "what was said"), rows))
