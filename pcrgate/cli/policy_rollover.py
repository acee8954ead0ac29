"""``pcrgate policy rollover``: plan, follow and take the steps that replace one measurement by the next."""

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from kms_policies.document import Policy, PolicyKind, parse_policy
from kms_policies.input_files import parse_pcr
from kms_policies.prover import ApprovedMeasurements, Proof, Question, prove
from kms_policies.rendering import TRAITS
from kms_policies.rollover import MeasurementState, RollOver, approved_pcrs, render_policies
from kms_policies.rollover_files import DOCUMENT_MAX_BYTES, parse_rollover, serialize_rollover, time_text
from kms_policies.rollover_steps import Step, advance, announce, confirm_probe, overdue, plan
from pcrgate.cli.main import EXIT_REFUSED, tell_refusal
from pcrgate.cli.output import STANDARD_INPUT, console, print_json, read_input, table
from pcrgate.cli.policy_files import invalid_is_usage, parse_pairs
from pcrgate.cli.policy_proofs import describe_proof, overall, show_proof
from pcrgate.errors import ErrorCode, KeyPolicyError, UsageError
from pcrgate.units import Sha384

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_FILE = Annotated[str, typer.Argument(metavar="FILE", help="The roll-over document.")]
_AT = Annotated[str | None, typer.Option("--at", metavar="TIME", help="Judge at this RFC 3339 time, not now.")]
_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_REFUSALS = frozenset({ErrorCode.ROLLOVER_TRANSITION, ErrorCode.ROLLOVER_NOT_READY, ErrorCode.ROLLOVER_EXPIRED})


@app.command("plan")
def plan_command(
    file: _FILE,
    *,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", metavar="NAME", help="An admitted measurement that stays.")
    ] = None,
    at: _AT = None,
    as_json: _JSON = False,
) -> None:
    """Print the steps, what the policies of each let be proven, what to wait for, and what can be undone."""
    now = _now(at)
    with invalid_is_usage(as_json=as_json):
        document = _read(file)
        try:
            steps = plan(document, now, keep=frozenset(keep or []))
        except KeyPolicyError as refusal:
            _refused(refusal, as_json=as_json)
            raise
        proofs = [overall(_proofs(step.document, None)) for step in steps]
    if as_json:
        described = [_step(step, verdict) for step, verdict in zip(steps, proofs, strict=True)]
        print_json({"verdict": "proven" if set(proofs) <= {"proven"} else "counterexample", "steps": described})
    elif not steps:
        typer.echo("nothing to do")
    else:
        for step, verdict in zip(steps, proofs, strict=True):
            typer.echo(f"{step.number}. {step.name}: {step.before.value} -> {step.after.value}")
            typer.echo(f"   earliest  {time_text(step.at)}")
            typer.echo(f"   policies  {'change: put them' if step.changes_policies else 'stay as they are'}")
            typer.echo(f"   {verdict:<9} {step.proves}")
            typer.echo(f"   then      {step.then}")
            typer.echo(f"   undo      {step.undo}")
    if not set(proofs) <= {"proven"}:
        raise typer.Exit(EXIT_REFUSED)


@app.command("status")
def status_command(file: _FILE, *, at: _AT = None, as_json: _JSON = False) -> None:
    """Print where every measurement stands, and prove the policies. Exit 1 when one is listed past its end."""
    now = _now(at)
    with invalid_is_usage(as_json=as_json):
        document = _read(file)
        late = {one.name for one in overdue(document, now)}
        proofs = _proofs(document, now)
    verdict = overall(proofs) if proofs else "nothing-listed"
    if as_json:
        print_json(
            {
                "verdict": verdict,
                "overdue": sorted(late),
                "changed": None if document.changed is None else time_text(document.changed),
                "probed": document.probed,
                "measurements": [
                    {
                        "name": one.name,
                        "state": one.state.value,
                        "since": time_text(one.since),
                        "expires": time_text(one.expires),
                        "pcrs": {field: value.hex() for field, value in one.pcrs.items()},
                    }
                    for one in document.measurements
                ],
                "policies": [describe_proof(name, proof) for name, proof in proofs.items()],
            }
        )
    else:
        rows = [
            (
                one.name,
                one.state.value,
                time_text(one.since),
                time_text(one.expires),
                "OVERDUE" if one.name in late else "",
            )
            for one in document.measurements
        ]
        console().print(table("Measurements", ["name", "state", "since", "expires", ""], rows))
        if not document.probed:
            typer.echo("the last policy change is not confirmed: probe, then advance with --probed")
        for name, proof in proofs.items():
            show_proof(name, proof, brief=True)
    if late or verdict not in {"proven", "nothing-listed"}:
        raise typer.Exit(EXIT_REFUSED)


@app.command("advance")
def advance_command(
    file: _FILE,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The measurement.")],
    to: Annotated[MeasurementState, typer.Argument(metavar="STATE", help="admitted, draining or removed.")],
    *,
    probed: Annotated[bool, typer.Option("--probed", help="The last policy change was seen to hold.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Remove a bad image at once, without draining.")] = False,
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="Write here instead of back to FILE; - prints it.")
    ] = None,
    at: _AT = None,
    as_json: _JSON = False,
) -> None:
    """Take one step, prove the policies after it, and only then write the document. Exit 1 when it may not be taken."""
    now = _now(at)
    with invalid_is_usage(as_json=as_json):
        document = _read(file)
        if probed:
            document = confirm_probe(document)
        try:
            after = advance(document, name, to, now, revoke=revoke)
        except KeyPolicyError as refusal:
            _refused(refusal, as_json=as_json)
            raise
        proofs = _proofs(after, None)
    _finish(file, output, after, proofs, as_json=as_json)


