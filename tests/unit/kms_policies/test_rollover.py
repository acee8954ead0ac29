import copy
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from kms_policies.rendering import Template
from kms_policies.rollover import MeasurementState, approved_pcrs, render_policies
from kms_policies.rollover_files import DOCUMENT_MAX_BYTES, parse_rollover, serialize_rollover
from pcrgate.errors import ErrorCode, KeyPolicyError
from pcrgate.units import Sha384
from tests.unit.kms_policies.rollover_documents import DAY, NEW, NOW, OLD, inputs_of, raw_document, text_document
from tests.unit.kms_policies.template_inputs import PCR0, PCR0_NEXT, PCR4, PCR7, PCR12, PUBLISHER


def test_a_document_is_read_and_written_back_the_same() -> None:
    document = parse_rollover(text_document(approvals=[{"by": "alice", "signature": "ab"}]))
    again = parse_rollover(serialize_rollover(document))
    assert again == document
    assert serialize_rollover(again) == serialize_rollover(document)
    assert document.approvals == ({"by": "alice", "signature": "ab"},)
    assert document.measurement(OLD).state is MeasurementState.ADMITTED
    assert [one.name for one in document.listed] == [OLD]


def test_optional_fields_have_defaults() -> None:
    raw = raw_document()
    for name in ("changed", "probed", "drain_s", "approvals"):
        del raw[name]
    document = parse_rollover(json.dumps(raw))
    assert (document.changed, document.probed, document.drain_s, document.approvals) == (None, True, 3600, ())
    assert parse_rollover(serialize_rollover(document)) == document


def test_the_policies_list_what_is_admitted_or_draining() -> None:
    raw = raw_document()
    policies = render_policies(parse_rollover(json.dumps(raw)))
    assert set(policies) == {"weights", "session", "parent"}
    assert all(PCR0 in text and PCR0_NEXT not in text for text in policies.values())
    raw["measurements"][1]["state"] = "admitted"
    raw["measurements"][0]["state"] = "draining"
    assert all(PCR0 in text and PCR0_NEXT in text for text in render_policies(parse_rollover(json.dumps(raw))).values())
    raw["measurements"][0]["state"] = "removed"
    policies = render_policies(parse_rollover(json.dumps(raw)))
    assert all(PCR0 not in text and PCR0_NEXT in text for text in policies.values())


def test_a_document_may_begin_with_nothing_listed_but_renders_nothing_then() -> None:
    raw = raw_document()
    raw["measurements"] = [raw["measurements"][1]]
    document = parse_rollover(json.dumps(raw))
    with pytest.raises(KeyPolicyError) as refused:
        render_policies(document)
    assert refused.value.code is ErrorCode.ROLLOVER_DOCUMENT
    assert approved_pcrs(document, NOW) == ()


def test_what_has_expired_is_not_approved_although_it_is_listed() -> None:
    raw = raw_document()
    raw["measurements"][1]["state"] = "admitted"
    document = parse_rollover(json.dumps(raw))
    expires = document.measurement(OLD).expires
    both = {Sha384.from_hex(PCR0), Sha384.from_hex(PCR0_NEXT)}
    assert {one["pcr0"] for one in approved_pcrs(document, expires - timedelta(seconds=1))} == both
    assert {one["pcr0"] for one in approved_pcrs(document, expires)} == {Sha384.from_hex(PCR0_NEXT)}
    assert approved_pcrs(document, NOW + 400 * DAY) == ()


