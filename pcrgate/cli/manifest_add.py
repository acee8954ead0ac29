"""``pcrgate manifest add``: put entries into a draft, each checked as it comes."""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, TypeVar

import typer

from pcrgate.cli.manifest_ciphertext import describe_ciphertext
from pcrgate.cli.manifest_draft import DRAFT_MAX_BYTES, manifest_json, parse_actions, parse_secret
from pcrgate.cli.manifest_keys import read_public_key
from pcrgate.cli.manifest_options import (
    AsJson,
    Days,
    Draft,
    Expires,
    Replace,
    Workloads,
    change_draft,
    expiry_ms,
    require_workloads,
    with_secret,
)
from pcrgate.cli.output import print_json, read_input
from pcrgate.cli.text import printable
from pcrgate.errors import ErrorCode, UsageError
from pcrgate.manifest.grants import Grant, WorkloadRules
from pcrgate.manifest.release import Agent, ApprovedImage, Manifest
from pcrgate.manifest.sealed_secret import SecretClass, SecretFormat
from pcrgate.units import KeyArn, Sha384

app = typer.Typer(no_args_is_help=True)

_Value = TypeVar("_Value")
_Name = Annotated[str, typer.Option("--name", metavar="NAME", help="A name of letters, digits, dots, hyphens.")]
_Actions = Annotated[str, typer.Option("--actions", metavar="FILE", help="JSON list of actions, as in a draft.")]
_Workload = Annotated[str, typer.Option("--workload", metavar="NAME", help="The workload, such as validate.")]
_Uses = Annotated[int | None, typer.Option("--max-uses-per-boot", metavar="N", help="All actions together.")]


@app.command("secret")
def add_secret(
    draft: Draft,
    *,
    entry: Annotated[str | None, typer.Option(metavar="FILE", help="The entry that pcrgate seal printed.")] = None,
    from_ciphertext: Annotated[
        str | None, typer.Option(metavar="FILE", help="A message of any Encryption SDK; measured, not opened.")
    ] = None,
    plaintext: Annotated[str | None, typer.Option(metavar="FILE", help="What it holds, to be hashed.")] = None,
    plaintext_sha384: Annotated[str | None, typer.Option(metavar="HEX", help="Or its SHA-384.")] = None,
    secret_class: Annotated[SecretClass, typer.Option("--class", help="The class of secret.")] = SecretClass.WEIGHTS,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The secret's name.")] = None,
    epoch: Annotated[int | None, typer.Option(metavar="N", help="The secret's epoch.")] = None,
    file_format: Annotated[SecretFormat | None, typer.Option("--format", help="What the plaintext is.")] = None,
    key_arn: Annotated[str | None, typer.Option(metavar="ARN", help="The key it is sealed under.")] = None,
    context: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Further context beside class, name, epoch.")
    ] = None,
    workload: Workloads = None,
    expires: Expires = None,
    days: Days = None,
    replaces: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Add a secret: the entry that pcrgate seal printed, or a message that some Encryption SDK wrote.

    With --from-ciphertext, the context and the key that the message names must be those given here. Exit 0 added,
    1 refused, 2 usage.
    """
    if entry is not None and from_ciphertext is None:
        secret = parse_secret(read_input(entry, DRAFT_MAX_BYTES))
    elif entry is None and from_ciphertext is not None:
        secret = describe_ciphertext(
            from_ciphertext,
            plaintext=plaintext,
            plaintext_sha384=plaintext_sha384,
            secret_class=secret_class,
            name=_given(name, "--name"),
            epoch=_given(epoch, "--epoch"),
            file_format=_given(file_format, "--format"),
            key_arn=KeyArn.parse(_given(key_arn, "--key-arn")),
            context=context,
            workloads=require_workloads(workload),
            expires_ms=expiry_ms(expires, days),
        )
    else:
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, "expected either --entry FILE or --from-ciphertext FILE")
    _change(draft, lambda manifest: with_secret(manifest, secret, replaces=replaces), f"secret {secret.name}", as_json)


@app.command("agent")
def add_agent(
    draft: Draft,
    *,
    name: _Name,
    public_key: Annotated[str, typer.Option(metavar="HEX|FILE", help="The agent's Ed25519 key.")],
    replaces: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Add an agent by the key it signs with."""
    agent = Agent(name=name, public_key=read_public_key(public_key))

    def change(manifest: Manifest) -> Manifest:
        kept = (one for one in manifest.agents if not (replaces and one.name == name))
        return replace(manifest, agents=(*kept, agent))

    _change(draft, change, f"agent {name}", as_json)


