from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product

import pytest

from kms_policies.rollover import PROPAGATION_S, MeasurementState, RollOver, render_policies
from kms_policies.rollover_files import parse_rollover, serialize_rollover
from kms_policies.rollover_steps import TRANSITIONS, advance, announce, confirm_probe, overdue, plan
from pcrgate.errors import ErrorCode, KeyPolicyError
from pcrgate.units import Sha384
from tests.unit.kms_policies.rollover_documents import DAY, NEW, NOW, OLD, text_document
from tests.unit.kms_policies.template_inputs import PCR0, PCR0_NEXT

ANNOUNCED, ADMITTED, DRAINING, REMOVED = MeasurementState
SPREAD = timedelta(seconds=PROPAGATION_S)
DRAIN = timedelta(seconds=600)
SECOND = timedelta(seconds=1)


def start() -> RollOver:
    return parse_rollover(text_document())


def both_admitted() -> RollOver:
    return confirm_probe(advance(start(), NEW, ADMITTED, NOW))


def refusal(
    document: RollOver, name: str, to: MeasurementState, *, now: datetime = NOW, revoke: bool = False
) -> ErrorCode:
    with pytest.raises(KeyPolicyError) as refused:
        advance(document, name, to, now, revoke=revoke)
    return refused.value.code


def in_state(state: MeasurementState) -> RollOver:
    """Return a document where both are admitted, but the old one is in ``state``."""
    document = both_admitted()
    old, new = document.measurements
    return replace(document, measurements=(replace(old, state=state), new), changed=NOW - DAY)


def test_the_whole_way() -> None:
    document = advance(start(), NEW, ADMITTED, NOW)
    assert (document.changed, document.probed) == (NOW, False)
    document = confirm_probe(document)
    document = advance(document, OLD, DRAINING, NOW + SPREAD)
    assert (document.changed, document.probed) == (NOW, True)
    document = advance(document, OLD, REMOVED, NOW + SPREAD + DRAIN)
    assert [one.name for one in document.listed] == [NEW]
    assert not document.probed
    assert PCR0 not in render_policies(document)["weights"]
    assert parse_rollover(serialize_rollover(document)) == document


@pytest.mark.parametrize(("before", "after"), list(product(MeasurementState, MeasurementState)))
def test_only_the_listed_transitions_are_possible(before: MeasurementState, after: MeasurementState) -> None:
    document = in_state(before)
    if after in TRANSITIONS[before]:
        assert advance(document, OLD, after, NOW + DAY).measurement(OLD).state is after
    else:
        assert refusal(document, OLD, after, now=NOW + DAY) is ErrorCode.ROLLOVER_TRANSITION


def test_a_change_must_spread_and_be_seen_before_the_next_step() -> None:
    unseen = advance(start(), NEW, ADMITTED, NOW)
    assert refusal(confirm_probe(unseen), OLD, DRAINING, now=NOW + SPREAD - SECOND) is ErrorCode.ROLLOVER_NOT_READY
    assert refusal(unseen, OLD, DRAINING, now=NOW + SPREAD) is ErrorCode.ROLLOVER_NOT_READY
    assert advance(confirm_probe(unseen), OLD, DRAINING, NOW + SPREAD).measurement(OLD).state is DRAINING


def test_draining_takes_its_time_and_can_be_undone() -> None:
    draining = advance(both_admitted(), OLD, DRAINING, NOW + SPREAD)
    end = NOW + SPREAD + DRAIN
    assert refusal(draining, OLD, REMOVED, now=end - SECOND) is ErrorCode.ROLLOVER_NOT_READY
    assert advance(draining, OLD, REMOVED, end).measurement(OLD).state is REMOVED
    undone = advance(draining, OLD, ADMITTED, NOW + SPREAD + SECOND)
    assert render_policies(undone) == render_policies(draining)
    assert undone.probed


def test_no_step_before_the_last_one() -> None:
    assert refusal(start(), NEW, ADMITTED, now=NOW - 30 * DAY) is ErrorCode.ROLLOVER_NOT_READY


def test_the_last_one_cannot_leave() -> None:
    assert refusal(start(), OLD, DRAINING) is ErrorCode.ROLLOVER_NOT_READY
    assert refusal(start(), OLD, REMOVED, revoke=True) is ErrorCode.ROLLOVER_TRANSITION
    expired_successor = both_admitted()
    old, new = expired_successor.measurements
    expired_successor = replace(expired_successor, measurements=(old, replace(new, expires=NOW)))
    assert refusal(expired_successor, OLD, DRAINING, now=NOW + SPREAD) is ErrorCode.ROLLOVER_NOT_READY


def test_an_expired_measurement_only_leaves() -> None:
    late = NOW + 300 * DAY
    assert refusal(start(), NEW, ADMITTED, now=late) is ErrorCode.ROLLOVER_EXPIRED
    assert refusal(in_state(DRAINING), OLD, ADMITTED, now=NOW + 60 * DAY) is ErrorCode.ROLLOVER_EXPIRED
    assert advance(start(), NEW, REMOVED, late).measurement(NEW).state is REMOVED
    assert [one.name for one in overdue(both_admitted(), NOW + 60 * DAY)] == [OLD]
    assert overdue(both_admitted(), NOW) == ()


