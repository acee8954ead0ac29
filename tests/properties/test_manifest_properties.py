"""Whatever comes, verification says a manifest code; whatever can be built survives being signed."""

import functools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcrgate.cli.manifest_draft import DRAFT_MAX_BYTES, format_draft, parse_draft
from pcrgate.errors import ErrorCode, ManifestError
from pcrgate.manifest.constraints import Equals, FreeText, IntegerRange, MaxAmount, OneOf, Prefix
from pcrgate.manifest.grants import ActionRule, Argument, Grant, WorkloadRules
from pcrgate.manifest.payload import decode_payload, encode_payload, read_manifest
from pcrgate.manifest.release import Agent, ApprovedImage, Manifest
from pcrgate.manifest.sealed_secret import SealedSecret, SecretClass, SecretFormat, secret_context
from pcrgate.manifest.signature import parse_manifest, sign_manifest
from pcrgate.units import Sha384
from tests.unit.manifest.samples import (
    CREDENTIALS_KEY,
    NOW_MS,
    PUBLISHER,
    SESSION_KEY,
    WEIGHTS_KEY,
    manifest,
    private_key,
    public_key,
    sign_payload,
    signed,
    value,
    verified,
)

NAMES = st.text("abcXYZ019._-", min_size=1, max_size=12).filter(lambda text: text[0] not in "._-")
TEXTS = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable())
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
TIMES = st.integers(1, 253_402_300_799_999)
SHA384 = st.binary(min_size=48, max_size=48).map(Sha384)
USES = st.none() | st.integers(1, 1_000_000_000)

CONSTRAINTS = st.one_of(
    st.builds(Equals, value=TEXTS | INTEGERS | st.booleans()),
    st.builds(
        OneOf,
        values=st.lists(TEXTS, min_size=1, max_size=4, unique=True).map(tuple)
        | st.lists(INTEGERS, min_size=1, max_size=4, unique=True).map(tuple),
    ),
    st.builds(Prefix, prefix=TEXTS, max_bytes=st.integers(100, 65_536)),
    st.builds(FreeText, max_bytes=st.integers(1, 65_536)),
    st.builds(
        IntegerRange,
        minimum=st.integers(0, 100),
        maximum=st.integers(100, 2**53 - 1),
        total_per_boot=st.none() | st.integers(0, 99),
    ),
    st.builds(
        MaxAmount,
        currency=st.text("ABCXYZ", min_size=3, max_size=3),
        max_minor_units=st.integers(0, 2**53 - 1),
        total_minor_units_per_boot=st.none() | st.integers(0, 2**53 - 1),
    ),
)
ACTIONS = st.lists(
    st.builds(
        ActionRule,
        action=NAMES,
        arguments=st.dictionaries(
            NAMES, st.builds(Argument, constraint=CONSTRAINTS, required=st.booleans()), max_size=3
        ),
        purposes=st.lists(NAMES, max_size=3, unique=True).map(tuple),
        max_uses_per_boot=USES,
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda rule: rule.action,
).map(tuple)


@st.composite
def secrets(draw: st.DrawFn) -> SealedSecret:
    weights = draw(st.booleans())
    secret_class = SecretClass.WEIGHTS if weights else SecretClass.CREDENTIALS
    name, epoch = draw(NAMES), draw(st.integers(1, 1_000_000_000))
    more = draw(st.dictionaries(TEXTS.filter(lambda text: not text.startswith("aws")), TEXTS, max_size=2))
    return SealedSecret(
        secret_class=secret_class,
        name=name,
        epoch=epoch,
        format=draw(st.sampled_from((SecretFormat.ONNX, SecretFormat.SAFETENSORS))) if weights else SecretFormat.OPAQUE,
        key_arn=WEIGHTS_KEY if weights else CREDENTIALS_KEY,
        encryption_context={**more, **secret_context(secret_class, name, epoch)},
        header_sha384=draw(SHA384),
        frames_sha384=draw(SHA384),
        plaintext_sha384=draw(SHA384),
        plaintext_bytes=draw(st.integers(1, 2**53 - 1)),
        workloads=tuple(draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))),
        expires_ms=draw(TIMES),
    )


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    names = draw(st.lists(NAMES, max_size=3, unique=True))
    pairs = draw(st.lists(st.tuples(st.sampled_from(names), NAMES), max_size=3, unique=True)) if names else []
    return Manifest(
        epoch=draw(st.integers(7, 1_000_000_000)),
        issued_ms=NOW_MS,
        expires_ms=NOW_MS + draw(st.integers(1, 400 * 86_400_000)),
        secrets=tuple(
            draw(
                st.lists(secrets(), max_size=3, unique_by=(lambda one: one.name, lambda one: one.header_sha384.digest))
            )
        ),
        session_key_arn=draw(st.none() | st.just(SESSION_KEY)),
        agents=tuple(Agent(name=name, public_key=public_key(name)) for name in names),
        grants=tuple(
            Grant(
                agent=agent,
                workload=workload,
                actions=draw(ACTIONS),
                expires_ms=draw(TIMES),
                max_uses_per_boot=draw(USES),
            )
            for agent, workload in pairs
        ),
        rules=tuple(
            draw(
                st.lists(
                    st.builds(WorkloadRules, workload=NAMES, actions=ACTIONS),
                    max_size=2,
                    unique_by=lambda rules: rules.workload,
                )
            )
        ),
        images=tuple(
            draw(
                st.lists(
                    st.builds(
                        ApprovedImage,
                        name=NAMES,
                        pcrs=st.dictionaries(st.integers(1, 31), SHA384, max_size=2).map(
                            lambda pcrs: {**pcrs, 0: Sha384(b"\x01" * 48)}
                        ),
                        expires_ms=TIMES,
                    ),
                    max_size=2,
                    unique_by=lambda image: image.name,
                )
            )
        ),
    )


