"""Say which of our code an enclave image holds: everything that ``enclave/__main__.py`` imports, and nothing else."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local.measurement import ROOT

ENTRY: Final = "enclave.__main__"
"""What the image runs."""

PACKAGES: Final = ("enclave", "pcrgate")
"""Packages of ours that an image may hold."""

MODULES_MAX: Final = 110
"""Ceiling of modules: above it somebody has to say why more code must be trusted."""

LINES_MAX: Final = 14_000
"""Ceiling of lines, comments and docstrings included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedModule:
    """Hold one module of the image.

    Attributes:
        path: relative to the checkout, with slashes.
        lines: how many.
    """

    path: str
    lines: int


def trusted_modules(root: Path = ROOT) -> tuple[TrustedModule, ...]:
    """Return every module that the enclave imports, at start or later, in order of its path."""
    found: dict[str, TrustedModule] = {}
    waiting = [ENTRY]
    while waiting:
        name = waiting.pop()
        path = _path(name, root)
        if path is None or (relative := path.relative_to(root).as_posix()) in found:
            continue
        text = path.read_text(encoding="utf-8")
        found[relative] = TrustedModule(path=relative, lines=text.count("\n"))
        waiting += _imports(ast.parse(text))
        parts = name.split(".")
        waiting += [".".join(parts[:length]) for length in range(1, len(parts))]
    return tuple(found[path] for path in sorted(found))


def copy_lines(modules: tuple[TrustedModule, ...]) -> tuple[str, ...]:
    """Return the Dockerfile's COPY instructions, one a folder."""
    folders: dict[str, list[str]] = {}
    for module in modules:
        folders.setdefault(module.path.rpartition("/")[0], []).append(module.path)
    return tuple("COPY " + " \\\n     ".join([*paths, f"/app/{folder}/"]) for folder, paths in sorted(folders.items()))


def run(*, dockerfile: bool) -> int:
    """Print the modules and their lines, or the Dockerfile's COPY instructions; return 1 above a ceiling."""
    modules = trusted_modules()
    if dockerfile:
        print("\n".join(copy_lines(modules)))
        return 0
    for module in modules:
        print(f"{module.lines:6}  {module.path}")
    lines = sum(module.lines for module in modules)
    print(f"{lines:6}  lines in {len(modules)} modules, ceiling {LINES_MAX} lines in {MODULES_MAX} modules")
    return 0 if lines <= LINES_MAX and len(modules) <= MODULES_MAX else 1


def _path(name: str, root: Path) -> Path | None:
    if name.partition(".")[0] not in PACKAGES:
        return None
    place = root.joinpath(*name.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None  # a name inside a module


def _imports(tree: ast.Module) -> Iterator[str]:
    typed_only = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typed_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
