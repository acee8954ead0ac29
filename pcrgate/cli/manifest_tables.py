"""Manifests on a terminal. Every text in them was chosen by somebody else until the signature was checked."""

from collections.abc import Iterator
from typing import Final

from rich.console import Console

from pcrgate.attestation.report import format_time_ms
from pcrgate.cli.output import console, table
from pcrgate.manifest.constraints import Constraint, Equals, FreeText, IntegerRange, MaxAmount, OneOf, Prefix
from pcrgate.manifest.grants import ActionRule, Argument
from pcrgate.manifest.release import Manifest

_ACTION: Final = ("workload", "action", "arguments", "purposes", "uses")


def show_manifest(manifest: Manifest, title: str, facts: list[tuple[str, str]]) -> None:
    """Print a manifest.

    Args:
        manifest: what to print.
        title: says whether it was verified.
        facts: further lines at the top: name and value.
    """
    out = console()
    session = "none" if manifest.session_key_arn is None else str(manifest.session_key_arn)
    head = [
        ("epoch", str(manifest.epoch)),
        ("issued", format_time_ms(manifest.issued_ms)),
        ("expires", format_time_ms(manifest.expires_ms)),
        ("session key", session),
        *facts,
    ]
    out.print(table(f"Release manifest: {title}", ("field", "value"), head))
    _show_secrets(out, manifest)
    if manifest.agents:
        agents = [(agent.name, agent.public_key.public_bytes.hex()) for agent in manifest.agents]
        out.print(table("Agents", ("agent", "Ed25519 key"), agents))
    granted = [
        (grant.agent, grant.workload, *_action(rule), _uses(grant.max_uses_per_boot), format_time_ms(grant.expires_ms))
        for grant in manifest.grants
        for rule in grant.actions
    ]
    if granted:
        out.print(table("Grants", ("agent", *_ACTION, "all uses", "expires"), granted))
    ruled = [(rules.workload, *_action(rule)) for rules in manifest.rules for rule in rules.actions]
    if ruled:
        out.print(table("Rules for all agents together", _ACTION, ruled))
    if manifest.images:
        images = [
            (image.name, f"PCR{index}", value.hex(), format_time_ms(image.expires_ms))
            for image in manifest.images
            for index, value in image.pcrs.items()
        ]
        out.print(table("Approved images", ("image", "register", "value", "expires"), images))


def _show_secrets(out: Console, manifest: Manifest) -> None:
    for secret in manifest.secrets:
        rows = [
            ("class", secret.secret_class.value),
            ("epoch", str(secret.epoch)),
            ("format", secret.format.value),
            ("key", str(secret.key_arn)),
            ("context", ", ".join(f"{name}={value}" for name, value in secret.encryption_context.items())),
            ("header SHA-384", secret.header_sha384.hex()),
            ("frames SHA-384", secret.frames_sha384.hex()),
            ("plaintext SHA-384", secret.plaintext_sha384.hex()),
            ("plaintext bytes", str(secret.plaintext_bytes)),
            ("workloads", ", ".join(secret.workloads)),
            ("expires", format_time_ms(secret.expires_ms)),
        ]
        out.print(table(f"Secret {secret.name}", ("field", "value"), rows))


def _action(rule: ActionRule) -> tuple[str, str, str, str]:
    return rule.action, "\n".join(_arguments(rule)), ", ".join(rule.purposes), _uses(rule.max_uses_per_boot)


def _arguments(rule: ActionRule) -> Iterator[str]:
    for name, argument in rule.arguments.items():
        yield f"{name}{_mark(argument)} {_constraint(argument.constraint)};"


def _mark(argument: Argument) -> str:
    return "" if argument.required else " (optional)"


def _constraint(constraint: Constraint) -> str:
    match constraint:
        case Equals():
            return f"= {constraint.value!r}"
        case OneOf():
            return "in " + " | ".join(repr(value) for value in constraint.values)
        case Prefix():
            return f"begins {constraint.prefix!r}, {constraint.max_bytes} bytes at most"
        case FreeText():
            return f"any text, {constraint.max_bytes} bytes at most"
        case IntegerRange():
            return f"{constraint.minimum} to {constraint.maximum}{_total(constraint.total_per_boot)}"
        case MaxAmount():
            total = _total(constraint.total_minor_units_per_boot)
            return f"up to {constraint.max_minor_units} minor units of {constraint.currency}{total}"


def _total(total: int | None) -> str:
    return "" if total is None else f", {total} in all per boot"


def _uses(uses: int | None) -> str:
    return "unlimited" if uses is None else f"{uses} per boot"