@given(manifests())
def test_whatever_can_be_built_survives_signing_and_editing(built: Manifest) -> None:
    data = sign_manifest(built, private_key(PUBLISHER))
    assert verified(data).manifest == built
    assert decode_payload(encode_payload(built)) == built
    assert parse_draft(format_draft(built).encode()) == built


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_a_manifest_code(data: bytes) -> None:
    for judged in (data, b"\xd2" + data, b"\xd2\x84" + data):
        with pytest.raises(ManifestError):
            verified(judged)
    with pytest.raises(ManifestError):
        verified(sign_payload(data or b"\x00"))
    with pytest.raises(ManifestError):
        parse_draft(data)


@functools.cache
def good() -> bytes:
    return signed()


@given(st.integers(0, len(good()) - 1), st.integers(1, 255))
def test_every_changed_byte_is_refused(position: int, change: int) -> None:
    data = bytearray(good())
    data[position] ^= change
    with pytest.raises(ManifestError) as refused:
        verified(bytes(data))
    assert refused.value.code in {
        ErrorCode.MANIFEST_ENVELOPE,
        ErrorCode.MANIFEST_SIGNER,
        ErrorCode.MANIFEST_SIGNATURE,
    }


def test_every_single_flipped_bit_is_refused() -> None:
    """All of them, on a small manifest; the payload is sampled by the property above."""
    data = sign_manifest(manifest(secrets=(), agents=(), grants=(), rules=(), images=()), private_key(PUBLISHER))
    verified(data)
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            with pytest.raises(ManifestError):
                verified(bytes(changed))


ITEMS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5) | st.binary(max_size=50),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(0, 40), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.data())
def test_any_value_anywhere_is_read_or_refused_with_a_manifest_code(data: st.DataObject) -> None:
    """Put any item in the place of any other one: it is refused, or what is built encodes again."""
    told: Any = value()
    place: Any = told
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            place[key] = data.draw(ITEMS)
            break
        place = inner
    try:
        built = read_manifest(told)
    except ManifestError:
        return
    assert decode_payload(encode_payload(built)) == built
    verified(sign_payload(encode_payload(built)), floor_epoch=1, now_ms=built.issued_ms, pinned_keys=None)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5))
def test_any_json_is_refused_as_a_draft(told: Any) -> None:
    with pytest.raises(ManifestError):
        parse_draft(json.dumps({"version": 1, "agents": told, "secrets": told}).encode())


def test_a_draft_has_a_length() -> None:
    text = format_draft(manifest()).encode()
    assert parse_draft(text + b" " * (DRAFT_MAX_BYTES - len(text))) == manifest()
    with pytest.raises(ManifestError) as refused:
        parse_draft(text + b" " * (DRAFT_MAX_BYTES - len(text) + 1))
    assert refused.value.code is ErrorCode.MANIFEST_DRAFT


def test_claims_of_an_unverified_manifest_are_read_for_diagnosis() -> None:
    assert parse_manifest(good()).claims() == manifest()
