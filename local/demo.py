"""The demonstration: seal, provision, release, attest, work; a tampered enclave and a hostile parent are refused.

Each scene asks for a verdict and says beforehand which one must come; a demonstration that goes another way than
announced fails. Nothing in it is staged: twin, Terraform, enclave, parent and client are the ones that are shipped, and
talk over sockets and TLS.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from local.demo_evidence import evidence_scenes
from local.demo_policies import policy_scenes
from local.demo_release import release_scenes
from local.demo_seal import seal_scenes
from local.demo_stage import Stage, open_stage
from local.demo_tampering import hostile_scenes, tampering_scenes
from local.demo_work import work_scenes
from local.interruption import interruptible, without_foreign_settings
from local.scene import Act, Outcome, play
from local.story import Silent, Story
from local.terraform_places import MISSING, find_terraform
from pcrgate.cli.output import print_json


def acts(stage: Stage, stack: ExitStack) -> Iterator[Act]:
    """Yield the acts in order; each begins with what the one before it made."""
    yield Act(name="seal", about="a model is sealed under a key that releases to nobody yet", scenes=seal_scenes(stage))
    yield Act(
        name="provision",
        about="the key's policy names this enclave; is there any other way to the plaintext?",
        scenes=policy_scenes(stage),
    )
    yield Act(
        name="release",
        about=f"the enclave as a process behind the parent's; KMS is {stage.twin.url}",
        scenes=release_scenes(stage),
    )
    client = stack.enter_context(stage.deployment.client())
    yield Act(
        name="attest",
        about="an agent appraises the enclave before it sends anything, and keeps what must not be accepted out",
        scenes=evidence_scenes(stage, client),
    )
    yield Act(
        name="work",
        about="sealed requests and results; the parent sees ciphertext",
        scenes=work_scenes(stage, client, stack.enter_context(client.session())),
    )
    yield Act(
        name="tamper",
        about="an enclave of which one byte is another",
        scenes=tampering_scenes(stage),
    )
    yield Act(
        name="hostile parent",
        about="the parent changes what it keeps; the enclave is the approved one",
        scenes=hostile_scenes(stage),
    )


def run(*, as_json: bool, with_terraform: bool = True) -> int:
    """Play all acts, show them, and return 0 when every verdict was the one announced, else 1.

    Args:
        as_json: print one JSON object at the end, instead of the story.
        with_terraform: provision by Terraform where it is.

    Raises:
        UsageError: ``local-model``.
    """
    began = time.monotonic()
    show = Silent() if as_json else Story()
    played: list[tuple[Act, tuple[Outcome, ...]]] = []
    with (
        interruptible(),
        without_foreign_settings(),
        open_stage(with_terraform=with_terraform) as stage,
        ExitStack() as stack,
    ):
        means = stage.provisioner.means
        show.begin(_beginning(means, with_terraform=with_terraform))
        for number, act in enumerate(acts(stage, stack), start=1):
            show.act(number, act)
            outcomes, ended = _played(act, show)
            played.append((act, outcomes))
            if ended:
                break
    took_s = time.monotonic() - began
    every = [outcome for _, outcomes in played for outcome in outcomes]
    ok = bool(every) and all(outcome.as_announced for outcome in every)
    show.end(played, took_s=took_s)
    if as_json:
        told = [_told(act, outcomes) for act, outcomes in played]
        print_json({"ok": ok, "provisioned_by": means, "took_s": round(took_s, 3), "acts": told})
    return 0 if ok else 1


def _beginning(means: str, *, with_terraform: bool) -> str:
    why = f": {MISSING}" if with_terraform and find_terraform() is None else ""
    return f"Provisioned by {means}{why}."


def _played(act: Act, show: Silent) -> tuple[tuple[Outcome, ...], bool]:
    """Return what came of the scenes, and whether the story ends with one that all others need."""
    outcomes: list[Outcome] = []
    for scene in act.scenes:
        with show.waiting(scene):
            outcome = play(scene)
        outcomes.append(outcome)
        show.outcome(outcome)
        if scene.essential and not outcome.as_announced:
            return tuple(outcomes), True
    return tuple(outcomes), False


def _told(act: Act, outcomes: tuple[Outcome, ...]) -> dict[str, Any]:
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
            for outcome in outcomes
        ],
    }
