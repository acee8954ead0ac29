"""The tree as the architecture tests see it: tracked files, parsed once."""

import ast
import functools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = ("pcrgate", "kms_policies", "enclave", "service", "local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Hold one module.

    Attributes:
        path: relative to the root, with slashes.
        name: dotted import name.
        text: the file.
        tree: the file, parsed.
    """

    path: str
    name: str
    text: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        """Whether the module is a package's ``__init__``."""
        return self.path.endswith("__init__.py")


def read(path: Path, root: Path = ROOT) -> Source:
    """Parse one file below the root."""
    relative = path.relative_to(root)
    parts = relative.with_suffix("").parts
    text = path.read_text(encoding="utf-8")
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Source(path=relative.as_posix(), name=name, text=text, tree=ast.parse(text))


@functools.cache
def modules() -> tuple[Source, ...]:
    """Return every module outside the tests."""
    found = tuple(read(path) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    if len(found) < 20:
        raise RuntimeError("the tree was not found; a rule over nothing proves nothing")
    return found


def below(*names: str) -> Iterator[Source]:
    """Yield the modules of these packages or with these names."""
    for source in modules():
        if any(source.name == name or source.name.startswith(f"{name}.") for name in names):
            yield source


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of everything imported when the program runs; ``from a import b`` is ``a.b``."""
    typed_only = {
        id(part)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.If) and dotted(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for kept in node.body
        for part in ast.walk(kept)
    }
    for node in ast.walk(source.tree):
        if id(node) in typed_only:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}"


def dotted(node: ast.AST) -> str:
    """Return ``a.b.c`` for such an expression, else the empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return ""


@functools.cache
def tracked() -> tuple[str, ...]:
    """Return the paths of all tracked files, relative to the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return tuple(name for name in listed.split("\0") if name and (ROOT / name).is_file())
