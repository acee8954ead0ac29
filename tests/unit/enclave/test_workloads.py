"""Workloads by themselves: what constraints admit, what counts, what an action and a tensor must be."""

import struct
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave.workloads import infer, validate
from enclave.workloads.admission import Action, UseCounts
from enclave.workloads.contract import Invocation, Outcome, ReleasedSecret
from enclave.workloads.validate import LIFETIME_MAX_MS, action_signed
from pcrgate.attestation.cbor import decode, encode
from pcrgate.envelope.weights_buffer import WeightsBuffer
from pcrgate.errors import ErrorCode, PcrgateError
from pcrgate.manifest.constraints import Equals, FreeText, IntegerRange, MaxAmount, OneOf, Prefix
from pcrgate.manifest.grants import ActionRule, Argument, Grant, WorkloadRules
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.manifest.sealed_secret import SecretFormat
from pcrgate.units import Sha384
from tests.support.onnx_model import adding_model

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOW = 1_700_000_000_000
EUR = {"currency": "EUR", "minor_units": 10}


def admitted(constraint: Any, value: Any, *, required: bool = True) -> ErrorCode | None:
    rule = ActionRule(action="act", arguments={"a": Argument(constraint=constraint, required=required)})
    return code_of(rule, {"a": value})


def code_of(rule: ActionRule, arguments: dict[str, Any], purpose: str | None = None) -> ErrorCode | None:
    grant = Grant(agent="one", workload="validate", actions=(rule,), expires_ms=NOW)
    try:
        UseCounts().admit(Action(name="act", arguments=arguments, purpose=purpose), grant, None)
    except PcrgateError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        (Equals(value=1), (1,), (True, "1", 2, None)),
        (Equals(value=True), (True,), (1, False)),
        (Equals(value="x"), ("x",), ("X", b"x", "x ")),
        (OneOf(values=("a", "b")), ("a", "b"), ("c", "", 1, None)),
        (OneOf(values=(0, 1)), (0, 1), (False, True, 2)),
        (Prefix(prefix="ab", max_bytes=4), ("ab", "abcd"), ("a", "abcde", b"ab", "Ab", 5)),
        (FreeText(max_bytes=3), ("", "abc", "\u00e4a"), ("abcd", "\u00e4\u00e4", 1, None)),
        (IntegerRange(minimum=-1, maximum=3), (-1, 0, 3), (-2, 4, True, "1", None)),
        (
            MaxAmount(currency="EUR", max_minor_units=10),
            (EUR, EUR | {"minor_units": 0}),
            (
                EUR | {"minor_units": 11},
                EUR | {"minor_units": -1},
                EUR | {"currency": "USD"},
                EUR | {"minor_units": True},
            ),
        ),
    ],
)
def test_a_constraint_admits_its_values(constraint: Any, good: Any, bad: Any) -> None:
    assert [admitted(constraint, value) for value in good] == [None] * len(good)
    assert [admitted(constraint, value) for value in bad] == [ErrorCode.WORKLOAD_ARGUMENT] * len(bad)


@pytest.mark.parametrize("value", [5, {}, {"currency": "EUR"}, EUR | {"more": 1}, []])
def test_what_is_no_amount_is_malformed(value: Any) -> None:
    assert admitted(MaxAmount(currency="EUR", max_minor_units=10), value) is ErrorCode.WORKLOAD_REQUEST


def test_arguments_and_purposes_are_those_of_the_rule() -> None:
    rule = ActionRule(
        action="act",
        arguments={
            "a": Argument(constraint=FreeText(max_bytes=9)),
            "b": Argument(constraint=FreeText(max_bytes=9), required=False),
        },
        purposes=("p",),
    )
    assert code_of(rule, {"a": "x"}, "p") is None
    assert code_of(rule, {"a": "x", "b": "y"}, "p") is None
    refused: list[tuple[dict[str, Any], str | None]] = [
        ({}, "p"),
        ({"a": "x", "c": "y"}, "p"),
        ({"a": "x"}, None),
        ({"a": "x"}, "q"),
        ({"a": "x", "\n": 1}, "p"),
    ]
    assert {code_of(rule, arguments, purpose) for arguments, purpose in refused} == {ErrorCode.WORKLOAD_ARGUMENT}
    assert code_of(replace(rule, purposes=()), {"a": "x"}, "p") is ErrorCode.WORKLOAD_ARGUMENT
    assert code_of(replace(rule, action="other"), {"a": "x"}, "p") is ErrorCode.MANIFEST_NO_GRANT


def limited(counts: UseCounts, grant: Grant, rules: WorkloadRules | None, arguments: dict[str, Any]) -> bool:
    try:
        counts.admit(Action(name="act", arguments=arguments), grant, rules)
    except PcrgateError as error:
        return error.code is ErrorCode.WORKLOAD_LIMIT
    return False