@app.command("announce")
def announce_command(
    file: _FILE,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for the measurement.")],
    *,
    pcr: Annotated[list[str], typer.Option("--pcr", metavar="N=HEX", help="A register; 0 for an enclave.")],
    expires: Annotated[str, typer.Option(metavar="TIME", help="RFC 3339; from then on it only leaves.")],
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="Write here instead of back to FILE; - prints it.")
    ] = None,
    at: _AT = None,
    as_json: _JSON = False,
) -> None:
    """Add a measurement that no policy lists yet, so that agents can be told to expect it."""
    now = _now(at)
    with invalid_is_usage(as_json=as_json):
        pcrs: dict[str, Sha384] = {
            f"pcr{index}": parse_pcr(digest, f"PCR{index}") for index, digest in parse_pairs(pcr, "--pcr").items()
        }
        try:
            after = announce(_read(file), name=name, pcrs=pcrs, expires=_moment(expires), now=now)
        except KeyPolicyError as refusal:
            _refused(refusal, as_json=as_json)
            raise
    _finish(file, output, after, {}, as_json=as_json)


@app.command("policies")
def policies_command(
    file: _FILE,
    *,
    directory: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Write NAME.json for every policy here.")
    ] = Path(),
) -> None:
    """Write the policies as the document's states make them."""
    with invalid_is_usage(as_json=False):
        rendered = render_policies(_read(file))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in rendered.items():
            (directory / f"{name}.json").write_text(text + "\n", encoding="utf-8")
            typer.echo(str(directory / f"{name}.json"))
    except OSError as error:
        raise UsageError(
            ErrorCode.USAGE_FILE, f"cannot write to {directory}: {(error.strerror or '').lower()}"
        ) from error


def _read(file: str) -> RollOver:
    return parse_rollover(read_input(file, DOCUMENT_MAX_BYTES))


def _proofs(document: RollOver, now: dt.datetime | None) -> dict[str, Proof]:
    """Prove every key policy for what the document lists; with a time, for what of that has not expired then."""
    if not document.listed:
        return {}
    approved = _approved(document, now)
    found: dict[str, Proof] = {}
    rendered = render_policies(document)
    for policy in document.policies:
        if TRAITS[policy.template].kind is not PolicyKind.KEY:
            continue
        administrators = policy.inputs.get("administrators")
        parsed: Policy = parse_policy(rendered[policy.name], kind=PolicyKind.KEY)
        found[policy.name] = prove(
            Question(
                key_policy=parsed,
                approved=approved,
                administrators=frozenset(map(str, administrators)) if isinstance(administrators, list) else frozenset(),
            )
        )
    return found


def _approved(document: RollOver, now: dt.datetime | None) -> ApprovedMeasurements:
    pcrs = approved_pcrs(document, now)
    if not pcrs:
        raise KeyPolicyError(
            ErrorCode.ROLLOVER_EXPIRED, "every listed measurement has expired, expected one that has not"
        )
    if document.nitrotpm:
        return ApprovedMeasurements(
            nitrotpm=tuple({int(field.removeprefix("pcr")): value for field, value in one.items()} for one in pcrs)
        )
    fields = {field: frozenset(one[field] for one in pcrs) for field in pcrs[0]}
    further = {int(field.removeprefix("pcr")): values for field, values in fields.items() if field != "pcr0"}
    return ApprovedMeasurements(pcr0=fields["pcr0"], further=further)


def _refused(refusal: KeyPolicyError, *, as_json: bool) -> None:
    """End with exit code 1 when a step may not be taken; return for a document that is invalid."""
    if refusal.code not in _REFUSALS:
        return
    if as_json:
        code = refusal.code
        print_json({"verdict": "rejected", "code": code.code, "message": refusal.message, "advice": code.advice})
    tell_refusal(refusal)
    raise typer.Exit(EXIT_REFUSED)


def _finish(file: str, output: str | None, document: RollOver, proofs: dict[str, Proof], *, as_json: bool) -> None:
    """Write the document when its policies are proven, and say what comes next."""
    verdict = overall(proofs)
    target = output or file
    if verdict == "proven":
        _write(target, serialize_rollover(document))
    if as_json:
        policies = [describe_proof(name, proof) for name, proof in proofs.items()]
        print_json({"verdict": verdict, "written": target if verdict == "proven" else None, "policies": policies})
    else:
        for name, proof in proofs.items():
            show_proof(name, proof, brief=True)
        if verdict == "proven" and target != STANDARD_INPUT:
            typer.echo(f"written: {target}")
        if not document.probed:
            typer.echo("next: put the policies (rollover policies), wait, probe, and go on with --probed")
    if verdict != "proven":
        raise typer.Exit(EXIT_REFUSED)


def _write(target: str, text: str) -> None:
    if target == STANDARD_INPUT:
        typer.echo(text, nl=False)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(ErrorCode.USAGE_FILE, f"cannot write {target}: {(error.strerror or '').lower()}") from error


def _step(step: Step, verdict: str) -> dict[str, object]:
    return {
        "number": step.number,
        "name": step.name,
        "from": step.before.value,
        "to": step.after.value,
        "not_before": time_text(step.at),
        "changes_policies": step.changes_policies,
        "verdict": verdict,
        "proves": step.proves,
        "then": step.then,
        "undo": step.undo,
    }


def _now(at: str | None) -> dt.datetime:
    return dt.datetime.now(dt.UTC) if at is None else _moment(at)


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(ErrorCode.USAGE_TIME, "the time is not RFC 3339, like 2026-01-31T12:00:00Z") from error
    if moment.tzinfo is None:
        raise UsageError(ErrorCode.USAGE_TIME, "the time has no offset, expected one like Z or +01:00")
    return moment
