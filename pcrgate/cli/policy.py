"""``pcrgate policy``: render, lint, judge, prove, hash and compare key policies, and roll measurements over.

Exit 0 fine, 1 a verdict against (counterexample, denied, an error found), 2 usage, or a file that is no valid policy.
"""

import json
from enum import Enum
from typing import Annotated, Any, Final

import typer

from kms_policies.difference import compare
from kms_policies.document import PolicyKind
from kms_policies.inputs import KeyPolicyInputs
from kms_policies.lint import lint
from kms_policies.lint_findings import Finding, Severity
from kms_policies.rendering import TRAITS, Template, parse_inputs, render, template_named
from pcrgate.cli.main import EXIT_REFUSED
from pcrgate.cli.output import console, print_json, read_input, table
from pcrgate.cli.policy_files import invalid_is_usage, read_policy, read_sources
from pcrgate.cli.policy_judge import evaluate_command, explain_command
from pcrgate.cli.policy_options import SOURCE, AsJson, File
from pcrgate.cli.policy_prove import prove_command
from pcrgate.cli.policy_rollover import app as rollover_app
from pcrgate.cli.text import printable
from pcrgate.errors import ErrorCode, KeyPolicyError, UsageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(rollover_app, name="rollover", help="Roll measurements over: announce, admit, drain, remove.")

INPUTS_MAX_BYTES: Final = 1_048_576
"""Largest file of template inputs read: the policies they make have at most 32 kB."""
_LISTS: Final = frozenset({"administrators", "key_arns", "parents", "publishers", "workload_accounts"})
_SWITCHES: Final = frozenset({"root_administers", "root_delegation"})


class Kind(Enum):
    """Name how a file is read."""

    KEY = "key"
    IDENTITY = "identity"
    RESOURCE_CONTROL = "resource-control"


_KINDS: Final = {
    Kind.KEY: PolicyKind.KEY,
    Kind.IDENTITY: PolicyKind.IDENTITY,
    Kind.RESOURCE_CONTROL: PolicyKind.RESOURCE_CONTROL,
}