def test_uses_and_totals_end_at_their_limit_and_a_refusal_uses_nothing_up() -> None:
    total = Argument(constraint=IntegerRange(minimum=0, maximum=10, total_per_boot=15))
    rule = ActionRule(action="act", arguments={"n": total}, max_uses_per_boot=3)
    grant = Grant(agent="one", workload="w", actions=(rule,), expires_ms=NOW, max_uses_per_boot=4)
    counts = UseCounts()
    assert not limited(counts, grant, None, {"n": 10})
    assert limited(counts, grant, None, {"n": 6})
    assert not limited(counts, grant, None, {"n": 5})
    assert not limited(counts, grant, None, {"n": 0})
    assert limited(counts, grant, None, {"n": 0})  # the fourth use
    other = replace(grant, agent="two")
    assert not limited(counts, other, None, {"n": 10})


def test_rules_for_all_agents_count_together() -> None:
    rule = ActionRule(action="act")
    rules = WorkloadRules(workload="w", actions=(replace(rule, max_uses_per_boot=2),))
    grants = [Grant(agent=name, workload="w", actions=(rule,), expires_ms=NOW) for name in ("one", "two")]
    counts = UseCounts()
    assert not limited(counts, grants[0], rules, {})
    assert not limited(counts, grants[1], rules, {})
    assert limited(counts, grants[0], rules, {})


def invocation(request: bytes, **changes: Any) -> Invocation:
    rule = ActionRule(action="act", arguments={}, max_uses_per_boot=5)
    adder = ActionRule(action="adder")
    return Invocation(
        request=request,
        agent="one",
        agent_key=VerifyingKey(KEY.public_key().public_bytes_raw()),
        grant=Grant(agent="one", workload="w", actions=(rule, adder), expires_ms=NOW + 1),
        rules=None,
        manifest_digest=Sha384(bytes(48)),
        now_ms=NOW,
        **changes,
    )


FIELDS: dict[int | str, Any] = {
    "agent": "one",
    "tool": "act",
    "arguments": {},
    "purpose": None,
    "nonce": bytes(16),
    "expires_ms": NOW + 1,
}


def signed(fields: dict[int | str, Any], key: Ed25519PrivateKey = KEY) -> bytes:
    raw = encode(fields)
    return encode({"action": raw, "signature": key.sign(action_signed(raw))})


def outcome(request: bytes, workload: Any = None) -> ErrorCode | Outcome:
    try:
        found: Outcome = (workload or validate.start({})).carry_out(invocation(request))
    except PcrgateError as error:
        return error.code
    return found


def test_an_action_is_reported() -> None:
    found = outcome(signed(FIELDS))
    assert isinstance(found, Outcome)
    report: Any = decode(found.result)
    assert (report["decision"], report["tool"], report["time_ms"]) == ("admitted", "act", NOW)
    assert found.report == found.result


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"agent": "two"}, ErrorCode.WORKLOAD_SIGNATURE),
        ({"expires_ms": NOW}, ErrorCode.WORKLOAD_STALE),
        ({"expires_ms": NOW + LIFETIME_MAX_MS + 1}, ErrorCode.WORKLOAD_STALE),
        ({"expires_ms": None}, ErrorCode.WORKLOAD_STALE),
        ({"nonce": bytes(15)}, ErrorCode.WORKLOAD_REQUEST),
        ({"nonce": bytes(65)}, ErrorCode.WORKLOAD_REQUEST),
        ({"tool": 1}, ErrorCode.WORKLOAD_REQUEST),
        ({"purpose": 1}, ErrorCode.WORKLOAD_REQUEST),
        ({"arguments": []}, ErrorCode.WORKLOAD_REQUEST),
        ({"arguments": {1: 2}}, ErrorCode.WORKLOAD_REQUEST),
        ({"more": 1}, ErrorCode.WORKLOAD_REQUEST),
        ({"tool": "unknown"}, ErrorCode.MANIFEST_NO_GRANT),
    ],
)
def test_another_action_is_refused(change: dict[int | str, Any], code: ErrorCode) -> None:
    assert outcome(signed(FIELDS | change)) is code


def test_bounds_of_an_action_are_taken() -> None:
    changes: tuple[dict[int | str, Any], ...] = ({"expires_ms": NOW + LIFETIME_MAX_MS}, {"nonce": bytes(64)})
    for change in changes:
        assert isinstance(outcome(signed(FIELDS | change)), Outcome)


@pytest.mark.parametrize(
    "request_bytes",
    [b"", b"\xff", encode([]), encode({"action": b""}), encode({"action": b"", "signature": b"x"}), bytes(200_000)],
)
def test_what_is_no_request_is_refused(request_bytes: bytes) -> None:
    assert outcome(request_bytes) is ErrorCode.WORKLOAD_REQUEST