def test_a_bad_image_is_revoked_at_once() -> None:
    unseen = advance(start(), NEW, ADMITTED, NOW)
    revoked = advance(unseen, OLD, REMOVED, NOW + SECOND, revoke=True)
    assert [one.name for one in revoked.listed] == [NEW]
    assert refusal(revoked, OLD, REMOVED, revoke=True) is ErrorCode.ROLLOVER_TRANSITION
    assert refusal(unseen, OLD, DRAINING, revoke=True) is ErrorCode.ROLLOVER_TRANSITION
    assert refusal(unseen, "v9", REMOVED, revoke=True) is ErrorCode.ROLLOVER_DOCUMENT


def test_withdrawing_what_was_only_announced_changes_no_policy() -> None:
    withdrawn = advance(start(), NEW, REMOVED, NOW)
    assert withdrawn.probed
    assert render_policies(withdrawn) == render_policies(start())


def test_announcing_checks_what_it_adds() -> None:
    pcrs = {"pcr0": Sha384.from_hex("c" * 96)}
    document = announce(start(), name="v3", pcrs=pcrs, expires=NOW + DAY, now=NOW)
    assert document.measurement("v3").state is ANNOUNCED
    assert render_policies(document) == render_policies(start())
    for name, these, expires, code in (
        ("v1", pcrs, NOW + DAY, ErrorCode.ROLLOVER_DOCUMENT),
        ("V 3", pcrs, NOW + DAY, ErrorCode.ROLLOVER_DOCUMENT),
        ("v3", {"pcr0": Sha384.from_hex(PCR0_NEXT)}, NOW + DAY, ErrorCode.ROLLOVER_DOCUMENT),
        ("v3", pcrs, NOW, ErrorCode.ROLLOVER_EXPIRED),
    ):
        with pytest.raises(KeyPolicyError) as refused:
            announce(start(), name=name, pcrs=these, expires=expires, now=NOW)
        assert refused.value.code is code


def test_a_removed_measurement_may_be_announced_again_under_another_name() -> None:
    gone = in_state(REMOVED)
    again = announce(gone, name="v3", pcrs={"pcr0": Sha384.from_hex(PCR0)}, expires=NOW + DAY, now=NOW)
    assert again.measurement("v3").state is ANNOUNCED


def test_a_plan_admits_then_drains_then_removes() -> None:
    steps = plan(start(), NOW)
    assert [(step.number, step.name, step.before, step.after) for step in steps] == [
        (1, NEW, ANNOUNCED, ADMITTED),
        (2, OLD, ADMITTED, DRAINING),
        (3, OLD, DRAINING, REMOVED),
    ]
    assert [step.at for step in steps] == [NOW, NOW + SPREAD, NOW + SPREAD + DRAIN]
    assert [step.changes_policies for step in steps] == [True, False, True]
    assert [step.proves.partition("evidence of ")[2] for step in steps] == ["v1, v2", "v1, v2", "v2"]
    assert str(PROPAGATION_S) in steps[0].then
    assert "refused" in steps[2].then
    assert steps[2].undo.startswith("none")
    assert [one.name for one in steps[-1].document.listed] == [NEW]


def test_a_plan_keeps_what_it_is_told_to_and_leaves_the_rest_alone() -> None:
    assert [step.name for step in plan(start(), NOW, keep=frozenset({OLD}))] == [NEW]
    assert plan(both_admitted(), NOW) == ()
    assert [step.after for step in plan(in_state(DRAINING), NOW)] == [REMOVED]
    assert [step.after for step in plan(both_admitted(), NOW + 60 * DAY)] == [DRAINING, REMOVED]
    with pytest.raises(KeyPolicyError):
        plan(start(), NOW, keep=frozenset({"v9"}))


def test_a_plan_that_cannot_be_carried_out_is_refused() -> None:
    with pytest.raises(KeyPolicyError) as refused:
        plan(start(), NOW + 300 * DAY)
    assert refused.value.code is ErrorCode.ROLLOVER_EXPIRED


@dataclass
class TwoSigners:
    """Ask for two approvals, as the seam would."""

    def check(self, before: RollOver, after: RollOver) -> None:
        if len(after.approvals) < 2:
            raise KeyPolicyError(ErrorCode.ROLLOVER_NOT_READY, f"{len(before.approvals)} approvals, expected 2")


def test_the_seam_for_several_signers_decides_last() -> None:
    with pytest.raises(KeyPolicyError, match="expected 2"):
        advance(start(), NEW, ADMITTED, NOW, approval=TwoSigners())
    signed = parse_rollover(text_document(approvals=[{"by": "a"}, {"by": "b"}]))
    assert advance(signed, NEW, ADMITTED, NOW, approval=TwoSigners()).measurement(NEW).state is ADMITTED
