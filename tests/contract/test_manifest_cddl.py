"""The grammar of manifests, as a validator of CDDL that is not ours reads it, and our parser agree."""

import base64
from collections.abc import Callable
from typing import Any

import cbor2
import pytest

from pcrgate.attestation.cbor import CborValue, decode, encode
from pcrgate.errors import PcrgateError
from pcrgate.manifest.constraint_form import grant_value, read_grant, read_rules, rules_value
from pcrgate.manifest.payload import manifest_value, read_manifest, read_secret, secret_value
from pcrgate.manifest.signature import parse_manifest
from tests.contract.grammar import Grammar, edits, ordered
from tests.vectors_manifest import catalogue

GRAMMAR = Grammar("manifest")
OF_VERIFICATION = {
    "manifest-signer", "manifest-signature", "manifest-rollback", "manifest-not-yet-valid", "manifest-expired",
    "manifest-key-pinned",
}  # fmt: skip
"""Codes of what has the form; the bytes are those of an accepted manifest, but for the signature or the key id."""

BEYOND_GRAMMAR = {
    "two fields are compared": (
        "context-class", "context-epoch", "context-name", "field-expires-before-issue", "field-prefix-longer",
        "field-range-empty", "key-class", "key-class-session", "limit-lifetime", "reference-agent",
    ),
    "lengths are added up": ("limit-context",),
    "names must not begin with something": ("context-reserved", "context-reserved-sdk"),
    "entries of a list differ": (
        "duplicate-action", "duplicate-agent", "duplicate-agent-key", "duplicate-choice", "duplicate-grant",
        "duplicate-image", "duplicate-message", "duplicate-purpose", "duplicate-rules", "duplicate-secret",
        "duplicate-workload",
    ),
    "lists have an order": ("encoding-list-order", "encoding-workload-order"),
    "a key is a point of the curve": ("public-key-identity", "public-key-not-canonical", "public-key-small-order"),
}  # fmt: skip
"""Vectors that are refused for their form, by the kind of rule that CDDL cannot say."""

BEYOND = {f"reject-{name}" for names in BEYOND_GRAMMAR.values() for name in names}

SIGNED = {
    vector.name: (base64.b64decode(vector.signed), vector.expect)
    for vector in catalogue.load_all()
    if vector.expect not in OF_VERIFICATION
}


def parses(signed: bytes) -> bool:
    try:
        parse_manifest(signed).claims()
    except PcrgateError:
        return False
    return True


def fits(signed: bytes) -> bool:
    """Whether the grammar takes it; the validator asks for the one encoding outside of embedded bytes only."""
    if not GRAMMAR.fits(signed, "signed-manifest"):
        return False
    payload: bytes = cbor2.loads(signed).value[2]
    return GRAMMAR.fits(payload, "manifest")


@pytest.mark.parametrize("name", SIGNED)
def test_the_grammar_takes_what_has_the_form(name: str) -> None:
    signed, expect = SIGNED[name]
    assert parses(signed) == (expect == "accepted")
    assert fits(signed) == (expect == "accepted" or name in BEYOND)


def test_what_is_beyond_the_grammar_is_among_the_vectors() -> None:
    assert SIGNED.keys() >= BEYOND


WHOLE: dict[str, Any] = cbor2.loads(cbor2.loads(SIGNED["accept-everything"][0]).value[2])
EMPTY: dict[str, Any] = cbor2.loads(cbor2.loads(SIGNED["accept-empty"][0]).value[2])


FORMS: dict[str, tuple[Callable[[CborValue], Any], Callable[[Any], CborValue]]] = {
    "manifest": (read_manifest, manifest_value),
    "secret": (read_secret, secret_value),
    "grant": (read_grant, grant_value),
    "rules": (read_rules, rules_value),
}


def reads(data: bytes, rule: str) -> bool:
    """Whether a part is read, and encodes again to the same bytes."""
    read, written = FORMS[rule]
    try:
        return encode(written(read(decode(data)))) == data
    except PcrgateError:
        return False


def image(**changes: Any) -> dict[str, Any]:
    return {**EMPTY, "images": [{**WHOLE["images"][0], **changes}]}


def argument(**fields: Any) -> dict[str, Any]:
    action: dict[str, Any] = {
        "action": "a",
        "purposes": [],
        "max_uses_per_boot": None,
        "arguments": {"x": {"required": True, **fields}},
    }
    return {"workload": "w", "actions": [action]}


