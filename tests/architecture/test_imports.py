"""Who may import what. import-linter keeps the layers (pyproject.toml); these rules are about outside packages."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, Source, below, dotted, imports, modules, read

ENCLAVE_SIDE = ("attestation", "envelope", "kms", "manifest", "receipts", "wire")

OUTSIDE = {
    "pcrgate.errors": set[str](),
    "pcrgate.units": set[str](),
    "pcrgate.attestation": {"cryptography"},
    "pcrgate.envelope": {"cryptography"},
    "pcrgate.envelope.materials": {"cryptography", "aws_encryption_sdk"},
    "pcrgate.envelope.sealing": {"aws_encryption_sdk", "botocore"},
    "pcrgate.envelope.weights_header": {"cryptography", "aws_encryption_sdk"},
    "pcrgate.kms": {"cryptography", "boto3", "botocore", "aws_encryption_sdk"},
    "pcrgate.kms.relay": {
        "botocore",
        "urllib3",
    },  # botocore's own transport: the relay takes the place of its connection
    "pcrgate.manifest": {"cryptography"},
    "pcrgate.receipts": {"cryptography"},
    "pcrgate.wire": {"cryptography"},
    "kms_policies": {"botocore", "z3"},
    # Measurements files are signed for Terraform, which reads them beside the policies; Ed25519 is not in the library.
    "kms_policies.measurements_signature": {"cryptography"},
}
"""Which packages from outside the standard library may be imported; the longest name that fits decides."""

PURE = ("errors", "units", "attestation", "envelope", "manifest", "receipts", "wire")
IMPURE_MODULES = {
    "asyncio", "fcntl", "http", "multiprocessing", "os", "pathlib", "selectors", "shutil", "signal", "socket",
    "socketserver", "ssl", "tempfile", "time", "urllib",
}  # fmt: skip
# mmap stays allowed: without a file descriptor, which nothing here can get, it is anonymous memory.
IMPURE_CALLS = {"open", "input", "print", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}

UNSAFE_MODULES = {"pickle", "marshal", "shelve", "subprocess", "random", "dbm", "ctypes.util"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "pickle.loads", "yaml.load", "os.system", "os.popen"}

HEAVY = ("fastapi", "starlette", "pydantic", "uvicorn", "moto", "httpx", "requests", "typer", "rich", "cbor2", "z3")


def allowed_outside(name: str) -> set[str] | None:
    """Return what a module may import from outside, or None when no rule speaks of it."""
    fits = [prefix for prefix in OUTSIDE if name == prefix or name.startswith(f"{prefix}.")]
    return OUTSIDE[max(fits, key=len)] if fits else None


def outside_breaches(source: Source) -> list[str]:
    """Return the imports of packages that the table does not allow."""
    allowed = allowed_outside(source.name)
    if allowed is None:
        return []
    fine = allowed | set(sys.stdlib_module_names) | {"pcrgate", "kms_policies"}
    return [
        f"{source.path}:{line} imports {name}" for line, name in imports(source) if name.partition(".")[0] not in fine
    ]


def breaches(source: Source, banned_modules: set[str], banned_calls: set[str]) -> list[str]:
    """Return the uses of banned modules and calls."""
    found = [
        f"{source.path}:{line} imports {name}"
        for line, name in imports(source)
        if any(name == banned or name.startswith(f"{banned}.") for banned in banned_modules)
    ]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if any(name == banned or name.endswith(f".{banned}") for banned in banned_calls if "." in banned) or (
                name in banned_calls
            ):
                found.append(f"{source.path}:{node.lineno} calls {name}")
    return found


def test_outside_packages_are_those_of_the_table() -> None:
    assert [breach for source in modules() for breach in outside_breaches(source)] == []


def test_pure_modules_touch_no_socket_file_environment_or_clock() -> None:
    pure = list(below(*(f"pcrgate.{name}" for name in PURE)))
    assert len(pure) > 10
    assert [breach for source in pure for breach in breaches(source, IMPURE_MODULES, IMPURE_CALLS)] == []


def test_no_unsafe_module_near_secrets() -> None:
    near = [s for s in below("pcrgate", "enclave") if not s.name.startswith(("pcrgate.twin", "pcrgate.cli"))]
    assert [breach for source in near for breach in breaches(source, UNSAFE_MODULES, UNSAFE_CALLS)] == []


def test_no_relative_imports() -> None:
    assert [f"{s.path}:{line}" for s in modules() for line, name in imports(s) if name.startswith(".")] == []


def test_library_packages_import_nothing() -> None:
    packages = [source for source in below("pcrgate", "kms_policies") if source.is_package]
    assert len(packages) >= 9
    held = {
        source.path: [type(node).__name__ for node in source.tree.body if not _is_docstring(node)]
        for source in packages
    }
    assert {path: nodes for path, nodes in held.items() if nodes} == {}
    assert [source.path for source in packages if ast.get_docstring(source.tree) is None] == []


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@pytest.mark.parametrize(
    "code",
    ["import socket", "from os import environ", "import time", "open('x')", "import datetime; datetime.datetime.now()"],
)
def test_the_purity_rule_can_fail(code: str, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(code)
    assert breaches(read(file, tmp_path), IMPURE_MODULES, IMPURE_CALLS)


def test_the_outside_rule_can_fail(tmp_path: Path) -> None:
    folder = tmp_path / "pcrgate" / "attestation"
    folder.mkdir(parents=True)
    file = folder / "extra.py"
    file.write_text("import cbor2\nimport hashlib\nfrom cryptography import x509\n")
    assert outside_breaches(read(file, tmp_path)) == ["pcrgate/attestation/extra.py:1 imports cbor2"]


def test_what_the_enclave_loads() -> None:
    """Import every module of the enclave's side in a fresh process, and look at what came with it."""
    wanted = [
        s.name for s in below("enclave", *(f"pcrgate.{name}" for name in ENCLAVE_SIDE)) if "__main__" not in s.name
    ]
    assert len(wanted) > 15
    code = (
        f"import importlib, sys\nfor name in {wanted!r}: importlib.import_module(name)\nprint('\\n'.join(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    ).stdout.split()
    banned = (*HEAVY, "pcrgate.client", "pcrgate.twin", "pcrgate.cli", "kms_policies", "service", "local")
    assert [name for name in loaded if any(name == b or name.startswith(f"{b}.") for b in banned)] == []
    assert set(wanted) <= set(loaded)
