"""Options that the commands around manifests share: times, pinned keys, drafts read and written."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Final

import typer

from pcrgate.cli.manifest_draft import DRAFT_MAX_BYTES, format_draft, parse_draft, parse_time_ms
from pcrgate.cli.new_file import write_file
from pcrgate.cli.output import read_input
from pcrgate.errors import ErrorCode, ManifestError, UsageError
from pcrgate.manifest.release import Manifest
from pcrgate.manifest.sealed_secret import SealedSecret
from pcrgate.units import KeyArn

DAYS: Final = 90
"""Days until expiry by default: a quarter, so that renewing stays a habit."""

_DAY_MS: Final = 24 * 3600 * 1000

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Expires = Annotated[
    str | None, typer.Option("--expires", metavar="TIME", help=f"RFC 3339 time of expiry; else --days {DAYS}.")
]
Days = Annotated[int | None, typer.Option("--days", metavar="N", help="Days until expiry.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file.")]
Replace = Annotated[bool, typer.Option("--replace", help="Replace the entry of the same name.")]
Pinned = Annotated[
    list[str] | None,
    typer.Option("--pinned-key", metavar="ARN", help="Accept only these KMS keys; needed for multi-Region ones."),
]
Passphrase = Annotated[
    str | None, typer.Option("--passphrase-file", metavar="FILE", help="Passphrase of the private key.")
]
Draft = Annotated[str, typer.Argument(metavar="DRAFT", help="The draft, a JSON file.")]
Workloads = Annotated[
    list[str] | None, typer.Option("--workload", metavar="NAME", help="Who may have it. Repeatable, at least one.")
]


def now_ms() -> int:
    """Return this machine's time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def at_ms(text: str | None) -> int:
    """Return the time that was given, or now.

    Raises:
        UsageError: ``usage-time``.
    """
    if text is None:
        return now_ms()
    try:
        return parse_time_ms(text)
    except ManifestError as error:
        raise UsageError(ErrorCode.USAGE_TIME, error.message) from error


def expiry_ms(expires: str | None, days: int | None) -> int:
    """Return the time of expiry that was given, or so many days from now.

    Raises:
        UsageError: ``usage-time`` for both at once, or days out of range.
    """
    if expires is not None:
        if days is not None:
            raise UsageError(ErrorCode.USAGE_TIME, "--expires and --days are given, expected one of them")
        return at_ms(expires)
    if days is not None and not 1 <= days <= 36_500:
        raise UsageError(ErrorCode.USAGE_TIME, f"{days} days, expected 1 to 36500")
    return now_ms() + (DAYS if days is None else days) * _DAY_MS


def pinned_keys(arns: list[str] | None) -> frozenset[KeyArn] | None:
    """Return the pinned keys, None when none were named."""
    return frozenset(KeyArn.parse(arn) for arn in arns) if arns else None


def require_workloads(workloads: list[str] | None) -> tuple[str, ...]:
    """Return the workloads named.

    Raises:
        UsageError: ``usage-arguments`` for none.
    """
    if not workloads:
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, "no workload is named, expected --workload NAME")
    return tuple(workloads)


def read_draft(name: str) -> Manifest:
    """Return the manifest of a draft file."""
    return parse_draft(read_input(name, DRAFT_MAX_BYTES))


def change_draft(name: str, change: Callable[[Manifest], Manifest]) -> Manifest:
    """Change a draft file, whole or not at all, and return what it holds now."""
    changed = change(read_draft(name))
    write_file(name, format_draft(changed).encode(), force=True)
    return changed


def with_secret(manifest: Manifest, secret: SealedSecret, *, replaces: bool) -> Manifest:
    """Return the manifest with a secret added, or put in the place of the one with its name.

    Raises:
        ManifestError: ``manifest-duplicate``, ``manifest-key-class``, ``manifest-limit``.
    """
    kept = tuple(one for one in manifest.secrets if not (replaces and one.name == secret.name))
    return replace(manifest, secrets=(*kept, secret))
