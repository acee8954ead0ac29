"""What the prover says beside its verdict, what it refuses to be asked, and what it does when the solver gives up."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kms_policies.document import Policy, PolicyKind, parse_policy
from kms_policies.prover import ApprovedMeasurements, Proof, Question, Tier, Verdict, dump_smtlib, prove
from kms_policies.prover_callers import CALLERS_MAX, callers_of
from kms_policies.prover_question import LEAKS_MAX
from kms_policies.request import PrincipalKind
from pcrgate.errors import ErrorCode, KeyPolicyError
from pcrgate.units import Sha384

ACCOUNT = "111122223333"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
ENCLAVE, ADMIN, OTHER = (f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("enclave", "admin", "other"))
PCR = "3a" * 48
GOOD = ApprovedMeasurements(pcr0=frozenset({Sha384.from_hex(PCR)}))
ATTESTED = {"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": PCR}}


def policy(*statements: dict[str, Any], kind: PolicyKind = PolicyKind.KEY, version: str = "2012-10-17") -> Policy:
    full = [{"Resource": "*", "Effect": "Allow", **one} for one in statements]
    return parse_policy(json.dumps({"Version": version, "Statement": full}), kind=kind)


def by(name: str, *actions: str, **further: Any) -> dict[str, Any]:
    return {"Principal": {"AWS": name}, "Action": list(actions), **further}


RELEASE = by(ENCLAVE, "kms:Decrypt", Condition=ATTESTED)
ADMINISTRATION = by(ADMIN, "kms:PutKeyPolicy", "kms:CreateGrant", "kms:DisableKey")


def ask(*statements: dict[str, Any], **further: Any) -> Proof:
    return prove(Question(key_policy=policy(*statements), approved=GOOD, **further))


def test_a_proof_says_who_is_trusted_and_what_was_assumed() -> None:
    proof = ask(RELEASE, ADMINISTRATION, administrators=frozenset({ADMIN}))
    assert proof.proven
    (anchor,) = proof.trust_anchors
    assert (anchor.principal, anchor.declared, anchor.statement) == (ADMIN, True, "statement 1")
    assert sorted(anchor.actions) == ["CreateGrant", "PutKeyPolicy"]
    said = "\n".join(proof.assumptions)
    assert "no key metadata was given: an ordinary symmetric single-Region key" in said
    assert f"in account {ACCOUNT}" in said
    assert "no grants were given" in said
    assert f"{ADMIN} is trusted" in said
    assert proof.ruled_out == ("kms:DeleteImportedKeyMaterial", "kms:ImportKeyMaterial", "kms:ReplicateKey")
    assert proof.unknown_reason == ""


def test_an_undeclared_trust_anchor_is_listed_as_such() -> None:
    proof = ask(RELEASE, ADMINISTRATION)
    assert not proof.proven
    assert [(anchor.principal, anchor.declared) for anchor in proof.trust_anchors] == [(ADMIN, False)]
    assert {one.hole.value for one in proof.counterexamples} >= {"put-key-policy", "create-grant"}


def test_a_declared_root_stands_for_whom_iam_lets_and_for_nobody_else() -> None:
    delegated = by(ROOT, "kms:PutKeyPolicy")
    assert ask(RELEASE, delegated, administrators=frozenset({ROOT})).proven
    assert not ask(RELEASE, delegated, administrators=frozenset({ADMIN})).proven
    assert not ask(RELEASE, by(OTHER, "kms:PutKeyPolicy"), administrators=frozenset({ROOT})).proven


def test_availability_is_reported_and_fails_only_when_asked() -> None:
    ways = (RELEASE, by(ADMIN, "kms:DisableKey"))
    told = ask(*ways)
    assert told.proven
    assert told.verdict(Tier.AVAILABILITY) is Verdict.COUNTEREXAMPLE
    assert [one.tier for one in told.counterexamples] == [Tier.AVAILABILITY]
    assert not ask(*ways, availability_matters=True).proven
    assert ask(RELEASE, availability_matters=True).proven


def test_who_can_mint_is_listed_without_failing_the_proof() -> None:
    proof = ask(RELEASE, by(OTHER, "kms:Encrypt", "kms:GenerateDataKeyWithoutPlaintext"))
    assert proof.proven
    (minter,) = proof.can_mint
    assert minter.principal == OTHER
    assert sorted(minter.actions) == ["Encrypt", "GenerateDataKeyWithoutPlaintext"]


def test_a_solver_that_gives_up_proves_nothing() -> None:
    proof = ask(RELEASE, ADMINISTRATION, administrators=frozenset({ADMIN}), solver_steps=1)
    assert proof.plaintext is Verdict.UNKNOWN
    assert not proof.proven
    assert proof.unknown_reason
    assert proof.counterexamples == ()


def test_every_way_is_reported_not_only_the_first() -> None:
    leaks = [by(f"arn:aws:iam::{ACCOUNT}:role/r{i}", "kms:Decrypt") for i in range(5)]
    proof = ask(*leaks)
    assert {one.statement_index for one in proof.counterexamples} == set(range(5))
    assert not proof.incomplete


def test_the_search_ends_at_its_limit_and_says_so() -> None:
    leaks = [by(f"arn:aws:iam::{ACCOUNT}:role/r{i}", "kms:Decrypt") for i in range(LEAKS_MAX + 1)]
    proof = ask(*leaks)
    assert len(proof.counterexamples) == LEAKS_MAX
    assert proof.incomplete
    assert not ask(*leaks[:LEAKS_MAX]).incomplete


def test_actions_and_principals_alike_are_named_beside_the_first() -> None:
    (leak,) = ask(
        by(ROOT, "kms:Decrypt", "kms:GenerateDataKey", Condition={"ArnNotEquals": {"aws:PrincipalArn": ROOT}})
    ).counterexamples
    assert leak.actions_alike == ("kms:GenerateDataKey",)
    assert leak.via == "account named by the key policy, then IAM"
    assert "any other user of account 111122223333" in leak.principals_alike


def test_a_request_is_made_up_to_fit_wildcards_on_the_principal() -> None:
    glob = {
        "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/team-?/ops*"},
        "StringNotLike": {"aws:PrincipalArn": "*opsx*"},
    }
    (leak,) = ask({"Principal": "*", "Action": "kms:Decrypt", "Condition": glob}).counterexamples
    assert leak.replayed
    role = str(leak.request.principal.role_arn)
    assert ":role/team-" in role
    assert "opsx" not in role


def test_a_comparison_across_two_patterns_that_cannot_hold_together_is_struck_out() -> None:
    glob = {"StringLike": {"aws:PrincipalTag/a": ["x*"]}, "StringNotLike": {"aws:PrincipalTag/a": ["?*"]}}
    question = Question(key_policy=policy(by(OTHER, "kms:Decrypt", Condition=glob)), approved=GOOD)
    assert prove(question).proven
    assert "no text fulfils together" in dump_smtlib(question)


def test_a_variable_is_left_open_and_said() -> None:
    variable = {"StringEquals": {"aws:PrincipalTag/team": "${aws:PrincipalTag/owner}-x"}}
    proof = ask(by(OTHER, "kms:Decrypt", Condition=variable))
    assert not proof.proven
    assert all(one.replayed for one in proof.counterexamples)
    assert any("variables are left open" in text for text in proof.approximations)


def test_a_counterexample_that_does_not_replay_is_still_one_and_says_so() -> None:
    # The variable and the key it is compared with are the same: it can only be equal, which the prover leaves open.
    never = {
        "StringNotEquals": {"aws:PrincipalTag/team": "${aws:PrincipalTag/team}"},
        "Null": {"aws:PrincipalTag/team": "false"},
    }
    proof = ask(by(OTHER, "kms:Decrypt", Condition=never))
    assert not proof.proven
    (leak,) = proof.counterexamples
    assert not leak.replayed
    assert "over-approximates" in leak.note
    assert leak.note in proof.approximations


def test_without_metadata_a_resource_is_left_open() -> None:
    key = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    deny = {"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": key}
    proof = ask(by(OTHER, "kms:Decrypt"), deny)
    assert not proof.proven
    assert any("is left open" in text for text in proof.approximations)


def test_questions_may_be_asked_from_several_threads() -> None:
    good = Question(key_policy=policy(RELEASE), approved=GOOD)
    bad = Question(key_policy=policy(by(OTHER, "kms:Decrypt")), approved=GOOD)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda question: prove(question).proven, [good, bad] * 8))
    assert answers == [True, False] * 8


def test_the_dump_asks_once_a_tier() -> None:
    text = dump_smtlib(Question(key_policy=policy(RELEASE), approved=GOOD))
    assert text.startswith("(set-logic QF_BV)\n")
    assert text.count("(check-sat)") == 3


def refused(**given: Any) -> str:
    with pytest.raises(KeyPolicyError) as caught:
        Question(**{"key_policy": policy(RELEASE), "approved": GOOD, **given})
    assert caught.value.code is ErrorCode.PROVE_QUESTION
    return caught.value.message


def test_a_question_that_cannot_be_meant_is_refused() -> None:
    identity = policy({"Action": "kms:*"}, kind=PolicyKind.IDENTITY)
    assert "read as identity policy" in refused(key_policy=identity)
    assert "read as key policy" in refused(identity_policies={ENCLAVE: (policy(RELEASE),)})
    assert "read as key policy" in refused(resource_control_policies=(policy(RELEASE),))
    assert "attached to 'enclave'" in refused(identity_policies={"enclave": (identity,)})
    assert "12 digits" in refused(identity_complete=frozenset({"1111"}))
    assert "administrator 'admin'" in refused(administrators=frozenset({"admin"}))
    assert "time" in refused(timeout_ms=0)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"pcr0": frozenset({Sha384(bytes(48))})},
        {"pcr0": GOOD.pcr0, "further": {0: GOOD.pcr0}},
        {"pcr0": GOOD.pcr0, "further": {32: GOOD.pcr0}},
        {"pcr0": GOOD.pcr0, "further": {8: frozenset()}},
        {"pcr0": GOOD.pcr0, "further": {8: frozenset({Sha384(bytes(48))})}},
        {"further": {8: GOOD.pcr0}, "nitrotpm": ({4: Sha384(b"a" * 48), 7: Sha384(b"b" * 48), 12: Sha384(b"c" * 48)},)},
        {"nitrotpm": ({4: Sha384(b"a" * 48), 7: Sha384(b"b" * 48)},)},
        {"nitrotpm": ({4: Sha384(bytes(48)), 7: Sha384(b"b" * 48), 12: Sha384(b"c" * 48)},)},
        {"nitrotpm": ({4: Sha384(b"a" * 48), 7: Sha384(b"b" * 48), 12: Sha384(b"c" * 48), 24: Sha384(b"d" * 48)},)},
    ],
)
def test_measurements_that_cannot_be_meant_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(KeyPolicyError) as caught:
        ApprovedMeasurements(**given)
    assert caught.value.code is ErrorCode.PROVE_QUESTION


def test_measurements_at_the_bounds_are_taken() -> None:
    ApprovedMeasurements(pcr0=GOOD.pcr0, further={1: GOOD.pcr0, 31: GOOD.pcr0})
    ApprovedMeasurements(nitrotpm=(dict.fromkeys((0, 4, 7, 12, 23), Sha384(b"a" * 48)),))
    ApprovedMeasurements(nitrotpm=({4: Sha384(b"a" * 48), 7: Sha384(b"b" * 48), 12: Sha384(bytes(48))},))


def test_the_number_of_principals_has_a_limit() -> None:
    named = [f"arn:aws:iam::{ACCOUNT}:role/r{i}" for i in range(CALLERS_MAX)]
    with pytest.raises(KeyPolicyError) as caught:
        callers_of(named, (), (), ())
    assert caught.value.code is ErrorCode.PROVE_LIMIT
    fixed = len(callers_of(named[:1], (), (), ())) - 1
    assert len(callers_of(named[: CALLERS_MAX - fixed], (), (), ())) == CALLERS_MAX


def test_a_named_session_is_also_thought_of_under_a_role_with_a_path() -> None:
    session, role = f"arn:aws:sts::{ACCOUNT}:assumed-role/enclave/one", f"arn:aws:iam::{ACCOUNT}:role/team/enclave"
    found = {(c.principal.arn, c.principal.role_arn) for c in callers_of([session, role], (), (), ())}
    assert (session, role) in found
    assert any(arn == session and role_arn not in {role, ENCLAVE} for arn, role_arn in found)
    sole = f"arn:aws:sts::{ACCOUNT}:assumed-role/enclave/session"
    others = {
        c.principal.arn
        for c in callers_of([sole, ENCLAVE], (), (), ())
        if c.principal.kind is PrincipalKind.ROLE_SESSION
    }
    assert len([arn for arn in others if arn and "assumed-role/enclave/" in arn]) >= 2


def test_a_unique_id_stands_for_a_principal_not_known() -> None:
    proof = ask(by("AROAEXAMPLEEXAMPLE1", "kms:Decrypt"))
    assert [one.request.principal.unique_id for one in proof.counterexamples] == ["AROAEXAMPLEEXAMPLE1"]
    assert proof.counterexamples[0].replayed


def test_a_service_linked_role_is_not_held_back_by_a_resource_control_policy() -> None:
    linked = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/x.amazonaws.com/Linked"
    deny = policy({"Effect": "Deny", "Principal": "*", "Action": "kms:*"}, kind=PolicyKind.RESOURCE_CONTROL)
    assert not ask(by(linked, "kms:Decrypt"), resource_control_policies=(deny,)).proven
    assert ask(by(OTHER, "kms:Decrypt"), resource_control_policies=(deny,)).proven


def test_wildcards_over_many_values_are_given_real_values() -> None:
    names = {
        "ForAnyValue:StringLike": {"kms:EncryptionContextKeys": ["a*"]},
        "ForAllValues:StringNotLike": {"kms:EncryptionContextKeys": ["ab*"]},
    }
    (leak,) = ask(by(OTHER, "kms:Decrypt", Condition=names)).counterexamples
    assert leak.replayed
    held = leak.request.context["kms:EncryptionContextKeys"]
    assert any(name.startswith("a") for name in held)
    impossible = {
        "ForAnyValue:StringLike": {"kms:EncryptionContextKeys": ["ab*"]},
        "ForAllValues:StringNotLike": {"kms:EncryptionContextKeys": ["a*"]},
    }
    assert ask(by(OTHER, "kms:Decrypt", Condition=impossible)).proven


def test_patterns_of_a_principal_that_no_arn_fits_are_struck_out() -> None:
    both = {
        "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/a*"},
        "ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"},
    }
    assert ask({"Principal": "*", "Action": "kms:Decrypt", "Condition": both}).proven
    several = {"ArnLike": {"aws:PrincipalArn": ["arn:aws:iam::*:role/a*", "arn:aws:iam::*:user/a*"]}}
    (leak,) = ask({"Principal": "*", "Action": "kms:Decrypt", "Condition": several}).counterexamples
    assert leak.replayed


def test_case_folding_on_a_principal_is_left_to_the_solver_and_said() -> None:
    folded = {"StringEqualsIgnoreCase": {"aws:PrincipalArn": ENCLAVE.upper()}}
    proof = ask({"Principal": "*", "Action": "kms:Decrypt", "Condition": folded})
    assert not proof.proven
    assert all(one.replayed or one.note for one in proof.counterexamples)


def test_a_value_in_another_case_is_thought_of() -> None:
    odd = {
        "StringEqualsIgnoreCase": {"aws:PrincipalTag/t": "ab"},
        "StringNotEquals": {"aws:PrincipalTag/t": ["ab", "AB"]},
    }
    (leak,) = ask(by(OTHER, "kms:Decrypt", Condition=odd)).counterexamples
    assert leak.replayed
    assert leak.request.context["aws:PrincipalTag/t"] in {"aB", "Ab"}
    every = {**odd, "StringNotEquals": {"aws:PrincipalTag/t": ["ab", "AB", "aB", "Ab"]}}
    assert ask(by(OTHER, "kms:Decrypt", Condition=every)).proven


def test_the_account_of_a_stranger_is_made_up_to_fit() -> None:
    glob = {"StringLike": {"aws:PrincipalAccount": "55*"}}
    proof = ask({"Principal": "*", "Action": "kms:Decrypt", "Condition": glob})
    assert not proof.proven
