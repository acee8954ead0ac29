"""No proof is ever contradicted by a request: random policies, and for each proven one hundreds of random requests."""

import random
from collections import Counter

import pytest

from kms_policies.evaluator import evaluate
from kms_policies.operations import ATTESTABLE_ACTIONS, PLAINTEXT_ACTIONS
from kms_policies.prover import Verdict, prove
from kms_policies.prover_counterexample import FULL_ACCESS
from kms_policies.prover_universe import Universe
from kms_policies.request import Request
from tests.properties.prover_grammar import Case, random_case, random_request

POLICIES, PROBES = 60, 400
SEEDS = (20240607, 1, 2, 3)
RULED_OUT = {"kms:ReplicateKey", "kms:ImportKeyMaterial"}


def allowed(case: Case, request: Request) -> bool:
    """Whether the evaluator allows a request, identity policies being what the question says of them."""
    question, principal = case.question, request.principal
    identity = (FULL_ACCESS,)
    if principal.account in question.identity_complete:
        identity = question.identity_policies.get(principal.role_arn or str(principal.arn), ())  # type: ignore[assignment]
    return evaluate(request, key_policy=question.key_policy, identity_policies=identity, grants=question.grants).allowed


def contradicts(case: Case, request: Request, plaintext: Verdict, escalation: Verdict) -> bool:
    """Whether an allowed request would contradict what was proven."""
    if request.action in PLAINTEXT_ACTIONS:
        attested = request.folded.get("kms:recipientattestation:pcr0") in case.approved
        return plaintext is Verdict.PROVEN and not (attested and request.action in ATTESTABLE_ACTIONS)
    declared = request.principal.role_arn in case.question.administrators
    return escalation is Verdict.PROVEN and not declared and request.action not in RULED_OUT


@pytest.mark.parametrize("seed", SEEDS)
def test_no_proof_is_contradicted(seed: int) -> None:
    rng = random.Random(seed)
    seen = Counter[str]()
    for _ in range(POLICIES):
        case = random_case(rng)
        proof = prove(case.question)
        seen["counterexamples"] += len(proof.counterexamples)
        seen["replayed"] += sum(one.replayed for one in proof.counterexamples)
        for verdict in (proof.plaintext, proof.escalation):
            seen[verdict.value] += 1
        assert proof.proven or not {Verdict.PROVEN} >= {proof.plaintext, proof.escalation}
        if Verdict.PROVEN not in {proof.plaintext, proof.escalation}:
            continue
        key_arn = Universe(case.question).key_arn
        for _ in range(PROBES):
            request = random_request(rng, key_arn)
            if contradicts(case, request, proof.plaintext, proof.escalation):
                seen["probes"] += 1
                assert not allowed(case, request), f"seed {seed}: {case.question.key_policy} lets through {request}"
    print(f"seed {seed}: {dict(seen)}")
    # The test itself must look at something: both verdicts, many requests, and counterexamples that are real.
    assert seen["proven"] >= POLICIES // 3
    assert seen["counterexample"] >= POLICIES // 6
    assert seen["probes"] >= POLICIES * PROBES // 4
    assert seen["replayed"] >= 0.95 * seen["counterexamples"]
    assert seen["unknown"] == 0


def test_the_probes_would_catch_an_unsound_proof() -> None:
    """Broken on purpose: had every tier been called proven, the requests would say otherwise at once."""
    rng = random.Random(7)
    caught = 0
    for _ in range(30):
        case = random_case(rng)
        proof = prove(case.question)
        if Verdict.COUNTEREXAMPLE not in {proof.plaintext, proof.escalation}:
            continue
        requests = [random_request(rng, Universe(case.question).key_arn) for _ in range(PROBES)]
        caught += any(
            contradicts(case, request, Verdict.PROVEN, Verdict.PROVEN) and allowed(case, request)
            for request in requests
        )
    assert caught >= 5