def test_nitrotpm_measurements_combine() -> None:
    raw = raw_document(
        policies=[
            {
                "name": "weights",
                "template": "nitrotpm_model_weights_key",
                "inputs": inputs_of(Template.NITROTPM_MODEL_WEIGHTS_KEY),
            }
        ]
    )
    for index, one in enumerate(raw["measurements"]):
        one["pcrs"] = {"pcr4": PCR4, "pcr7": PCR7, "pcr12": PCR12 if index else PCR4}
        one["state"] = "admitted"
    document = parse_rollover(json.dumps(raw))
    assert len(approved_pcrs(document, NOW)) == 2
    assert render_policies(document)["weights"].count(PCR12) == 2
    raw["measurements"][0]["pcrs"]["pcr4"] = PCR0
    assert len(approved_pcrs(parse_rollover(json.dumps(raw)), NOW)) == 4
    del raw["measurements"][0]["pcrs"]["pcr12"]
    with pytest.raises(KeyPolicyError):
        parse_rollover(json.dumps(raw))


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.update(version="2"),
        lambda raw: raw.update(version=1.5),
        lambda raw: raw.pop("policies"),
        lambda raw: raw.update(owner="me"),
        lambda raw: raw.update(policies=[]),
        lambda raw: raw.update(policies={}),
        lambda raw: raw.update(policies=["weights"]),
        lambda raw: raw.update(policies=raw["policies"][2:]),
        lambda raw: raw["policies"].append(raw["policies"][0]),
        lambda raw: raw["policies"].append(
            {"name": "p", "template": "publisher_role", "inputs": raw["policies"][2]["inputs"]}
        ),
        lambda raw: raw["policies"].append(
            {"name": "t", "template": "nitrotpm_session_key", "inputs": raw["policies"][1]["inputs"]}
        ),
        lambda raw: raw["policies"][0].update(name=""),
        lambda raw: raw["policies"][0].update(name="Weights"),
        lambda raw: raw["policies"][0].update(name="w" * 65),
        lambda raw: raw["policies"][0]["inputs"].update(pcr0=[PCR0]),
        lambda raw: raw["policies"][0].update(inputs=[]),
        lambda raw: raw["measurements"].append(raw["measurements"][0]),
        lambda raw: raw["measurements"].append({**raw["measurements"][0], "name": "v3"}),
        lambda raw: raw["measurements"][0].update(state="live"),
        lambda raw: raw["measurements"][0].update(since="2026-10-01"),
        lambda raw: raw["measurements"][0].update(expires="2027-01-01T00:00:00"),
        lambda raw: raw["measurements"][0].update(expires="soon"),
        lambda raw: raw["measurements"][0].update(expires=None),
        lambda raw: raw["measurements"][0].update(pcrs={}),
        lambda raw: raw["measurements"][0].update(pcrs={"pcr1": PCR0}),
        lambda raw: raw["measurements"][0]["pcrs"].update(pcr4=PCR4),
        lambda raw: raw["measurements"][0]["pcrs"].update(pcr1=PCR4),
        lambda raw: raw["measurements"][0].pop("since"),
        lambda raw: raw.update(measurements="v1"),
        lambda raw: raw.update(changed=7),
        lambda raw: raw.update(probed="yes"),
        lambda raw: raw.update(drain_s=-1),
        lambda raw: raw.update(drain_s="600"),
        lambda raw: raw.update(drain_s=10**9),
        lambda raw: raw.update(approvals=["alice"]),
    ],
)
def test_a_document_that_cannot_be_meant_is_refused(change: Change) -> None:
    raw = copy.deepcopy(raw_document())
    change(raw)
    with pytest.raises(KeyPolicyError) as refused:
        parse_rollover(json.dumps(raw))
    assert refused.value.code is ErrorCode.ROLLOVER_DOCUMENT


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda raw: raw["policies"][0].update(template="weights"), ErrorCode.POLICY_TEMPLATE),
        (lambda raw: raw["policies"][0]["inputs"].pop("publishers"), ErrorCode.POLICY_INPUT_MISSING),
        (lambda raw: raw["policies"][1]["inputs"].update(publishers=[PUBLISHER]), ErrorCode.POLICY_INPUT),
        (lambda raw: raw["measurements"][0]["pcrs"].update(pcr0="A" * 96), ErrorCode.POLICY_INPUT_PCR),
        (lambda raw: raw["measurements"][0]["pcrs"].update(pcr0="0" * 96), ErrorCode.POLICY_INPUT_PCR),
    ],
)
def test_what_a_template_refuses_a_document_refuses(change: Change, code: ErrorCode) -> None:
    raw = copy.deepcopy(raw_document())
    change(raw)
    with pytest.raises(KeyPolicyError) as refused:
        parse_rollover(json.dumps(raw))
    assert refused.value.code is code


def test_the_deletion_window_is_a_number() -> None:
    raw = raw_document()
    raw["policies"][0]["inputs"]["minimum_deletion_window_days"] = 7
    document = parse_rollover(json.dumps(raw))
    assert '"7"' in render_policies(document)["weights"]
    assert parse_rollover(serialize_rollover(document)) == document


def test_the_size_is_bounded() -> None:
    text = text_document()
    assert parse_rollover(text.ljust(DOCUMENT_MAX_BYTES)).measurement(NEW).name == NEW
    with pytest.raises(KeyPolicyError) as refused:
        parse_rollover(text.ljust(DOCUMENT_MAX_BYTES + 1))
    assert refused.value.code is ErrorCode.POLICY_TOO_LARGE
    with pytest.raises(KeyPolicyError) as refused:
        parse_rollover("[]")
    assert refused.value.code is ErrorCode.ROLLOVER_DOCUMENT


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(KeyPolicyError, match="expected one of"):
        parse_rollover(text_document()).measurement("v9")