@app.command("grant")
def add_grant(
    draft: Draft,
    *,
    agent: Annotated[str, typer.Option(metavar="NAME", help="Who gets it; an agent of the draft.")],
    workload: _Workload,
    actions: _Actions,
    max_uses_per_boot: _Uses = None,
    expires: Expires = None,
    days: Days = None,
    replaces: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Let an agent use a workload, within the rules of the actions listed."""
    grant = Grant(
        agent=agent,
        workload=workload,
        actions=parse_actions(read_input(actions, DRAFT_MAX_BYTES)),
        expires_ms=expiry_ms(expires, days),
        max_uses_per_boot=max_uses_per_boot,
    )

    def change(manifest: Manifest) -> Manifest:
        kept = (g for g in manifest.grants if not (replaces and (g.agent, g.workload) == (agent, workload)))
        return replace(manifest, grants=(*kept, grant))

    _change(draft, change, f"grant of {workload} to {agent}", as_json)


@app.command("rules")
def add_rules(
    draft: Draft, *, workload: _Workload, actions: _Actions, replaces: Replace = False, as_json: AsJson = False
) -> None:
    """Add what holds of a workload for all agents together."""
    rules = WorkloadRules(workload=workload, actions=parse_actions(read_input(actions, DRAFT_MAX_BYTES)))

    def change(manifest: Manifest) -> Manifest:
        kept = (one for one in manifest.rules if not (replaces and one.workload == workload))
        return replace(manifest, rules=(*kept, rules))

    _change(draft, change, f"rules of {workload}", as_json)


@app.command("image")
def add_image(
    draft: Draft,
    *,
    name: _Name,
    pcr: Annotated[list[str], typer.Option("--pcr", metavar="N=HEX", help="A reference value; PCR0 at least.")],
    expires: Expires = None,
    days: Days = None,
    replaces: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Add the reference values of an approved image."""
    image = ApprovedImage(name=name, pcrs=_registers(pcr), expires_ms=expiry_ms(expires, days))

    def change(manifest: Manifest) -> Manifest:
        kept = (one for one in manifest.images if not (replaces and one.name == name))
        return replace(manifest, images=(*kept, image))

    _change(draft, change, f"image {name}", as_json)


@app.command("session-key")
def add_session_key(
    draft: Draft,
    *,
    key_arn: Annotated[str, typer.Option(metavar="ARN", help="The KMS key of session keys.")],
    as_json: AsJson = False,
) -> None:
    """Name the KMS key of session keys, in place of any other."""
    session_key = KeyArn.parse(key_arn)
    _change(draft, lambda manifest: replace(manifest, session_key_arn=session_key), "session key", as_json)


def _change(draft: str, change: Callable[[Manifest], Manifest], what: str, as_json: bool) -> None:
    changed = change_draft(draft, change)
    if as_json:
        print_json({"verdict": "added", "draft": draft, "manifest": manifest_json(changed)})
    else:
        sys.stdout.write(f"added {printable(what)} to {printable(draft)}\n")


def _given(value: _Value | None, option: str) -> _Value:
    if value is None:
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, f"--from-ciphertext needs {option}, expected it too")
    return value


def _registers(words: list[str]) -> dict[int, Sha384]:
    found: dict[int, Sha384] = {}
    for word in words:
        index, equals, digest = word.partition("=")
        if not equals or not index.isascii() or not index.isdigit() or len(index) > 2 or int(index) in found:
            raise UsageError(ErrorCode.USAGE_PCR_INDEX, "a register is not N=HEX, expected each N once")
        found[int(index)] = Sha384.from_hex(digest)
    return found
