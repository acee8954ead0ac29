"""``pcrgate policy evaluate`` and ``explain``: one request, decided as KMS would, and what would change it."""

from collections.abc import Callable, Mapping

import typer

from kms_policies.decision import Decision
from kms_policies.document import PolicyKind
from kms_policies.evaluator import evaluate
from kms_policies.explanation import Explanation, explain
from kms_policies.request import Request
from pcrgate.cli.main import EXIT_REFUSED
from pcrgate.cli.output import print_json
from pcrgate.cli.policy_files import (
    invalid_is_usage,
    read_controls,
    read_grants,
    read_identities,
    read_metadata,
    read_policy,
)
from pcrgate.cli.policy_options import (
    Action,
    AsJson,
    Context,
    Control,
    Encryption,
    Evidence,
    File,
    Grants,
    Identity,
    Key,
    Metadata,
    NitroTpmPcr,
    Pcr,
    PrincipalName,
    RequestFile,
    Root,
)
from pcrgate.cli.policy_proofs import describe_request
from pcrgate.cli.policy_requests import request_from_options
from pcrgate.cli.text import printable


def _judging(show: Callable[[Request, "_Judge", bool], None]) -> Callable[..., None]:
    """Return a command with the options that say what is asked and what it is judged by, written once.

    Args:
        show: takes the request, what judges it, and whether JSON is wanted; its first line is the command's help.
    """

    def command(
        file: File,
        *,
        request: RequestFile = None,
        principal: PrincipalName = None,
        action: Action = None,
        key: Key = None,
        encryption_context: Encryption = None,
        context: Context = None,
        pcr: Pcr = None,
        nitrotpm_pcr: NitroTpmPcr = None,
        evidence: Evidence = None,
        root_fingerprint: Root = None,
        identity: Identity = None,
        grants: Grants = None,
        key_metadata: Metadata = None,
        resource_control: Control = None,
        as_json: AsJson = False,
    ) -> None:
        with invalid_is_usage(as_json=as_json):
            asked = request_from_options(
                request=request, principal=principal, action=action, key=key, encryption=encryption_context,
                context=context, pcr=pcr, nitrotpm_pcr=nitrotpm_pcr, evidence=evidence,
                root_fingerprint=root_fingerprint,
            )  # fmt: skip
            show(asked, _Judge(file, identity, grants, key_metadata, resource_control), as_json)

    command.__doc__ = show.__doc__
    return command


class _Judge:
    """Judge requests against one policy and what goes with it."""

    def __init__(
        self, file: str, identity: list[str] | None, grants: str | None, metadata: str | None, control: list[str] | None
    ) -> None:
        self._policy = read_policy(file, PolicyKind.KEY)
        self._identities = read_identities(identity)
        self._grants = read_grants(grants)
        self._key = read_metadata(metadata)
        self._controls = read_controls(control)

    def __call__(self, request: Request) -> Decision:
        names = ("*", request.principal.identity_arn, request.principal.arn)
        attached = [policy for name in dict.fromkeys(names) if name for policy in self._identities.get(name, ())]
        return evaluate(
            request,
            key_policy=self._policy,
            identity_policies=attached,
            grants=self._grants,
            key=self._key,
            resource_control_policies=self._controls,
        )


def _decision(decision: Decision) -> dict[str, object]:
    return {
        "verdict": "allowed" if decision.allowed else "denied",
        "outcome": decision.outcome.value,
        "source": decision.source,
        "statement": None if decision.statement is None else decision.statement.label,
        "grant": None if decision.grant is None else decision.grant.grant_id,
        "why": decision.why,
    }


def _explanation(found: Explanation) -> Mapping[str, object]:
    return {
        "obstacles": [
            {
                "source": one.source,
                "statement_index": one.index,
                "sid": one.sid,
                "denies": one.denies,
                "facts": list(one.facts),
            }
            for one in found.obstacles
        ],
        "changes": list(found.changes),
        "works": found.works,
        "advice": found.advice,
    }


def _show_explanation(found: Explanation) -> None:
    typer.echo(f"{'allowed' if found.decision.allowed else 'denied'}: {printable(found.decision.why)}")
    for one in found.obstacles:
        name = one.sid or f"statement {one.index}"
        typer.echo(f"  {'denies' if one.denies else 'falls short'}: {printable(name)} of the {printable(one.source)}")
        for fact in one.facts:
            typer.echo(f"    {printable(fact)}")
    for change in found.changes:
        typer.echo(f"  change: {printable(change)}")
    typer.echo(f"  {printable(found.advice)}")


def _evaluate(asked: Request, judge: _Judge, as_json: bool) -> None:
    """Decide one request as KMS would. Exit 0 allowed, 1 denied."""
    decision = judge(asked)
    if as_json:
        print_json({"request": describe_request(asked), **_decision(decision)})
    else:
        typer.echo(f"{'allowed' if decision.allowed else 'denied'}: {printable(decision.why)}")
    if not decision.allowed:
        raise typer.Exit(EXIT_REFUSED)


def _explain(asked: Request, judge: _Judge, as_json: bool) -> None:
    """Say why a request is denied and what would change it. Exit 0 also when it is denied."""
    found = explain(asked, judge)
    if as_json:
        print_json({"request": describe_request(asked), **_decision(found.decision), **_explanation(found)})
    else:
        _show_explanation(found)


evaluate_command = _judging(_evaluate)
explain_command = _judging(_explain)
