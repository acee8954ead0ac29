"""What a manifest says when it is asked, and what may follow it."""

from dataclasses import replace
from typing import Any

import pytest

from pcrgate.errors import ErrorCode, ManifestError
from pcrgate.manifest.public_keys import _SMALL_ORDER_Y, VerifyingKey
from pcrgate.manifest.sealed_secret import SecretFormat
from pcrgate.manifest.succession import require_successor
from pcrgate.manifest.verification import expected_pcr16, manifest_digest
from pcrgate.twin.nsm import extend
from tests.unit.manifest.samples import (
    CREDENTIALS_KEY,
    DAY_MS,
    NOW_MS,
    PAYMENT,
    PUBLISHER,
    SESSION_KEY,
    WEIGHTS_KEY,
    credentials,
    digest,
    key_arn,
    manifest,
    private_key,
    public_key,
    secret,
    signed,
    verified,
)


def test_a_secret_is_for_its_workloads_until_it_expires() -> None:
    told = manifest()
    end = NOW_MS + 20 * DAY_MS
    assert told.secret("tiny", workload="infer", now_ms=end - 1) == secret()
    for name, workload, now_ms in (
        ("tiny", "infer", end),
        ("tiny", "validate", NOW_MS),
        ("database", "infer", NOW_MS),
        ("other", "infer", NOW_MS),
    ):
        with pytest.raises(ManifestError) as refused:
            told.secret(name, workload=workload, now_ms=now_ms)
        assert refused.value.code is ErrorCode.MANIFEST_NO_SECRET


def test_a_grant_is_for_its_agent_and_workload_until_it_expires() -> None:
    told = manifest()
    end = NOW_MS + 10 * DAY_MS
    held = told.grant("alice", workload="validate", now_ms=end - 1)
    assert held.action("payments.transfer") is PAYMENT
    for agent, workload, now_ms in (
        ("alice", "validate", end),
        ("alice", "other", NOW_MS),
        ("bob", "validate", NOW_MS),
        ("carol", "infer", NOW_MS),
    ):
        with pytest.raises(ManifestError) as refused:
            told.grant(agent, workload=workload, now_ms=now_ms)
        assert refused.value.code is ErrorCode.MANIFEST_NO_GRANT
    with pytest.raises(ManifestError) as refused:
        held.action("database.drop")
    assert refused.value.code is ErrorCode.MANIFEST_NO_GRANT


def test_rules_of_a_workload() -> None:
    rules = manifest().rules_of("validate")
    assert rules is not None
    assert rules.action("payments.transfer") is PAYMENT
    with pytest.raises(ManifestError):
        rules.action("database.drop")
    assert manifest().rules_of("infer") is None


def test_agents_by_name() -> None:
    assert manifest().agent("bob").public_key == public_key("bob")
    with pytest.raises(ManifestError) as refused:
        manifest().agent("carol")
    assert refused.value.code is ErrorCode.MANIFEST_NO_GRANT


def test_keys_come_with_their_classes() -> None:
    assert {(str(arn), one.value) for arn, one in manifest().kms_keys()} == {
        (str(WEIGHTS_KEY), "weights"),
        (str(CREDENTIALS_KEY), "credentials"),
        (str(SESSION_KEY), "session"),
    }
    assert list(manifest(secrets=(), session_key_arn=None).kms_keys()) == []


def test_the_reader_of_sealed_messages_gets_what_was_signed() -> None:
    told = secret().expectation()
    assert (told.header_sha384, told.frames_sha384) == (secret().header_sha384, secret().frames_sha384)
    assert (told.plaintext_sha384, told.plaintext_bytes) == (secret().plaintext_sha384, 90_000_000)
    assert told.encryption_context == {"class": "weights", "name": "tiny", "epoch": "4"}


def test_the_digest_is_over_the_signed_bytes_and_pcr16_extends_it_once() -> None:
    data = signed()
    told = verified(data)
    assert told.digest == manifest_digest(data)
    assert told.key_id == public_key(PUBLISHER).key_id
    assert expected_pcr16(told.digest).digest == extend(bytes(48), told.digest.digest)


