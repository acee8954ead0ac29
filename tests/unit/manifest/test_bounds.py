"""Every bound of a manifest, at the bound and one past it, and what an entry refuses when it is built."""

from collections.abc import Callable

import pytest

from pcrgate.errors import ErrorCode, ManifestError
from pcrgate.manifest.bounds import INTEGER_MAX, NAME_MAX_BYTES, TEXT_MAX_BYTES, TIME_MAX_MS
from pcrgate.manifest.constraints import (
    CHOICES_MAX,
    FREE_TEXT_MAX_BYTES,
    Equals,
    FreeText,
    IntegerRange,
    MaxAmount,
    OneOf,
    Prefix,
)
from pcrgate.manifest.grants import (
    ACTIONS_MAX,
    ARGUMENTS_MAX,
    PURPOSES_MAX,
    USES_MAX,
    ActionRule,
    Argument,
    WorkloadRules,
)
from pcrgate.manifest.payload import PAYLOAD_MAX_BYTES, encode_payload
from pcrgate.manifest.release import (
    AGENTS_MAX,
    GRANTS_MAX,
    IMAGES_MAX,
    LIFETIME_MAX_MS,
    RULES_MAX,
    SECRETS_MAX,
    Agent,
    ApprovedImage,
    Manifest,
)
from pcrgate.manifest.sealed_secret import CONTEXT_MAX_BYTES, CONTEXT_PAIRS_MAX, EPOCH_MAX, WORKLOADS_MAX
from pcrgate.manifest.signature import SIGNED_MAX_BYTES, parse_manifest
from pcrgate.manifest.verification import FUTURE_SKEW_MAX_MS
from pcrgate.units import Sha384
from tests.unit.manifest.samples import (
    NOW_MS,
    PAYMENT,
    digest,
    grant,
    manifest,
    public_key,
    secret,
    sign_payload,
    signed,
    verified,
)

FREE = Argument(constraint=FreeText(max_bytes=1))
FIELD, LIMIT = ErrorCode.MANIFEST_FIELD, ErrorCode.MANIFEST_LIMIT


def actions(count: int) -> tuple[ActionRule, ...]:
    return tuple(ActionRule(action=f"a{number}") for number in range(count))


def context(length: int) -> dict[str, str]:
    """A context of so many bytes, names and values together."""
    said = {"class": "weights", "name": "tiny", "epoch": "4"}
    left = length - sum(len(name) + len(value) for name, value in said.items())
    number = 0
    while left:
        taken = min(left, 1003)
        said[f"n{number:02d}"] = "v" * (taken - 3)
        left -= taken
        number += 1
    return said


