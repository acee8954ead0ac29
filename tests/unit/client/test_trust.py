"""The trust policy: no default, nothing left open, one file form."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pcrgate.attestation.anchors import AWS_ROOTS, Roots
from pcrgate.client.trust import POLICY_MAX_BYTES, TrustedManifests, TrustedPublisher, TrustPolicy
from pcrgate.errors import ErrorCode, UsageError
from pcrgate.units import Sha384

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()
FORM: dict[str, Any] = {
    "version": 1,
    "roots": "aws",
    "pcr0": ["ab" * 48],
    "pcrs": {"8": ["cd" * 48]},
    "regions": ["eu-central-1"],
    "manifest": {"publisher_keys": [KEY.hex()], "floor_epoch": 3},
}


def parsed(**changes: Any) -> TrustPolicy:
    return TrustPolicy.parse(json.dumps({**FORM, **changes}).encode())


def test_the_file_form(tmp_path: Path) -> None:
    policy = parsed()
    assert policy.roots == AWS_ROOTS
    assert policy.pcr0 == (Sha384(b"\xab" * 48),)
    assert policy.pcrs == {8: (Sha384(b"\xcd" * 48),)}
    assert isinstance(policy.manifest, TrustedPublisher)
    assert policy.manifest.keys[0].public_bytes == KEY
    own = parsed(roots=["ef" * 32], manifest={"digests": ["01" * 48]})
    assert own.roots == Roots.pinned(b"\xef" * 32)
    assert own.manifest == TrustedManifests(digests=frozenset({Sha384(b"\x01" * 48)}))
    (tmp_path / "trust.json").write_text(json.dumps(FORM))
    assert TrustPolicy.read(tmp_path / "trust.json") == policy


@pytest.mark.parametrize("name", sorted(FORM))
def test_nothing_may_be_left_out(name: str) -> None:
    left = {key: value for key, value in FORM.items() if key != name}
    with pytest.raises(UsageError) as caught:
        TrustPolicy.parse(json.dumps(left).encode())
    assert caught.value.code is ErrorCode.TRUST_POLICY


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"version": 2}, ErrorCode.TRUST_POLICY),
        ({"extra": 1}, ErrorCode.TRUST_POLICY),
        ({"pcr0": []}, ErrorCode.TRUST_POLICY),
        ({"pcr0": ["00" * 48]}, ErrorCode.TRUST_POLICY),
        ({"pcr0": "ab" * 48}, ErrorCode.TRUST_POLICY),
        ({"pcr0": ["ab"]}, ErrorCode.USAGE_DIGEST),
        ({"pcr0": ["zz" * 48]}, ErrorCode.USAGE_HEX),
        ({"pcrs": {"0": ["ab" * 48]}}, ErrorCode.TRUST_POLICY),
        ({"pcrs": {"16": ["ab" * 48]}}, ErrorCode.TRUST_POLICY),
        ({"pcrs": {"eight": ["ab" * 48]}}, ErrorCode.TRUST_POLICY),
        ({"pcrs": []}, ErrorCode.TRUST_POLICY),
        ({"roots": []}, ErrorCode.USAGE_POLICY),
        ({"roots": "everybody"}, ErrorCode.TRUST_POLICY),
        ({"roots": ["ef"]}, ErrorCode.USAGE_POLICY),
        ({"regions": "eu-central-1"}, ErrorCode.TRUST_POLICY),
        ({"manifest": {}}, ErrorCode.TRUST_POLICY),
        ({"manifest": {"digests": []}}, ErrorCode.TRUST_POLICY),
        ({"manifest": {"publisher_keys": [], "floor_epoch": 1}}, ErrorCode.TRUST_POLICY),
        ({"manifest": {"publisher_keys": [KEY.hex()], "floor_epoch": 0}}, ErrorCode.TRUST_POLICY),
        ({"manifest": {"publisher_keys": [KEY.hex()], "floor_epoch": "1"}}, ErrorCode.TRUST_POLICY),
        ({"manifest": {"publisher_keys": ["00" * 32], "floor_epoch": 1}}, ErrorCode.TRUST_POLICY),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], code: ErrorCode) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(**changes)
    assert caught.value.code is code


def test_no_key_twice_no_other_format_no_more_than_the_limit(tmp_path: Path) -> None:
    twice = json.dumps(FORM)[:-1] + ', "pcr0": []}'
    just = json.dumps(FORM).encode().ljust(POLICY_MAX_BYTES)
    TrustPolicy.parse(just)
    for data in (twice.encode(), b"[]", b"{", b"\xff", just + b" "):
        with pytest.raises(UsageError) as caught:
            TrustPolicy.parse(data)
        assert caught.value.code is ErrorCode.TRUST_POLICY
    with pytest.raises(UsageError) as caught:
        TrustPolicy.read(tmp_path / "absent.json")
    assert caught.value.code is ErrorCode.USAGE_FILE