def follow(**changes: Any) -> None:
    require_successor(manifest(**{"epoch": 8, **changes}), manifest())


def test_what_may_follow() -> None:
    follow()
    follow(epoch=900)
    follow(secrets=())
    follow(secrets=(secret(), secret("new", epoch=1)))
    follow(secrets=(secret(epoch=5, plaintext_sha384=digest("retrained")),))
    follow(secrets=(secret(workloads=("infer", "validate"), expires_ms=NOW_MS),))


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": 7},
        {"epoch": 6},
        {"secrets": (secret(epoch=3),)},
        {"secrets": (secret(plaintext_sha384=digest("retrained")),)},
        {"secrets": (secret(header_sha384=digest("sealed again")),)},
        {"secrets": (secret(frames_sha384=digest("other")),)},
        {"secrets": (secret(plaintext_bytes=1),)},
        {"secrets": (secret(key_arn=key_arn(8)),)},
        {"secrets": (credentials("tiny", key_arn=key_arn(8)),)},
        {"secrets": (secret(encryption_context={**secret().encryption_context, "x": "y"}),)},
    ],
)
def test_what_may_not_follow(changes: dict[str, Any]) -> None:
    with pytest.raises(ManifestError) as refused:
        follow(**changes)
    assert refused.value.code is ErrorCode.MANIFEST_ROLLBACK


def test_a_secret_that_goes_back_is_told_apart_from_one_that_changed() -> None:
    for epoch, said in ((3, "expected at least 4"), (4, "changed under epoch 4")):
        with pytest.raises(ManifestError, match=said):
            follow(secrets=(secret(epoch=epoch, plaintext_bytes=1),))


def test_another_format_under_the_same_epoch_may_not_follow() -> None:
    with pytest.raises(ManifestError):
        follow(secrets=(replace(secret(), format=SecretFormat.ONNX),))


PRIME = 2**255 - 19
D = -121665 * pow(121666, -1, PRIME) % PRIME


def multiply_by_eight(point: tuple[int, int]) -> tuple[int, int]:
    """Double three times. RFC 8032, 5.1: -x^2 + y^2 = 1 + d x^2 y^2."""
    for _ in range(3):
        x, y = point
        twist = D * x * x * y * y % PRIME
        point = (
            2 * x * y * pow(1 + twist, -1, PRIME) % PRIME,
            (y * y + x * x) * pow(1 - twist, -1, PRIME) % PRIME,
        )
    return point


def points_of(y: int) -> set[tuple[int, int]]:
    square = (y * y - 1) * pow(D * y * y + 1, -1, PRIME) % PRIME
    root = pow(square, (PRIME + 3) // 8, PRIME)
    if root * root % PRIME != square:
        root = root * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    assert root * root % PRIME == square
    return {(root, y), (PRIME - root if root else 0, y)}


def test_the_points_of_small_order_are_those_eight_and_are_refused() -> None:

    points = {point for y in _SMALL_ORDER_Y for point in points_of(y)}
    assert len(points) == 8  # the torsion has eight points, so these are all
    assert {multiply_by_eight(point) for point in points} == {(0, 1)}
    for x, y in points:
        for sign in {x & 1, 0, 1}:
            with pytest.raises(ManifestError) as refused:
                VerifyingKey((y | sign << 255).to_bytes(32, "little"))
            assert refused.value.code is ErrorCode.MANIFEST_PUBLIC_KEY
    y = int.from_bytes(public_key("a").public_bytes, "little") & (2**255 - 1)
    assert multiply_by_eight(next(iter(points_of(y)))) != (0, 1)


def test_a_signature_is_checked_by_the_key_that_made_it() -> None:
    key = private_key("a")
    public_key("a").verify(key.sign(b"x"), b"x")
    for signature, signed_bytes in ((key.sign(b"x"), b"y"), (b"", b"x"), (key.sign(b"x") + b"\x00", b"x")):
        with pytest.raises(ManifestError) as refused:
            public_key("a").verify(signature, signed_bytes)
        assert refused.value.code is ErrorCode.MANIFEST_SIGNATURE