BOUNDS: dict[str, tuple[Callable[[int], object], int, ErrorCode]] = {
    "name": (lambda size: ActionRule(action="a" * size), NAME_MAX_BYTES, FIELD),
    "integer": (lambda size: Equals(value=size), INTEGER_MAX, FIELD),
    "negative integer": (lambda size: Equals(value=-size), INTEGER_MAX, FIELD),
    "text": (lambda size: Equals(value="a" * size), TEXT_MAX_BYTES, LIMIT),
    "text in bytes": (lambda size: Equals(value="é" * (size // 2) + "e" * (size % 2)), TEXT_MAX_BYTES, LIMIT),
    "time": (lambda size: secret(expires_ms=size), TIME_MAX_MS, FIELD),
    "choices": (lambda size: OneOf(values=tuple(range(size))), CHOICES_MAX, LIMIT),
    "prefix": (lambda size: Prefix(prefix="a" * size, max_bytes=FREE_TEXT_MAX_BYTES), TEXT_MAX_BYTES, LIMIT),
    "prefixed text": (lambda size: Prefix(prefix="a", max_bytes=size), FREE_TEXT_MAX_BYTES, FIELD),
    "free text": (lambda size: FreeText(max_bytes=size), FREE_TEXT_MAX_BYTES, FIELD),
    "amount": (lambda size: MaxAmount(currency="EUR", max_minor_units=size), INTEGER_MAX, FIELD),
    "amount in all": (
        lambda size: MaxAmount(currency="EUR", max_minor_units=1, total_minor_units_per_boot=size),
        INTEGER_MAX,
        FIELD,
    ),
    "range": (lambda size: IntegerRange(minimum=0, maximum=size), INTEGER_MAX, FIELD),
    "range downwards": (lambda size: IntegerRange(minimum=-size, maximum=0), INTEGER_MAX, FIELD),
    "range in all": (lambda size: IntegerRange(minimum=0, maximum=1, total_per_boot=size), INTEGER_MAX, FIELD),
    "actions of a grant": (lambda size: grant(actions=actions(size)), ACTIONS_MAX, LIMIT),
    "actions of rules": (lambda size: WorkloadRules(workload="w", actions=actions(size)), ACTIONS_MAX, LIMIT),
    "arguments": (
        lambda size: ActionRule(action="a", arguments={f"n{number}": FREE for number in range(size)}),
        ARGUMENTS_MAX,
        LIMIT,
    ),
    "purposes": (
        lambda size: ActionRule(action="a", purposes=tuple(f"n{number}" for number in range(size))),
        PURPOSES_MAX,
        LIMIT,
    ),
    "uses of an action": (lambda size: ActionRule(action="a", max_uses_per_boot=size), USES_MAX, FIELD),
    "uses of a grant": (lambda size: grant(max_uses_per_boot=size), USES_MAX, FIELD),
    "epoch of a secret": (lambda size: secret(epoch=size), EPOCH_MAX, FIELD),
    "epoch": (lambda size: manifest(epoch=size), EPOCH_MAX, FIELD),
    "workloads": (
        lambda size: secret(workloads=tuple(f"n{number}" for number in range(size))),
        WORKLOADS_MAX,
        LIMIT,
    ),
    "pairs of context": (
        lambda size: secret(
            encryption_context={
                "class": "weights", "name": "tiny", "epoch": "4", **{f"n{number}": "v" for number in range(size - 3)}
            }
        ),
        CONTEXT_PAIRS_MAX,
        LIMIT,
    ),
    "context": (lambda size: secret(encryption_context=context(size)), CONTEXT_MAX_BYTES, LIMIT),
    "plaintext": (lambda size: secret(plaintext_bytes=size), INTEGER_MAX, FIELD),
    "secrets": (
        lambda size: manifest(secrets=tuple(secret(f"n{number}") for number in range(size))), SECRETS_MAX, LIMIT,
    ),
    "agents": (
        lambda size: manifest(
            grants=(), agents=tuple(Agent(name=f"n{number}", public_key=public_key(str(number))) for number in range(size))
        ),
        AGENTS_MAX,
        LIMIT,
    ),
    "grants": (
        lambda size: manifest(grants=tuple(grant("alice", f"n{number}", actions=actions(1)) for number in range(size))),
        GRANTS_MAX,
        LIMIT,
    ),
    "rules": (
        lambda size: manifest(
            rules=tuple(WorkloadRules(workload=f"n{number}", actions=actions(1)) for number in range(size))
        ),
        RULES_MAX,
        LIMIT,
    ),
    "images": (
        lambda size: manifest(
            images=tuple(ApprovedImage(name=f"n{number}", pcrs={0: digest("x")}, expires_ms=1) for number in range(size))
        ),
        IMAGES_MAX,
        LIMIT,
    ),
    "PCR index": (lambda size: ApprovedImage(name="n", pcrs={0: digest("x"), size: digest("y")}, expires_ms=1), 31, FIELD),
    "lifetime": (lambda size: manifest(issued_ms=NOW_MS, expires_ms=NOW_MS + size), LIFETIME_MAX_MS, LIMIT),
    "future skew": (
        lambda size: verified(signed(issued_ms=NOW_MS + size)), FUTURE_SKEW_MAX_MS, ErrorCode.MANIFEST_NOT_YET_VALID,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_holds_at_itself_and_not_one_past(name: str) -> None:
    build, bound, code = BOUNDS[name]
    build(bound)
    with pytest.raises(ManifestError) as refused:
        build(bound + 1)
    assert refused.value.code is code


@pytest.mark.parametrize(
    ("build", "least"),
    [
        (lambda size: ActionRule(action="a" * size), 1),
        (lambda size: Equals(value="a" * size), 1),
        (lambda size: OneOf(values=tuple(range(size))), 1),
        (lambda size: FreeText(max_bytes=size), 1),
        (lambda size: Prefix(prefix="abc", max_bytes=size), 3),
        (lambda size: MaxAmount(currency="EUR", max_minor_units=size), 0),
        (lambda size: IntegerRange(minimum=5, maximum=size), 5),
        (lambda size: IntegerRange(minimum=0, maximum=1, total_per_boot=size), 0),
        (lambda size: IntegerRange(minimum=size, maximum=1, total_per_boot=1), 0),
        (lambda size: ActionRule(action="a", max_uses_per_boot=size), 1),
        (lambda size: grant(actions=actions(size)), 1),
        (lambda size: grant(expires_ms=size), 1),
        (lambda size: secret(epoch=size), 1),
        (lambda size: secret(plaintext_bytes=size), 1),
        (lambda size: secret(workloads=("a",) * size), 1),
        (lambda size: manifest(epoch=size), 1),
        (lambda size: manifest(issued_ms=size, expires_ms=100), 1),
        (lambda size: manifest(issued_ms=100, expires_ms=size), 101),
    ],
)
def test_the_least_is_accepted_and_nothing_below(build: Callable[[int], object], least: int) -> None:
    build(least)
    with pytest.raises(ManifestError) as refused:
        build(least - 1)
    assert refused.value.code is FIELD


@pytest.mark.parametrize(
    "build",
    [
        lambda: ActionRule(action=b"a"),  # type: ignore[arg-type]
        lambda: ActionRule(action="-a"),
        lambda: ActionRule(action="a b"),
        lambda: ActionRule(action="ä"),
        lambda: ActionRule(action="a", arguments={"": FREE}),
        lambda: ActionRule(action="a", purposes=("x y",)),
        lambda: Argument(constraint="x"),  # type: ignore[arg-type]
        lambda: Argument(constraint=FreeText(max_bytes=1), required=1),  # type: ignore[arg-type]
        lambda: Equals(value=1.5),  # type: ignore[arg-type]
        lambda: Equals(value="\ud800"),
        lambda: OneOf(values=(True, False)),
        lambda: FreeText(max_bytes=True),
        lambda: MaxAmount(currency="EURO", max_minor_units=1),
        lambda: MaxAmount(currency=None, max_minor_units=1),  # type: ignore[arg-type]
        lambda: secret(workloads=("x y",)),
        lambda: Agent(name="", public_key=public_key("a")),
        lambda: ApprovedImage(name="n", pcrs={}, expires_ms=1),
        lambda: ApprovedImage(name="n", pcrs={0: Sha384(bytes(48))}, expires_ms=1),
        lambda: ApprovedImage(name="n", pcrs={4: digest("4"), 7: digest("7")}, expires_ms=1),
        lambda: ApprovedImage(name="n", pcrs=dict.fromkeys((4, 7, 12), Sha384(bytes(48))), expires_ms=1),
    ],
)
def test_what_cannot_be_meant_cannot_be_built(build: Callable[[], object]) -> None:
    with pytest.raises(ManifestError) as refused:
        build()
    assert refused.value.code is FIELD


def test_a_nitrotpm_is_three_registers_and_pcr12_may_be_zero() -> None:
    ApprovedImage(name="n", pcrs={4: digest("4"), 7: digest("7"), 12: Sha384(bytes(48))}, expires_ms=1)


def test_a_signed_manifest_has_a_length() -> None:
    for length, code in (
        (SIGNED_MAX_BYTES, ErrorCode.MANIFEST_ENVELOPE),
        (SIGNED_MAX_BYTES + 1, ErrorCode.MANIFEST_SIZE),
    ):
        with pytest.raises(ManifestError) as refused:
            parse_manifest(b"\xd2" + bytes(length - 1))
        assert refused.value.code is code
    parse_manifest(sign_payload(bytes(PAYLOAD_MAX_BYTES)))
    with pytest.raises(ManifestError) as refused:
        parse_manifest(sign_payload(bytes(PAYLOAD_MAX_BYTES + 1)))
    assert refused.value.code is ErrorCode.MANIFEST_ENVELOPE


def test_a_payload_past_its_length_is_not_made() -> None:
    def grants(texts: int) -> Manifest:
        choice = OneOf(values=tuple(f"{number:04d}" + "x" * 1000 for number in range(200)))
        rule = ActionRule(action="a", arguments={"x": Argument(constraint=choice)})
        return manifest(grants=tuple(grant("alice", f"n{number}", actions=(rule,)) for number in range(texts)))

    assert len(encode_payload(grants(5))) <= PAYLOAD_MAX_BYTES
    with pytest.raises(ManifestError) as refused:
        encode_payload(grants(6))
    assert refused.value.code is LIMIT


def test_entries_cannot_be_changed_from_outside() -> None:
    said = {"class": "weights", "name": "tiny", "epoch": "4"}
    held = secret(encryption_context=said)
    said["epoch"] = "5"
    assert held.encryption_context["epoch"] == "4"
    with pytest.raises(TypeError):
        held.encryption_context["epoch"] = "5"  # type: ignore[index]
    with pytest.raises(TypeError):
        PAYMENT.arguments["x"] = FREE  # type: ignore[index]
