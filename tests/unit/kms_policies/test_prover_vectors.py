"""Every vector comes out as expected, names the mistake, and its counterexamples are real requests."""

import json

import pytest
import z3

from kms_policies.evaluator import evaluate
from kms_policies.prover import Tier, dump_smtlib, prove
from kms_policies.prover_holes import Hole
from tests.unit.kms_policies.prover_vectors import FOLDER, Vector, read_vector, read_vectors

VECTORS = list(read_vectors())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_vector(vector: Vector) -> None:
    proof = prove(vector.question)
    found = {one.hole.value for one in proof.counterexamples if one.tier is not Tier.AVAILABILITY}
    assert (proof.plaintext.value, proof.escalation.value) == (vector.plaintext, vector.escalation)
    assert found == vector.holes
    assert proof.proven is vector.name.startswith("accept-")
    for one in proof.counterexamples:
        assert one.replayed, one.note
        assert proof.verdict(one.tier).value == "counterexample"
        assert one.statement
        if one.tier is Tier.PLAINTEXT:
            assert one.request.folded.get("kms:recipientattestation:pcr0") not in {
                value.hex() for value in vector.question.approved.pcr0
            } or {"unattestable-operation", "further-pcr", "weak-deny"} & {one.hole.value}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_the_general_solver_agrees_on_the_dumped_script(vector: Vector) -> None:
    text = dump_smtlib(vector.question)
    body, *_ = text.partition("(push 1)")
    for tier, expected in ((Tier.PLAINTEXT, vector.plaintext), (Tier.ESCALATION, vector.escalation)):
        solver = z3.Solver(ctx=z3.Context())  # another engine than the prover's
        solver.from_string(f"{body}(assert {tier.value})")
        assert str(solver.check()) == ("sat" if expected == "counterexample" else "unsat")


def test_there_are_enough_of_every_kind() -> None:
    sources = [json.loads(path.read_text())["source"] for path in sorted(FOLDER.glob("*.json"))]
    assert sum(source.startswith("kind of case") for source in sources) == 29
    assert len(sources) >= 29 + 30
    assert sum(source.startswith("modelled") for source in sources) >= 10
    seen = frozenset().union(*(vector.holes for vector in VECTORS))
    # Availability is reported without failing a proof, so no vector expects it by name.
    assert {hole.value for hole in Hole} - seen - {"availability"} == set()


def test_a_vector_with_an_unknown_key_is_refused() -> None:
    raw = json.loads((FOLDER / "accept-guarded.json").read_text())
    with pytest.raises(ValueError, match="expected"):
        read_vector("accept-guarded", json.dumps(raw | {"expected": {}}))
    with pytest.raises(ValueError, match="expected"):
        read_vector("accept-guarded", json.dumps({key: value for key, value in raw.items() if key != "what"}))
    with pytest.raises(ValueError, match="says something else"):
        read_vector("reject-guarded", json.dumps(raw))


def test_a_counterexample_is_a_request_that_the_evaluator_allows_on_its_own() -> None:
    vector = next(one for one in VECTORS if one.name == "reject-second-allow")
    (leak,) = [one for one in prove(vector.question).counterexamples if one.tier is Tier.PLAINTEXT]
    assert evaluate(leak.request, key_policy=vector.question.key_policy).allowed
    assert (leak.source, leak.statement, leak.statement_index) == ("key policy", "statement 1 (Convenience)", 1)
    assert leak.request.action == "kms:Decrypt"
    assert str(leak.request.principal) == "arn:aws:sts::111122223333:assumed-role/enclave-parent/session"
    assert dict(leak.request.context) == {}
