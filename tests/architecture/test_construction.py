"""Verified types come from one module each: whoever holds one knows that the checks were made."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import Source, modules, read

MADE_IN = {
    "VerifiedEvidence": "pcrgate.attestation.verifier",
    "EnclaveEvidence": "pcrgate.attestation.verifier",
    "NitroTpmEvidence": "pcrgate.attestation.verifier",
    "AttestationResult": "pcrgate.attestation.appraisal",
    "LinkedChain": "pcrgate.attestation.chain",
    "VerifiedIdentity": "pcrgate.envelope.session_identity",
    "VerifiedTicket": "pcrgate.envelope.session_ticket",
    "VerifiedReceipt": "pcrgate.receipts.verification",
    "VerifiedManifest": "pcrgate.manifest.verification",
    "OwnDocument": "pcrgate.kms.nsm_messages",
    "VerifiedMeasurements": "kms_policies.measurements_signature",
}
"""Verified type, and the only module that may construct it. A new verified type is one line here."""


def uses(source: Source, names: set[str]) -> Iterator[tuple[int, str]]:
    """Yield where a class is used as a value: called, stored or handed on; not annotations, bases or type tests."""
    exempt = {id(part) for node in ast.walk(source.tree) for kept in _only_types(node) for part in ast.walk(kept)}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in exempt and isinstance(node.ctx, ast.Load):
            name = node.id if isinstance(node, ast.Name) else node.attr
            if name in names:
                yield node.lineno, name


def _only_types(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
        yield node.annotation
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
        yield node.returns
    elif isinstance(node, ast.ClassDef):
        yield from node.bases
    elif isinstance(node, ast.MatchClass):
        yield node.cls
    elif isinstance(node, ast.Subscript):  # Mapping[str, Evidence], a type
        yield node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"isinstance", "cast"}:
        yield from node.args
    elif isinstance(node, ast.Compare) and all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
        yield from node.comparators


def test_verified_types_are_constructed_in_one_module() -> None:
    found = [
        f"{source.path}:{line} uses {name}, made only in {MADE_IN[name]}"
        for source in modules()
        for line, name in uses(source, set(MADE_IN))
        if source.name != MADE_IN[name]
    ]
    assert found == []


@pytest.mark.parametrize("name", sorted(MADE_IN))
def test_the_table_is_true(name: str) -> None:
    """The class exists, and its module does construct it (a base class is made through its subclasses)."""
    defined = [
        node
        for source in modules()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    assert len(defined) == 1
    maker = next(source for source in modules() if source.name == MADE_IN[name])
    is_base = name == "VerifiedEvidence"
    assert is_base or [line for line, _ in uses(maker, {name})]


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("EnclaveEvidence(module_id='x')", 1),
        ("kind = EnclaveEvidence", 1),
        ("make(evidence.EnclaveEvidence)", 1),
        ("object.__new__(EnclaveEvidence)", 1),
        ("def f(e: EnclaveEvidence) -> EnclaveEvidence | None: return isinstance(e, EnclaveEvidence)", 0),
        ("class Mine(EnclaveEvidence): x: dict[str, EnclaveEvidence]", 0),
    ],
)
def test_the_rule_sees_construction_and_nothing_else(code: str, lines: int, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(code)
    assert len(list(uses(read(file, tmp_path), {"EnclaveEvidence"}))) == lines