def test_another_key_signs_nothing() -> None:
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    assert outcome(signed(FIELDS, stranger)) is ErrorCode.WORKLOAD_SIGNATURE


def test_a_nonce_counts_once_unless_the_action_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = validate.start({})
    assert outcome(signed(FIELDS | {"tool": "unknown"}), workload) is ErrorCode.MANIFEST_NO_GRANT
    assert isinstance(outcome(signed(FIELDS), workload), Outcome)
    assert outcome(signed(FIELDS | {"expires_ms": NOW + 2}), workload) is ErrorCode.WORKLOAD_REPLAYED
    monkeypatch.setattr(validate, "NONCES_MAX", 1)
    assert outcome(signed(FIELDS | {"nonce": bytes(17)}), workload) is ErrorCode.WIRE_BUSY
    workload._nonces.clear()
    workload._nonces["one", b"late"] = NOW
    assert isinstance(outcome(signed(FIELDS | {"nonce": bytes(17)}), workload), Outcome)


def released(model: bytes, file_format: SecretFormat = SecretFormat.ONNX) -> ReleasedSecret:
    buffer = WeightsBuffer(len(model))
    buffer.writable()[:] = model
    return ReleasedSecret(epoch=2, format=file_format, content=buffer)


def test_validate_takes_no_secret() -> None:
    with pytest.raises(PcrgateError):
        validate.start({"x": released(b"x")})


def tensor(*values: float, **changes: Any) -> dict[str, Any]:
    data = struct.pack(f"<{len(values)}f", *values)
    return {"type": "float32", "shape": [len(values)], "data": data} | changes


@pytest.fixture(scope="module")
def adder() -> infer.InferWorkload:
    return infer.InferWorkload({"adder": released(adding_model((1.0, 2.0)))})


def asked(adder: infer.InferWorkload, value: Any) -> ErrorCode | Outcome:
    return outcome(encode(value) if not isinstance(value, bytes) else value, adder)


def test_a_model_runs(adder: infer.InferWorkload) -> None:
    found = asked(adder, {"model": "adder", "inputs": {"x": tensor(1, 1)}})
    assert isinstance(found, Outcome)
    result: Any = decode(found.result)
    assert struct.unpack("<2f", result["outputs"]["y"]["data"]) == (2.0, 3.0)
    assert found.secrets == {"adder": 2}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        [],
        {"model": "adder"},
        {"model": 1, "inputs": {"x": tensor(1, 1)}},
        {"model": "adder", "inputs": {}},
        {"model": "adder", "inputs": {f"x{n}": tensor(1) for n in range(17)}},
        {"model": "other", "inputs": {"x": tensor(1, 1)}},
        {"model": "adder", "inputs": {"z": tensor(1, 1)}},
        {"model": "adder", "inputs": {"x": []}},
        {"model": "adder", "inputs": {"x": tensor(1, 1, type="float16")}},
        {"model": "adder", "inputs": {"x": tensor(1, 1, shape=[3])}},
        {"model": "adder", "inputs": {"x": tensor(1, 1, shape=[-2])}},
        {"model": "adder", "inputs": {"x": tensor(1, 1, shape=[1 << 62, 1 << 62])}},
        {"model": "adder", "inputs": {"x": tensor(1, 1, shape=[1] * 9)}},
        {"model": "adder", "inputs": {"x": tensor(1, 1, data="text")}},
        {"model": "adder", "inputs": {"x": tensor(0, data=bytes(infer.TENSOR_MAX_BYTES), shape=[230_400])}},
    ],
)
def test_another_request_for_a_model_is_refused(adder: infer.InferWorkload, value: Any) -> None:
    assert asked(adder, value) is ErrorCode.WORKLOAD_REQUEST


def test_the_name_of_an_input_is_text() -> None:
    named_1 = adding_model((1.0, 2.0)).replace(b"\n\x01x", b"\n\x011")
    workload = infer.InferWorkload({"adder": released(named_1, SecretFormat.ONNX)})
    found = asked(workload, {"model": "adder", "inputs": {"1": tensor(1, 1)}})
    assert not isinstance(found, ErrorCode)
    for inputs in ({1: tensor(1, 1)}, {1: tensor(1, 1), "1": tensor(2, 2)}):
        assert asked(workload, {"model": "adder", "inputs": inputs}) is ErrorCode.WORKLOAD_REQUEST


@pytest.mark.parametrize(
    ("model", "file_format"),
    [(b"\x80\x02pickle", SecretFormat.ONNX), (b"\x08\x08", SecretFormat.ONNX), (b"x", SecretFormat.SAFETENSORS)],
)
def test_a_file_that_is_no_model_is_refused(model: bytes, file_format: SecretFormat) -> None:
    with pytest.raises(PcrgateError) as refused:
        infer.InferWorkload({"x": released(model, file_format)})
    assert refused.value.code is ErrorCode.MODEL_FILE