@app.command("render")
def render_command(
    template: Annotated[str, typer.Argument(metavar="TEMPLATE", help=", ".join(each.value for each in Template))],
    *,
    inputs: Annotated[str | None, typer.Option("--input", metavar="FILE", help="The inputs as JSON.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="One input; repeat a name to list several values."),
    ] = None,
    compact: Annotated[bool, typer.Option("--compact", help="Print without white space, as AWS counts it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fill a shipped template, and print the policy."""
    with invalid_is_usage(as_json=as_json):
        chosen = template_named(template)
        typed = parse_inputs(chosen, _inputs(inputs, assignments))
        text = render(chosen, typed)
    warnings = list(typed.warnings) if isinstance(typed, KeyPolicyInputs) else []
    if as_json:
        traits = TRAITS[chosen]
        sizes = {"size_bytes": len(text.encode()), "max_bytes": traits.max_bytes}
        print_json(
            {
                "template": chosen.value,
                "kind": traits.kind.value,
                **sizes,
                "warnings": warnings,
                "policy": json.loads(text),
            }
        )
        return
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(text if compact else json.dumps(json.loads(text), indent=2))


@app.command("lint")
def lint_command(
    file: File,
    *,
    kind: Annotated[Kind, typer.Option(help="What kind of policy it is.")] = Kind.KEY,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what in a policy cannot be meant. Exit 1 when an error was found."""
    with invalid_is_usage(as_json=as_json):
        if kind is Kind.KEY:
            found = {one.address: lint(one.policy) for one in read_sources([file])}
        else:
            found = {"policy": lint(read_policy(file, _KINDS[kind]))}
    least = Severity.WARNING if strict else Severity.ERROR
    bad = any(one.severity <= least for findings in found.values() for one in findings)
    if as_json:
        policies = [
            {"address": address, "findings": [_finding(one) for one in findings]} for address, findings in found.items()
        ]
        print_json({"verdict": "rejected" if bad else "accepted", "policies": policies})
    else:
        for address, findings in found.items():
            rows = [(one.severity.name.lower(), one.code.value, one.where, one.message, one.advice) for one in findings]
            if rows:
                console().print(table(address, ["severity", "code", "where", "what", "advice"], rows))
            else:
                typer.echo(f"{printable(address)}: nothing found")
    if bad:
        raise typer.Exit(EXIT_REFUSED)


app.command("evaluate")(evaluate_command)
app.command("explain")(explain_command)
app.command("prove")(prove_command)


@app.command("digest")
def digest_command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help=SOURCE)], *, as_json: AsJson = False
) -> None:
    """Print the SHA-384 of each policy's text: compares a live policy, or a receipt's, with the one that was proven."""
    with invalid_is_usage(as_json=as_json):
        found = read_sources(files)
    if as_json:
        print_json({"policies": [{"address": one.address, "policy_sha384": one.policy_sha384.hex()} for one in found]})
        return
    for one in found:
        typer.echo(f"{one.policy_sha384.hex()}  {printable(one.address)}")


@app.command("diff")
def diff_command(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="The policy in force.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="The policy proposed.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Say what changed: statements, measurements, and who may do what. Exit 0 the same, 1 different."""
    with invalid_is_usage(as_json=as_json):
        found = compare(read_policy(before, PolicyKind.KEY), read_policy(after, PolicyKind.KEY))
    if as_json:
        print_json(
            {
                "same": found.same,
                "statements": [
                    {
                        "name": one.name,
                        "change": one.kind,
                        "removed": sorted(one.before - one.after),
                        "added": sorted(one.after - one.before),
                    }
                    for one in found.statements
                ],
                "measurements_added": [{"key": key, "value": value} for key, value in found.measurements_added],
                "measurements_removed": [{"key": key, "value": value} for key, value in found.measurements_removed],
                "access": [
                    {
                        "principal": one.principal,
                        "actions": list(one.actions),
                        "before": one.before.value,
                        "after": one.after.value,
                    }
                    for one in found.access
                ],
            }
        )
    elif found.same:
        typer.echo("the same")
    else:
        for change in found.statements:
            typer.echo(f"{change.kind} {printable(change.name)}")
            for sign, words in (("-", change.before - change.after), ("+", change.after - change.before)):
                for word in sorted(words):
                    typer.echo(f"  {sign} {printable(word)}")
        rows = [(one.principal, ", ".join(one.actions), one.before.value, one.after.value) for one in found.access]
        if rows:
            console().print(table("Who may do what", ["principal", "actions", "before", "after"], rows))
    if not found.same:
        raise typer.Exit(EXIT_REFUSED)


def _inputs(file: str | None, assignments: list[str] | None) -> dict[str, object]:
    """Return the inputs of a file, with those set on the command line in their place."""
    found: dict[str, object] = {}
    if file is not None:
        try:
            raw: Any = json.loads(read_input(file, INPUTS_MAX_BYTES))
        except (ValueError, RecursionError):
            raise KeyPolicyError(ErrorCode.POLICY_INPUT, "the inputs are not JSON text in UTF-8") from None
        if not isinstance(raw, dict):
            raise KeyPolicyError(ErrorCode.POLICY_INPUT, "the inputs are not a JSON object")
        found |= raw
    given: dict[str, list[str]] = {}
    for assignment in assignments or []:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(ErrorCode.USAGE_ARGUMENTS, "--set: expected NAME=VALUE")
        given.setdefault(name, []).append(value)
    for name, values in given.items():
        found[name] = values if name in _LISTS or name.startswith("pcr") else _scalar(name, values)
    return found


def _scalar(name: str, values: list[str]) -> object:
    if len(values) > 1:
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, f"--set: {name} takes one value")
    if name in _SWITCHES and values[0] in {"true", "false"}:
        return values[0] == "true"
    if name == "minimum_deletion_window_days" and values[0].isascii() and values[0].isdigit():
        return int(values[0])
    return values[0]


def _finding(one: Finding) -> dict[str, object]:
    return {
        "code": one.code.value,
        "severity": one.severity.name.lower(),
        "statement_index": one.index,
        "sid": one.sid,
        "message": one.message,
        "advice": one.advice,
    }
