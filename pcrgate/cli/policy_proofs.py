"""Show proofs and counterexamples: as JSON for machines, as sentences for people."""

import json
from collections.abc import Mapping
from typing import Final

import typer

from kms_policies.prover_proof import Counterexample, Proof, Verdict
from kms_policies.prover_tiers import Tier
from kms_policies.request import Request
from pcrgate.cli.output import console, table
from pcrgate.cli.text import printable

_LEADS_TO: Final = {
    Tier.PLAINTEXT: "gets plaintext without an approved attestation",
    Tier.ESCALATION: "can make plaintext come out later",
    Tier.AVAILABILITY: "can make the key unusable",
    Tier.MINTING: "can make new ciphertexts",
}


def overall(proofs: Mapping[str, Proof]) -> str:
    """Return the verdict over several proofs: proven only when all are, else the gravest."""
    if all(proof.proven for proof in proofs.values()):
        return str(Verdict.PROVEN.value)
    found = any(
        Verdict.COUNTEREXAMPLE
        in {proof.plaintext, proof.escalation, *([proof.availability] if proof.availability_matters else [])}
        for proof in proofs.values()
    )
    return str((Verdict.COUNTEREXAMPLE if found else Verdict.UNKNOWN).value)


def describe_proof(address: str, proof: Proof) -> dict[str, object]:
    """Return a proof as JSON."""
    return {
        "address": address,
        "proven": proof.proven,
        "plaintext": proof.plaintext.value,
        "escalation": proof.escalation.value,
        "availability": proof.availability.value,
        "availability_matters": proof.availability_matters,
        "counterexamples": [describe_counterexample(one) for one in failing(proof)],
        "not_asked_for": [describe_counterexample(one) for one in proof.counterexamples if one not in failing(proof)],
        "incomplete": proof.incomplete,
        "trust_anchors": [
            {
                "principal": one.principal,
                "actions": list(one.actions),
                "declared": one.declared,
                "statement": one.statement,
            }
            for one in proof.trust_anchors
        ],
        "can_mint": [
            {"principal": one.principal, "actions": list(one.actions), "statement": one.statement}
            for one in proof.can_mint
        ],
        "assumptions": list(proof.assumptions),
        "approximations": list(proof.approximations),
        "ruled_out": list(proof.ruled_out),
        "unknown_reason": proof.unknown_reason,
        "total_ms": round(proof.statistics.total_ms, 3),
    }


def failing(proof: Proof) -> list[Counterexample]:
    """Return the counterexamples of the tiers that were asked about; the others are information."""
    return [one for one in proof.counterexamples if one.tier is not Tier.AVAILABILITY or proof.availability_matters]


def describe_counterexample(one: Counterexample) -> dict[str, object]:
    """Return a counterexample as JSON; its request is what ``pcrgate policy explain --request`` reads."""
    return {
        "tier": one.tier.value,
        "class": one.hole.value,
        "request": describe_request(one.request),
        "source": one.source,
        "statement": one.statement,
        "statement_index": one.statement_index,
        "via": one.via,
        "actions_alike": list(one.actions_alike),
        "principals_alike": list(one.principals_alike),
        "replayed": one.replayed,
        "note": one.note,
    }


def describe_request(request: Request) -> dict[str, object]:
    """Return a request as the JSON that ``parse_request`` reads."""
    principal = request.principal
    described: dict[str, object] = {
        "principal": {"service": principal.service} if principal.service else str(principal),
        "action": request.action,
        "key": request.resource,
        "context": {name: value if isinstance(value, str) else list(value) for name, value in request.context.items()},
    }
    if principal.role_arn is not None:
        described["role"] = principal.role_arn
    return described


def show_proof(address: str, proof: Proof, *, brief: bool = False) -> None:
    """Print a proof for a person: the verdict first, then what is wrong, then what it rests on.

    Args:
        address: which policy.
        proof: the proof.
        brief: whether one line does for a policy that is proven.
    """
    typer.echo(f"{printable(address)}: {'proven' if proof.proven else 'NOT proven'}")
    if brief and proof.proven:
        return
    availability = proof.availability.value if proof.availability_matters else "not asked for"
    typer.echo(f"  plaintext {proof.plaintext.value}, escalation {proof.escalation.value}, availability {availability}")
    shown = failing(proof)
    for one in shown:
        _show_counterexample(one)
    for one in proof.counterexamples:
        if one not in shown:
            typer.echo(f"  {_LEADS_TO[one.tier]}: {printable(str(one.request.principal))} by {one.request.action}")
    if proof.unknown_reason:
        typer.echo(f"  the solver gave up: {printable(proof.unknown_reason)}")
    if proof.incomplete:
        typer.echo("  more counterexamples were left out")
    if proof.trust_anchors:
        rows = [
            (one.principal, ", ".join(one.actions), "yes" if one.declared else "NO", one.statement)
            for one in proof.trust_anchors
        ]
        console().print(table("Trust anchors", ["principal", "may", "declared", "by"], rows))
    if proof.can_mint:
        minters = [(one.principal, ", ".join(one.actions), one.statement) for one in proof.can_mint]
        console().print(table("Who can make new ciphertexts", ["principal", "may", "by"], minters))
    for what, sentences in (("assumed", proof.assumptions), ("approximated", proof.approximations)):
        for sentence in sentences:
            typer.echo(f"  {what}: {printable(sentence)}")


def _show_counterexample(one: Counterexample) -> None:
    request = one.request
    carried = {name: value if isinstance(value, str) else list(value) for name, value in request.context.items()}
    lines = [
        f"  counterexample ({one.tier.value}, {one.hole.value}): somebody {_LEADS_TO[one.tier]}",
        f"    principal  {request.principal}",
        f"    action     {request.action}",
        f"    carries    {json.dumps(carried) if carried else 'nothing'}",
        f"    let by     {one.statement} of the {one.source}, {one.via}",
    ]
    if one.actions_alike:
        lines.append(f"    as well    {', '.join(one.actions_alike)}")
    if one.principals_alike:
        lines.append(f"    and for    {', '.join(one.principals_alike)}")
    if one.note:
        lines.append(f"    note       {one.note}")
    if not one.replayed:
        lines.append("    note       this request did not replay in the evaluator; it fails the proof all the same")
    for line in lines:
        typer.echo(printable(line))
