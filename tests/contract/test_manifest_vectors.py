"""Every manifest vector gets its verdict, every code occurs, and other tools agree about what was accepted."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pcrgate.errors import Category, ErrorCode
from tests.vectors_manifest import catalogue
from tests.vectors_manifest.__main__ import main
from tests.vectors_manifest.vector import ACCEPTED, Vector, judge

VECTORS = catalogue.load_all()
NOT_OF_VERIFICATION = {"manifest-no-secret", "manifest-no-grant", "manifest-draft"}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_verdict(vector: Vector) -> None:
    assert judge(vector) == (vector.expect, vector.fields)
    assert vector.name.startswith("accept-" if vector.expect == ACCEPTED else "reject-")


def test_every_code_of_verification_occurs() -> None:
    codes = {code.code for code in ErrorCode if code.category is Category.MANIFEST}
    assert codes - {vector.expect for vector in VECTORS} == NOT_OF_VERIFICATION
    assert len(VECTORS) >= 140


def test_the_generator_makes_exactly_these_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out
    assert {path.stem for path in catalogue.FOLDER.glob("*.json")} == {vector.name for vector in VECTORS}


def test_the_generator_sees_every_difference_and_repairs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    assert main([]) == 0
    (tmp_path / "accept-empty.json").unlink()
    (tmp_path / "reject-expired.json").write_text("{}")
    (tmp_path / "accept-foreign.json").write_text("{}")
    capsys.readouterr()
    assert main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "not generated: accept-foreign.json",
        "missing: accept-empty.json",
        "differs: reject-expired.json",
    ]
    with pytest.raises(ValueError, match="unknown or missing"):
        catalogue.load_all()
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert main(["--wrong"]) == 2


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.expect == ACCEPTED], ids=lambda vector: vector.name)
def test_accepted_manifests_hold_by_other_tools_too(vector: Vector) -> None:
    """By cbor2, hashlib and cryptography alone, so that generator and library cannot share a fault."""
    signed = base64.b64decode(vector.signed)
    tagged = cbor2.loads(signed)
    protected, unprotected, payload, signature = tagged.value
    header = cbor2.loads(protected)
    keys = {hashlib.sha256(bytes.fromhex(key)).digest()[:16]: bytes.fromhex(key) for key in vector.publisher_keys}
    assert (tagged.tag, unprotected) == (18, {})
    assert (header[1], header[3], set(header)) == (-8, "application/vnd.pcrgate.manifest+cbor", {1, 3, 4})
    covered = cbor2.dumps(["Signature1", protected, b"pcrgate/release-manifest/v1", payload])
    Ed25519PublicKey.from_public_bytes(keys[header[4]]).verify(signature, covered)
    told = cbor2.loads(payload)
    assert cbor2.dumps(_in_order(told)) == payload
    assert vector.fields is not None
    assert vector.fields["digest_sha384"] == hashlib.sha384(signed).hexdigest()
    assert vector.fields["pcr16"] == hashlib.sha384(bytes(48) + hashlib.sha384(signed).digest()).hexdigest()
    read = vector.fields["manifest"]
    assert read["epoch"] == told["epoch"]
    assert [one["name"] for one in read["secrets"]] == [one["name"] for one in told["secrets"]]
    assert [one["plaintext_sha384"] for one in read["secrets"]] == [
        one["plaintext_sha384"].hex() for one in told["secrets"]
    ]
    assert [one["actions"] for one in read["grants"]] == [one["actions"] for one in told["grants"]]


def _in_order(told: Any) -> Any:
    """Sort every map by the bytes of its encoded keys; cbor2 writes maps in the order they have. RFC 8949, 4.2.1."""
    if isinstance(told, dict):
        return {key: _in_order(told[key]) for key in sorted(told, key=cbor2.dumps)}
    return [_in_order(entry) for entry in told] if isinstance(told, list) else told
