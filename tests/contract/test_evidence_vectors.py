"""Every evidence vector gets its verdict, the set is complete, and it is what its generator makes."""

import base64
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from pcrgate.errors import Category, ErrorCode
from pcrgate.twin.pki import DevPki
from tests.unit.twin.test_pki import shape
from tests.vectors_evidence import catalogue
from tests.vectors_evidence.__main__ import main
from tests.vectors_evidence.certificate_forge import MODULE_ID, NOW_MS, REGION, forge_chain
from tests.vectors_evidence.vector import ACCEPTED, Vector, describe, judge

VECTORS = catalogue.load_all()
EVIDENCE_CATEGORIES = (Category.MALFORMED, Category.UNTRUSTED, Category.FORGED, Category.STALE, Category.POLICY)
MIN_REJECTS, MIN_ACCEPTS = 150, 15


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_verdict(vector: Vector) -> None:
    verdict = judge(vector)
    assert verdict.code == vector.expect
    assert (None if verdict.evidence is None else describe(verdict.evidence)) == vector.fields


def test_there_are_enough() -> None:
    accepts = sum(vector.expect == ACCEPTED for vector in VECTORS)
    assert accepts >= MIN_ACCEPTS
    assert len(VECTORS) - accepts >= MIN_REJECTS


def test_every_code_that_evidence_is_refused_with_occurs() -> None:
    source = Path(catalogue.__file__).parents[2] / "pcrgate" / "attestation"
    text = "".join(path.read_text(encoding="utf-8") for path in source.glob("*.py"))
    codes = {
        code.code for code in ErrorCode if code.category in EVIDENCE_CATEGORIES and f"ErrorCode.{code.name}" in text
    }
    assert len(codes) > 50
    assert codes <= {vector.expect for vector in VECTORS}


def test_names_say_the_verdict_and_the_file() -> None:
    paths = sorted(catalogue.FOLDER.glob("*/*.json"))
    assert len({vector.name for vector in VECTORS}) == len(VECTORS) == len(paths)
    for path, vector in zip(paths, VECTORS, strict=True):
        assert path.stem == vector.name
        assert path.parent.name == catalogue.CATEGORY_OF[vector.expect]
        assert vector.name.startswith("accept-" if vector.expect == ACCEPTED else "reject-")


def test_the_generator_makes_exactly_these_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_the_generator_sees_every_difference_and_repairs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    assert main([]) == 0
    assert main(["--check"]) == 0
    (tmp_path / "accepted" / "accept-tag-18.json").unlink()
    (tmp_path / "stale" / "reject-stale-nonce-replayed.json").write_text("{}")
    (tmp_path / "policy" / "accept-foreign.json").write_text("{}")
    capsys.readouterr()
    assert main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "not generated: policy/accept-foreign.json",
        "missing: accepted/accept-tag-18.json",
        "differs: stale/reject-stale-nonce-replayed.json",
    ]
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert main(["--wrong"]) == 2


@pytest.mark.parametrize("change", [{"extra": 1}, {"now_ms": None}], ids=["unknown", "missing"])
def test_another_set_of_keys_is_refused(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = json.loads(VECTORS[0].to_json())
    for key, value in change.items():
        told[key] = value
        if value is None:
            del told[key]
    (tmp_path / "accepted").mkdir()
    (tmp_path / "accepted" / "accept-x.json").write_text(json.dumps(told))
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="unknown or missing"):
        catalogue.load_all()


def test_policies_with_other_keys_are_refused() -> None:
    vector = next(vector for vector in VECTORS if vector.name == "accept-policy-pcr0")
    assert vector.policy is not None
    told = json.loads(vector.to_json())
    told["policy"]["extra"] = 1
    with pytest.raises(ValueError, match="unknown"):
        judge(Vector.from_json(json.dumps(told)))
    told["policy"].pop("extra")
    told["policy"].update(kind="nitrotpm", allow_debug=True)
    with pytest.raises(ValueError, match="NitroTPM"):
        judge(Vector.from_json(json.dumps(told)))


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if v.expect == ACCEPTED and v.input == "bytes"], ids=lambda vector: vector.name
)
def test_accepted_documents_hold_by_other_tools_too(vector: Vector) -> None:
    """Signature and links by cbor2 and cryptography alone, so that generator and verifier cannot share a fault."""
    decoded = cbor2.loads(base64.b64decode(vector.document))
    protected, _, payload, signature = decoded.value if isinstance(decoded, cbor2.CBORTag) else decoded
    fields = cbor2.loads(payload)
    chain = [x509.load_der_x509_certificate(der) for der in (*fields["cabundle"], fields["certificate"])]
    assert hashlib.sha256(fields["cabundle"][0]).hexdigest() in vector.roots
    chain[0].verify_directly_issued_by(chain[0])
    for issuer, subject in itertools.pairwise(chain):
        subject.verify_directly_issued_by(issuer)
    key = chain[-1].public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    der = encode_dss_signature(int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big"))
    key.verify(der, cbor2.dumps(["Signature1", protected, b"", payload]), ec.ECDSA(hashes.SHA384()))


def test_forged_certificates_are_shaped_as_the_development_pkis() -> None:
    software = DevPki(b"shape" * 8).chain_for(module_id=MODULE_ID, region=REGION, now_ms=NOW_MS)
    ours = (*software.cabundle, software.certificate)
    for forged, made in zip(forge_chain().ders, ours, strict=True):
        assert shape(x509.load_der_x509_certificate(forged)) == shape(x509.load_der_x509_certificate(made))
