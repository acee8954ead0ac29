"""Prove that no request gets plaintext out of a key without an approved attestation, or show one that does.

Ask ``prove(Question(...))``. A proof holds for every principal, every action of the installed botocore and one that
does not exist yet, every condition key and every value, under the assumptions that the answer lists.

Spec: IAM User Guide, "Policy evaluation logic"; KMS Developer Guide, "Condition keys for AWS Nitro Enclaves".
"""

import time
from collections.abc import Iterator
from typing import Final

import z3

from kms_policies.prover_encoding import Encoding
from kms_policies.prover_proof import Counterexample, Minter, Proof, TrustAnchor, Verdict
from kms_policies.prover_question import ApprovedMeasurements, Question
from kms_policies.prover_search import Search
from kms_policies.prover_solver import Solver, SolverStatistics
from kms_policies.prover_tiers import Tier
from kms_policies.prover_universe import Universe

__all__ = [
    "ApprovedMeasurements",
    "Counterexample",
    "Minter",
    "Proof",
    "Question",
    "Tier",
    "TrustAnchor",
    "Verdict",
    "dump_smtlib",
    "prove",
]

_DECIDED: Final = (Tier.PLAINTEXT, Tier.ESCALATION, Tier.AVAILABILITY)


def prove(question: Question) -> Proof:
    """Decide a question.

    Args:
        question: the policies, the grants, the key, and what is approved.

    Returns:
        The proof, or the counterexamples. A solver that gives up is a verdict of its own and proves nothing.

    Raises:
        KeyPolicyError: ``prove-limit`` when the policies name more principals than the prover takes.
    """
    started = time.perf_counter()
    search, verdicts = _decide(question)
    encoding, solver = search.encoding, search.solver
    universe = encoding.universe
    anchors, minters = search.trust_anchors(), search.minters()
    return Proof(
        plaintext=verdicts[Tier.PLAINTEXT],
        escalation=verdicts[Tier.ESCALATION],
        availability=verdicts[Tier.AVAILABILITY],
        availability_matters=question.availability_matters,
        counterexamples=tuple(search.found),
        incomplete=search.incomplete,
        trust_anchors=anchors,
        can_mint=minters,
        assumptions=tuple(_assumptions(universe)),
        approximations=(*_approximations(encoding), *search.approximations),
        ruled_out=tuple(sorted(universe.tiers.ruled_out)),
        unknown_reason=search.unknown,
        statistics=SolverStatistics(
            checks=solver.checks,
            solver_ms=solver.seconds * 1000,
            total_ms=(time.perf_counter() - started) * 1000,
            script_bytes=len(encoding.script.text()),
            callers=len(encoding.callers),
            actions=len(encoding.actions),
            keys=len(encoding.keys.slots),
            version=z3.get_version_string(),
        ),
    )


def dump_smtlib(question: Question) -> str:
    """Return what the solver is asked, as SMT-LIB 2 text for another solver.

    The text asks once for each tier, plaintext first, then escalation, then availability: ``unsat`` is the proof. What
    ``prove`` struck out because no text can fulfil it stands at the end as assertions of its own.

    Raises:
        KeyPolicyError: as ``prove``.
    """
    search, _ = _decide(question)
    lines = ["(set-logic QF_BV)", search.encoding.script.text().rstrip()]
    if search.struck:
        lines.append("; wildcards that no text fulfils together, found by a search of its own")
        lines += [f"(assert {formula})" for formula in search.struck]
    for tier in _DECIDED:
        lines += ["(push 1)", f"(assert {tier.value})", "(check-sat)", "(pop 1)"]
    return "\n".join(lines) + "\n"


def _decide(question: Question) -> tuple[Search, dict[Tier, Verdict]]:
    """Return the search with its verdicts."""
    encoding = Encoding(Universe(question))
    solver = Solver(encoding.script.text(), timeout_ms=question.timeout_ms, steps=question.solver_steps)
    search = Search(encoding, solver)
    return search, {tier: search.verdict(tier) for tier in _DECIDED}


def _assumptions(universe: Universe) -> Iterator[str]:
    question = universe.question
    if question.key is None:
        yield (
            "no key metadata was given: an ordinary symmetric single-Region key with key material made by KMS is "
            f"assumed, in account {universe.account}"
        )
    if not question.grants:
        yield "no grants were given: none on the key is assumed"
    if not question.identity_complete:
        yield "everyone whom IAM could let is taken to be let, whatever identity policies were given allow"
    else:
        accounts = ", ".join(sorted(question.identity_complete))
        yield f"the identity policies given are all there are in account {accounts}, and stay so"
    for name in sorted(question.administrators):
        yield f"{name} is trusted not to change the policy, nor to hand the key on"
    yield "service control policies are left out: they only take away"
    yield "an operation that AWS adds later is matched by a pattern only if it reaches over all unknown names"


def _approximations(encoding: Encoding) -> Iterator[str]:
    universe = encoding.universe
    for key, comparison, _ in encoding.keys.variables:
        yield f"{key} is compared with {comparison.values[0]!a}, whose variables are left open"
    for one in universe.open_resources:
        label = one.compiled.statement.label
        yield f"the resource of {label} of the {one.source} is left open: an Allow is taken to apply, a Deny not to"
    for slot in encoding.keys.slots.values():
        if slot.domain.patterns and slot.domain.many:
            yield f"wildcards on the values of {slot.domain.key} are left open"
