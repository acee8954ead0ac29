"""``pcrgate receipt``: check receipts offline, with nothing but the bundle and your own reference values."""

from typing import Annotated

import typer

from pcrgate.attestation.anchors import AWS_ROOTS, Roots
from pcrgate.attestation.appraisal import AttestationResult, appraise
from pcrgate.attestation.report import describe_cautions, describe_checks, describe_omitted, format_time_ms
from pcrgate.attestation.verifier import Recorded, verify
from pcrgate.cli.evidence_policy import enclave_policy
from pcrgate.cli.output import console, print_json, read_input, table
from pcrgate.envelope.session_fields import digest
from pcrgate.envelope.session_identity import parse_identity, verify_identity
from pcrgate.errors import ErrorCode, ReceiptError
from pcrgate.receipts.bundle import BUNDLE_MAX_BYTES, parse_bundle
from pcrgate.receipts.envelope import parse_receipt
from pcrgate.receipts.report import describe_claims, describe_receipt
from pcrgate.receipts.verification import VerifiedReceipt, find_gaps, verify_chain, verify_receipt
from pcrgate.receipts.wire import parse_claims
from pcrgate.units import parse_hex

app = typer.Typer(no_args_is_help=True)

_FILE = Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle of receipts; - reads standard input.")]
_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_COLUMNS = ("no.", "issued", "agent", "workload", "decision", "receipt digest")


@app.command("verify")
def verify_command(
    file: _FILE,
    *,
    pcr: Annotated[
        list[str] | None,
        typer.Option("--pcr", metavar="N=HEX|zero", help="Expect a register; repeat one N to accept several values."),
    ] = None,
    request_digest: Annotated[
        str | None, typer.Option(metavar="HEX", help="Expect a receipt about this request in the bundle.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Accept receipts of a boot with others between them; gaps are listed.")
    ] = False,
    insecure_allow_debug: Annotated[
        bool, typer.Option("--insecure-allow-debug", help="Accept an enclave whose memory can be read.")
    ] = False,
    root_fingerprint: Annotated[
        list[str] | None,
        typer.Option("--root-fingerprint", metavar="HEX", help="Pin this root instead of AWS's. Repeatable."),
    ] = None,
    as_json: _JSON = False,
) -> None:
    """Verify the evidence in a bundle against your reference values, and every receipt against the evidence.

    The evidence is judged at its own time: it says which code held the receipt key when the document was made, not
    that the enclave still runs. A receipt's time is the enclave's own. Without --partial the receipts must be the
    whole chain of the boot from its first. Exit 0 accepted, 1 refused, 2 usage.
    """
    pinned = [parse_hex(text, "the root fingerprint") for text in root_fingerprint or ()]
    roots = Roots.pinned(*pinned) if pinned else AWS_ROOTS
    wanted = None if request_digest is None else parse_hex(request_digest, "the request digest")
    bundle = parse_bundle(read_input(file, BUNDLE_MAX_BYTES))
    # (1) the evidence is authentic, commits to the statement, and is of an image that you approved
    statement = parse_identity(bundle.identity)
    policy = enclave_policy(
        pcr or [],
        nonce=None,
        user_data=digest(bundle.identity).hex(),
        public_key=statement.receipt_key,
        insecure_allow_debug=insecure_allow_debug,
    )
    result = appraise(verify(bundle.document, roots, Recorded()), policy)
    # (2) so the statement's keys are that image's
    identity = verify_identity(
        bundle.identity, user_data=result.evidence.user_data, public_key=result.evidence.public_key
    )
    # (3) and the receipts are signed by them
    if partial:
        receipts = tuple(verify_receipt(receipt, identity) for receipt in bundle.receipts)
        gaps = find_gaps(receipts)
    else:
        receipts, gaps = verify_chain(bundle.receipts, identity), ()
    if wanted is not None:
        receipts = _about(receipts, wanted)
    _show(result, receipts, gaps, as_json=as_json)


def _about(receipts: tuple[VerifiedReceipt, ...], wanted: bytes) -> tuple[VerifiedReceipt, ...]:
    found = tuple(receipt for receipt in receipts if receipt.claims.observed.request_digest.digest == wanted)
    if not found:
        raise ReceiptError(ErrorCode.RECEIPT_MISMATCH, "no receipt in the bundle is about this request, expected one")
    return found


def _show(
    result: AttestationResult, receipts: tuple[VerifiedReceipt, ...], gaps: tuple[range, ...], *, as_json: bool
) -> None:
    evidence = result.evidence
    if as_json:
        print_json(
            {
                "verdict": "accepted",
                "code": None,
                "evidence": {
                    "module_id": evidence.module_id,
                    "attested_at": format_time_ms(evidence.timestamp_ms),
                    "document_sha384": evidence.document_sha384.hex(),
                    "matched": {str(index): name for index, name in result.matched},
                    "checks": describe_checks(result.checks),
                    "not_checked": describe_omitted(result.omitted),
                    "warnings": describe_cautions(result.cautions),
                },
                "receipts": [describe_receipt(receipt) for receipt in receipts],
                "missing": [[gap.start, gap.stop - 1] for gap in gaps],
            }
        )
        return
    out = console()
    out.print(f"accepted: {len(receipts)} of {evidence.module_id}", style="bold green")
    out.print(f"key attested at {format_time_ms(evidence.timestamp_ms)}; that the enclave still runs is not said")
    for caution in result.cautions:
        out.print(f"warning: {caution.label}: {caution.detail}", style="yellow")
    for gap in gaps:
        out.print(f"missing: receipts {gap.start} to {gap.stop - 1}", style="yellow")
    out.print(table("Receipts", _COLUMNS, [_row(receipt) for receipt in receipts]))
    omitted = [(entry.check.number, entry.subject, entry.reason) for entry in result.omitted]
    out.print(table("Evidence: not checked", ("no.", "subject", "why"), omitted))


def _row(receipt: VerifiedReceipt) -> tuple[object, ...]:
    observed = receipt.claims.observed
    decision = f"{observed.decision.value}{f' ({observed.code})' if observed.code else ''}"
    return (
        observed.sequence,
        format_time_ms(observed.issued_s * 1000),
        observed.agent_id or "unknown",
        observed.workload or "none",
        decision,
        receipt.digest.hex(),
    )


@app.command()
def show(file: _FILE, *, as_json: _JSON = False) -> None:
    """Print what the receipts of a bundle claim; no signature and no evidence is checked.

    Exit 0 readable, 1 refused, 2 usage.
    """
    bundle = parse_bundle(read_input(file, BUNDLE_MAX_BYTES))
    claims = [describe_claims(parse_claims(parse_receipt(receipt).payload)) for receipt in bundle.receipts]
    if as_json:
        print_json({"verdict": "unverified", "code": None, "unverified_receipts": claims})
        return
    console().print("unverified: what follows is what the bundle claims", style="bold yellow")
    for entry in claims:
        rows = [
            (label, name, value)
            for label, fields in entry.items()
            if isinstance(fields, dict)
            for name, value in fields.items()
        ]
        console().print(table("Receipt", ("label", "claim", "value"), rows))
