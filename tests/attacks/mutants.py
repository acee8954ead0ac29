"""Take one check out of a module for the length of a block, so that a test of an attack shows that it can fail.

The source text of the module is changed, compiled, and the code objects of the functions that differ are put into the
running functions. Nothing is imported anew, so every caller sees the mutant, and everything is put back afterwards.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any


@contextmanager
def mutant(module: ModuleType, old: str, new: str, *more: tuple[str, str]) -> Iterator[None]:
    """Run the block with ``old`` replaced by ``new`` in one function of the module.

    Args:
        module: whose source is changed.
        old: text that occurs exactly once, inside a function or method.
        new: what takes its place.
        more: further replacements in the same module, which nested blocks would undo.
    """
    source = inspect.getsource(module)
    for before, after in ((old, new), *more):
        assert source.count(before) == 1, f"the check to remove occurs {source.count(before)} times"
        source = source.replace(before, after)
    codes = _by_qualified_name(compile(source, module.__file__ or "<module>", "exec", dont_inherit=True))
    changed: list[tuple[FunctionType, CodeType]] = []
    for function in _functions(module):
        code = codes.get(function.__code__.co_qualname)
        if code is not None and _differs(code, function.__code__):
            changed.append((function, function.__code__))
            function.__code__ = code
    assert changed, "the change is in no function that can be exchanged"
    try:
        yield
    finally:
        for function, code in changed:
            function.__code__ = code


def succeeds(attack: Callable[[], object]) -> bool:
    """Return whether an attack gets through: it returns instead of being refused."""
    try:
        attack()
    except Exception:  # any refusal, or a crash, is no success
        return False
    return True


def _by_qualified_name(code: CodeType) -> dict[str, CodeType]:
    found: dict[str, CodeType] = {}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found[constant.co_qualname] = constant
            found |= _by_qualified_name(constant)
    return found


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    for value in vars(module).values():
        if isinstance(value, FunctionType) and value.__module__ == module.__name__:
            yield _unwrapped(value)
        elif isinstance(value, type) and value.__module__ == module.__name__:
            yield from _methods(value)


def _methods(owner: type) -> Iterator[FunctionType]:
    for value in vars(owner).values():
        inner: Any = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if isinstance(inner, FunctionType):
            yield _unwrapped(inner)


def _unwrapped(function: FunctionType) -> FunctionType:
    inner = inspect.unwrap(function)
    assert isinstance(inner, FunctionType)
    return inner


def _differs(new: CodeType, old: CodeType) -> bool:
    return (new.co_code, new.co_names, _plain(new)) != (old.co_code, old.co_names, _plain(old))


def _plain(code: CodeType) -> list[object]:
    return [
        [*_plain(constant), constant.co_code] if isinstance(constant, CodeType) else (type(constant), constant)
        for constant in code.co_consts
    ]
