"""Take Terraform addresses apart: ``module.a["x.y"].aws_kms_key.this[0]``.

Spec: Terraform, "Resource Address Reference".
"""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Hold an address as its parts between dots, each a name and its index.

    Attributes:
        parts: name and index with its brackets, empty for none; for example ``("this", "[0]")``.
    """

    parts: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take an address apart; dots and brackets within a quoted index belong to it."""
        parts, name, index = [], "", ""
        depth, quoted, escaped = 0, False, False
        for character in text:
            if depth == 0 and character == ".":
                parts.append((name, index))
                name, index = "", ""
                continue
            if character == "[" and not quoted:
                depth += 1
            if depth:
                index += character
            else:
                name += character
            if quoted:
                quoted = escaped or character != '"'
                escaped = not escaped and character == "\\"
            elif character == '"':
                quoted = True
            elif character == "]":
                depth = max(0, depth - 1)
        parts.append((name, index))
        return cls(parts=tuple(parts))

    def __str__(self) -> str:
        return ".".join(name + index for name, index in self.parts)

    @property
    def without_indexes(self) -> str:
        """The address as the configuration names it."""
        return ".".join(name for name, _ in self.parts)

    @property
    def module(self) -> str:
        """The address of the module instance that holds the resource; empty for the root module."""
        return str(Address(parts=self.parts[:-2]))

    @property
    def first_two(self) -> "Address":
        """The resource that a reference starts with, without the attribute it asks for."""
        return Address(parts=self.parts[:2])

    @property
    def last_index(self) -> str:
        """The resource's own index with its brackets; empty for none."""
        return self.parts[-1][1]
