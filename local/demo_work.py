"""Scenes of work: the model runs on files of this checkout, payments are validated, and every receipt is verified."""

import functools
from collections.abc import Iterator
from typing import Final

from local.demo_model import INPUT
from local.demo_stage import EPOCH, MODEL, Stage
from local.measurement import ROOT
from local.publishing import PAYEE, PAYMENT_MAX_MINOR_UNITS
from local.scene import ACCEPTED, OtherVerdict, Scene
from pcrgate.attestation.cbor import CborValue, decode
from pcrgate.client.client import Client, Session
from pcrgate.client.outcome import WorkloadRefusalError
from pcrgate.client.work import Action
from pcrgate.receipts.claims import Decision

FILES: Final = {"README.md": "markdown", "enclave/boot.py": "python", "Makefile": "makefile"}
"""Files of the checkout, and what they are."""

WITHIN_MINOR_UNITS: Final = 2_500
BEYOND_MINOR_UNITS: Final = PAYMENT_MAX_MINOR_UNITS + 1


def work_scenes(stage: Stage, client: Client, session: Session) -> Iterator[Scene]:
    """Yield the scenes in order, all in one session."""
    for name, kind in FILES.items():
        asking = functools.partial(infer, stage, session, name)
        yield Scene(title=f"the model says what {name} is", expected=kind, play=asking)
    yield Scene(
        title=f"a payment of {WITHIN_MINOR_UNITS / 100:.2f} EUR, within the limit",
        expected="admitted",
        play=lambda: validate(session, WITHIN_MINOR_UNITS),
    )
    yield Scene(
        title=f"a payment of {BEYOND_MINOR_UNITS / 100:.2f} EUR, one cent beyond it",
        expected="workload-argument",
        play=lambda: validate(session, BEYOND_MINOR_UNITS),
    )
    yield Scene(
        title="all receipts of this boot, as one chain",
        expected=ACCEPTED,
        play=lambda: audit(client, session),
    )


def infer(stage: Stage, session: Session, name: str) -> str:
    """Ask the enclave what a file is; the answer is the verdict.

    Raises:
        OtherVerdict: what it is, once the enclave's scores are those of the model in clear.
    """
    tensor = stage.model.tensor((ROOT / name).read_bytes())
    (output,) = session.infer(MODEL, {INPUT: tensor}).values()
    claims = session.receipts[-1].claims
    if output.data != stage.model.run_outside(tensor):
        raise OtherVerdict("other-scores", "the enclave's scores are not those of the model outside")
    if dict(claims.attested.secret_epochs) != {MODEL: EPOCH}:
        raise OtherVerdict("other-epoch", f"the receipt names {dict(claims.attested.secret_epochs)}")
    label, score = stage.model.label(output)
    fact = f"{score:.1%} sure; the same {len(stage.model.labels)} scores as outside; receipt {claims.observed.sequence}"
    raise OtherVerdict(label, fact)


def validate(session: Session, minor_units: int) -> str:
    """Have a payment validated; the report's decision is the verdict.

    Raises:
        OtherVerdict: the decision.
        WorkloadRefusalError: the enclave's refusal, with its receipt.
    """
    amount: CborValue = {"currency": "EUR", "minor_units": minor_units}
    action = Action(tool="payments.transfer", arguments={"to": PAYEE, "amount": amount}, purpose="invoice")
    try:
        outcome = session.validate(action)
    except WorkloadRefusalError as refusal:
        if refusal.receipt.claims.observed.decision is not Decision.REFUSED:
            raise OtherVerdict("other-receipt", "the receipt of a refusal says something else") from refusal
        raise
    report = decode(outcome.result)
    decision = report.get("decision") if isinstance(report, dict) else None
    sequence = outcome.receipt.claims.observed.sequence
    raise OtherVerdict(str(decision), f"a report signed by the attested key; receipt {sequence}")


def audit(client: Client, session: Session) -> str:
    """Fetch and verify every receipt; return the fact to show.

    Raises:
        ReceiptError: when one is missing or wrong.
        OtherVerdict: when this session's are not among them.
    """
    chain = client.receipts()
    if not {one.digest for one in session.receipts} <= {one.digest for one in chain}:
        raise OtherVerdict("receipt-missing", "a receipt of this session is not in the chain")
    refused = sum(one.claims.observed.decision is Decision.REFUSED for one in chain)
    return f"{len(chain)} receipts without a gap, {refused} of a refusal, each signed by the attested key"
