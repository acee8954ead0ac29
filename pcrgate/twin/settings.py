"""How a twin is started: every choice in one place, each with the value that is closest to what was seen on AWS."""

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, Literal

from pcrgate.errors import ErrorCode, UsageError

DEFAULT_ACCOUNT: Final = "123456789012"
"""The account that moto gives to credentials it does not know; ours uses the same, so that both agree."""

DEFAULT_REGION: Final = "eu-central-1"
"""Region that ``pcrgate twin env`` prints; the twin answers for every Region."""

MAX_DOCUMENT_AGE_S: Final = 300
"""Oldest attestation document accepted, in seconds: what third parties report of KMS, found in no AWS page."""

MAX_PROPAGATION_DELAY_S: Final = 3600
"""Longest propagation delay, in seconds: an hour; AWS speaks of less than a minute, sometimes several."""

_ACCOUNT: Final = re.compile(r"\d{12}", re.ASCII)
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d", re.ASCII)


class ReplayMode(Enum):
    """Say what happens when a document comes a second time while it is fresh."""

    ACCEPTED = "accepted"
    """Release again: what was observed on AWS hardware."""

    REFUSED = "refused"
    """Answer ``ValidationException``: stricter than AWS; shows which client relies on replays."""


class OutageKind(Enum):
    """Say how an outage looks from outside."""

    INTERNAL = "internal"
    DEPENDENCY_TIMEOUT = "dependency-timeout"
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """Allow a burst, then a steady rate; one bucket per account and Region, as AWS's quotas are.

    Attributes:
        rate_per_s: tokens that come back each second, above zero.
        burst: how many requests a full bucket takes, at least one.
    """

    rate_per_s: float
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Let requests fail before anything about them is looked at.

    Attributes:
        kind: what the client sees.
        operations: API names that fail; empty for all.
        remaining: how many requests still fail; None until the outage is lifted.
    """

    kind: OutageKind
    operations: frozenset[str] = frozenset()
    remaining: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeSettings:
    """Choose how the twin behaves where AWS's behaviour varies; may be changed while the twin runs.

    Attributes:
        replay: what happens to a document that was used before.
        propagation_delay_s: how long changes of key policies and grants take to be effective, by the twin's clock.
        throttle: the request quota, None for none.
        outage: the outage in force, None for none.
        latency_ms: added to every KMS request.
    """

    replay: ReplayMode = ReplayMode.ACCEPTED
    propagation_delay_s: float = 0.0
    throttle: Throttle | None = None
    outage: Outage | None = None
    latency_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinSettings:
    """Choose what a twin is, for its whole life.

    Attributes:
        host: address to listen on. The control endpoint answers loopback peers only, wherever the twin listens.
        http_port: port for HTTP, 0 for any free one, None for no HTTP listener.
        https_port: port for HTTPS, 0 for any free one, None for no HTTPS listener.
        region: the Region printed with the exports.
        account: the twelve digits of the account that owns the bootstrap key.
        other_accounts: further accounts that get a bootstrap key, for cross-account tests.
        state_dir: where keys, dev PKI and bootstrap keys persist; None keeps everything in memory.
        seed: makes dev PKI, keys and ciphertexts the same on every start; None for fresh randomness.
        frozen_time_ms: instant at which the twin's clock stands still; None for the machine's clock.
        root_fingerprints: SHA-256 of further trusted roots, 32 bytes each, beside the dev PKI's own. With AWS's roots
            and a frozen clock, recorded documents of real enclaves are accepted.
        max_document_age_s: oldest attestation document accepted.
        content_form: how the ciphertext for recipient holds its content: both forms were seen from AWS.
        modes: behaviour at the start.
    """

    host: str = "127.0.0.1"
    http_port: int | None = 0
    https_port: int | None = None
    region: str = DEFAULT_REGION
    account: str = DEFAULT_ACCOUNT
    other_accounts: tuple[str, ...] = ()
    state_dir: Path | None = None
    seed: bytes | None = None
    frozen_time_ms: int | None = None
    root_fingerprints: frozenset[bytes] = frozenset()
    max_document_age_s: int = MAX_DOCUMENT_AGE_S
    content_form: Literal["chunked", "primitive"] = "chunked"
    modes: ModeSettings = field(default_factory=ModeSettings)

    def __post_init__(self) -> None:
        """Refuse what would start, and then answer in a way that no AWS account does.

        Raises:
            UsageError: ``twin-settings``.
        """
        accounts = (self.account, *self.other_accounts)
        if not all(map(_ACCOUNT.fullmatch, accounts)):
            raise UsageError(ErrorCode.TWIN_SETTINGS, "an account is not twelve digits, expected one like 123456789012")
        if len(set(accounts)) != len(accounts):
            raise UsageError(ErrorCode.TWIN_SETTINGS, "an account is named twice, expected each once")
        if not _REGION.fullmatch(self.region):
            raise UsageError(
                ErrorCode.TWIN_SETTINGS, "the region is not one of AWS's names, expected eu-central-1 or so"
            )
        if self.seed == b"":
            raise UsageError(ErrorCode.TWIN_SETTINGS, "the seed is empty, expected text, or none for a fresh one")
