"""Group ``policy``: how long a proof takes, and what it costs against one decision of the evaluator."""

import json
from typing import Any

from kms_policies.document import Policy, PolicyKind, parse_policy
from kms_policies.evaluator import evaluate
from kms_policies.operations import PLAINTEXT_ACTIONS
from kms_policies.prover import ApprovedMeasurements, Question, prove
from kms_policies.request import Principal, Request, attestation_context
from pcrgate.units import Sha384
from tests.bench.figure import Figure, interleaved
from tests.bench.policy_evaluator import evaluator_figures

TYPICAL_MAX_MS = 25
FIFTY_MAX_MS = 60
FOUR_HUNDRED_MAX_MS = 1500
OVERSIZE_BYTES = 2_000_000
"""Four hundred PCR0 values in every statement are past what KMS stores: the prover is asked anyway."""

ACCOUNT = "111122223333"
ENCLAVE, ADMIN, PUBLISHER = (f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("enclave", "admin", "publisher"))
KEY = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
PCR0 = "kms:RecipientAttestation:PCR0"


def _policy(statements: list[dict[str, Any]]) -> Policy:
    full = [{"Resource": "*", **statement} for statement in statements]
    text = json.dumps({"Version": "2012-10-17", "Statement": full})
    return parse_policy(text, kind=PolicyKind.KEY, max_bytes=OVERSIZE_BYTES)


def measurements(count: int) -> tuple[Sha384, ...]:
    """Return that many different PCR0 values."""
    return tuple(Sha384(i.to_bytes(48, "big")) for i in range(1, count + 1))


def question(count: int, releases: int) -> Question:
    """Return a robust policy with ``count`` approved PCR0 values in each of ``releases`` Allows and as many Denies."""
    pcrs = measurements(count)
    texts = [pcr.hex() for pcr in pcrs]
    operations = sorted(PLAINTEXT_ACTIONS)
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Principal": {"AWS": ADMIN}, "Action": ["kms:PutKeyPolicy", "kms:Describe*"]},
        {"Effect": "Allow", "Principal": {"AWS": PUBLISHER}, "Action": "kms:Encrypt"},
        {"Effect": "Deny", "Principal": "*", "Action": ["kms:CreateGrant", "kms:ReEncrypt*", "kms:ReplicateKey"]},
    ]
    for i in range(releases):
        context = {"StringEquals": {"kms:EncryptionContext:class": f"class-{i}"}}
        allowed = {"StringEqualsIgnoreCase": {PCR0: texts}, **context}
        denied = {"StringNotEqualsIgnoreCase": {PCR0: texts}}
        statements += [
            {"Effect": "Allow", "Principal": {"AWS": ENCLAVE}, "Action": "kms:Decrypt", "Condition": allowed},
            {"Effect": "Deny", "Principal": "*", "Action": operations, "Condition": denied},
        ]
    return Question(
        key_policy=_policy(statements),
        approved=ApprovedMeasurements(pcr0=frozenset(pcrs)),
        administrators=frozenset({ADMIN}),
    )


def figures() -> list[Figure]:
    """Measure proofs of three sizes, a counterexample, and the evaluator on the typical policy."""
    typical, fifty, four_hundred = question(2, 1), question(50, 4), question(400, 10)
    leaking = Question(
        key_policy=_policy(
            [{"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*"}]
        ),
        approved=typical.approved,
    )
    request = Request(
        principal=Principal.from_arn(ENCLAVE),
        action="kms:Decrypt",
        resource=KEY,
        context={**attestation_context({0: measurements(1)[0]}), "kms:EncryptionContext:class": "class-0"},
    )
    measured = interleaved(
        {
            "typical": lambda: prove(typical),
            "leaking": lambda: prove(leaking),
            "fifty": lambda: prove(fifty),
            "four hundred": lambda: prove(four_hundred),
            "evaluator": lambda: evaluate(request, key_policy=typical.key_policy),
        },
        repetitions=11,
    )
    found = [
        Figure.at_most("prove a typical policy", measured["typical"] * 1000, "ms", TYPICAL_MAX_MS),
        Figure.at_most("find every way through the default policy", measured["leaking"] * 1000, "ms", TYPICAL_MAX_MS),
        Figure.at_most("prove 50 PCR0 values in 8 statements", measured["fifty"] * 1000, "ms", FIFTY_MAX_MS),
        Figure.at_most(
            "prove 400 PCR0 values in 20 statements", measured["four hundred"] * 1000, "ms", FOUR_HUNDRED_MAX_MS
        ),
        Figure.plain("prover / one decision", measured["typical"] / measured["evaluator"], "x"),
    ]
    return [*found, *evaluator_figures()]