PARTS = [("manifest", EMPTY), ("secret", WHOLE["secrets"][0]), ("grant", WHOLE["grants"][0]), ("rules", argument(kind="free-text", max_bytes=1))]  # fmt: skip
EDITS = [(f"{rule}: {name}", rule, edited) for rule, part in PARTS for name, edited in edits(part)]
INT, TIME, SHA = (1 << 53) - 1, 253_402_300_799_999, bytes([1]) * 48
LIMITS: list[tuple[str, dict[str, Any], bool]] = [
    ("manifest", {**EMPTY, "epoch": 10**9}, True),
    ("manifest", {**EMPTY, "epoch": 10**9 + 1}, False),
    ("manifest", {**EMPTY, "epoch": 0}, False),
    ("manifest", {**EMPTY, "issued_ms": TIME - 1, "expires_ms": TIME}, True),
    ("manifest", {**EMPTY, "issued_ms": TIME - 1, "expires_ms": TIME + 1}, False),
    ("manifest", {**EMPTY, "version": 2}, False),
    ("manifest", image(pcrs={0: SHA, 31: bytes(48)}), True),
    ("manifest", image(pcrs={0: SHA, 32: SHA}), False),
    ("manifest", image(pcrs={0: bytes(48)}), False),
    ("manifest", image(pcrs={4: SHA, 7: SHA, 12: bytes(48)}), True),
    ("manifest", image(pcrs={4: SHA, 7: SHA}), False),
    ("manifest", image(pcrs={4: bytes(48), 7: SHA, 12: SHA}), False),
    ("manifest", image(name="n" * 64), True),
    ("manifest", image(name="n" * 65), False),
    ("manifest", image(name="-n"), False),
    ("rules", argument(kind="free-text", max_bytes=65_536), True),
    ("rules", argument(kind="free-text", max_bytes=65_537), False),
    ("rules", argument(kind="free-text", max_bytes=0), False),
    ("rules", argument(kind="equals", value="é" * 512), True),
    ("rules", argument(kind="equals", value="é" * 512 + "e"), False),
    ("rules", argument(kind="equals", value=-INT), True),
    ("rules", argument(kind="equals", value=-INT - 1), False),
    ("rules", argument(kind="equals", value=None), False),
    ("rules", argument(kind="one-of", values=list(range(256))), True),
    ("rules", argument(kind="one-of", values=list(range(257))), False),
    ("rules", argument(kind="one-of", values=[True]), False),
    ("rules", argument(kind="one-of", values=[]), False),
    ("rules", argument(kind="prefix", prefix="p", max_bytes=1), True),
    ("rules", argument(kind="prefix", prefix="", max_bytes=1), False),
    ("rules", argument(kind="integer", minimum=-INT, maximum=INT, total_per_boot=None), True),
    ("rules", argument(kind="integer", minimum=-1, maximum=0, total_per_boot=0), False),
    ("rules", argument(kind="integer", minimum=0, maximum=0, total_per_boot=0), True),
    ("rules", argument(kind="amount", currency="EUR", max_minor_units=0, total_minor_units_per_boot=INT), True),
    ("rules", argument(kind="amount", currency="EUr", max_minor_units=0, total_minor_units_per_boot=None), False),
]


def test_grammar_and_parser_agree_on_every_edit() -> None:
    encoded = [(name, rule, cbor2.dumps(ordered(edited))) for name, rule, edited in EDITS]
    taken = [name for name, rule, data in encoded if GRAMMAR.fits(data, rule)]
    assert taken == [name for name, rule, data in encoded if reads(data, rule)] == ["grant: max_uses_per_boot = None"]
    assert len(EDITS) > 200


@pytest.mark.parametrize(("rule", "value", "holds"), LIMITS)
def test_a_limit_holds_and_one_past_it_does_not(rule: str, value: dict[str, Any], holds: bool) -> None:
    data = cbor2.dumps(ordered(value))
    assert (GRAMMAR.fits(data, rule), reads(data, rule)) == (holds, holds)


def test_the_encoding_is_the_one_of_the_standard() -> None:
    backwards = cbor2.dumps(dict(reversed(ordered(EMPTY).items())))
    assert GRAMMAR.fits(backwards, "manifest", deterministic=False)
    assert not GRAMMAR.fits(backwards, "manifest")
    assert not reads(backwards, "manifest")
