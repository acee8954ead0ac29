"""A scene of the demonstration: what happens, the verdict that must come of it, and the one that came."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from botocore.exceptions import ClientError

from pcrgate.errors import PcrgateError

ACCEPTED: Final = "accepted"
PROVEN: Final = "proven"
RELEASED: Final = "released"
PROVISIONED: Final = "provisioned"
SEALED: Final = "sealed"
APPROVED: Final = "approved"
PUBLISHED: Final = "published"


class OtherVerdict(Exception):  # noqa: N818 - a verdict, not an error
    """Carry a verdict that is no error of pcrgate's: the kind of hole a prover found, what a model says of a file."""

    def __init__(self, verdict: str, fact: str) -> None:
        super().__init__(verdict, fact)
        self.verdict: Final = verdict
        self.fact: Final = fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Announce one verdict.

    Attributes:
        title: what happens.
        expected: the verdict that must come: that of success, or the code of the refusal.
        play: asks for the verdict; returns the fact to show, or raises the refusal.
        success: the verdict when nothing is raised.
        has_bar: whether it shows its progress by itself.
        essential: whether the story ends here when another verdict comes: nothing after it could be played.
    """

    title: str
    expected: str
    play: Callable[[], str]
    success: str = ACCEPTED
    has_bar: bool = False
    essential: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Hold what came of a scene.

    Attributes:
        title: what happened.
        expected: the verdict announced.
        verdict: the verdict that came.
        fact: what was said with it.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Hold one part of the story.

    Attributes:
        name: which.
        about: one line on what happens in it.
        scenes: played one after the other.
    """

    name: str
    about: str
    scenes: Iterator[Scene]


def play(scene: Scene) -> Outcome:
    """Play one scene and return what came of it: refusals of pcrgate, the prover and KMS are outcomes, too."""
    start = time.perf_counter()
    try:
        verdict, fact = scene.success, scene.play()
    except PcrgateError as error:
        verdict, fact = error.code.code, error.message
    except OtherVerdict as other:
        verdict, fact = other.verdict, other.fact
    except ClientError as error:
        verdict, fact = error.response["Error"]["Code"], error.response["Error"]["Message"]
    took_ms = (time.perf_counter() - start) * 1000
    return Outcome(title=scene.title, expected=scene.expected, verdict=verdict, fact=fact, took_ms=took_ms)
