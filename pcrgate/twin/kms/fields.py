"""Read the members of a request whose shape was checked, each with its type."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pcrgate.twin.kms.request_shape import violation
from pcrgate.twin.kms.service_errors import AwsCode, AwsError

TAGS_MAX_COUNT: Final = 50
"""Most tags on a key. Spec: KMS Developer Guide, "Tags in AWS KMS"."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Wrap a checked request.

    Attributes:
        members: member name to native value; a member that is None counts as absent.
    """

    members: Mapping[str, object]

    def has(self, name: str) -> bool:
        """Whether the member is present."""
        return self.members.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        """Return a string member, or the default."""
        value = self.members.get(name)
        return value if isinstance(value, str) else default

    def optional_text(self, name: str) -> str | None:
        """Return a string member, or None."""
        value = self.members.get(name)
        return value if isinstance(value, str) else None

    def blob(self, name: str) -> bytes:
        """Return a blob member.

        Raises:
            AwsError: ValidationException when it is absent, which the model may allow.
        """
        value = self.members.get(name)
        if not isinstance(value, bytes):
            raise violation("null", name[:1].lower() + name[1:], "Member must not be null")
        return value

    def number(self, name: str) -> int | None:
        """Return a whole number, or None."""
        value = self.members.get(name)
        return value if isinstance(value, int) else None

    def time_ms(self, name: str) -> int | None:
        """Return a time in milliseconds since 1970, or None."""
        value = self.members.get(name)
        return round(value * 1000) if isinstance(value, int | float) else None

    def flag(self, name: str) -> bool:
        """Return a boolean member; absent is false."""
        return self.members.get(name) is True

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings; absent is empty."""
        value = self.members.get(name)
        return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list | tuple) else ()

    def structure(self, name: str) -> "Fields | None":
        """Return a nested structure, or None."""
        value = self.members.get(name)
        return Fields(value) if isinstance(value, Mapping) else None

    def context(self, name: str) -> dict[str, str]:
        """Return a map of strings, the form of an encryption context; absent is empty."""
        value = self.members.get(name)
        return {str(key): str(text) for key, text in value.items()} if isinstance(value, Mapping) else {}

    def tags(self, name: str = "Tags") -> dict[str, str]:
        """Return tags, checked.

        Raises:
            AwsError: TagException for a reserved prefix, a repeated key or too many.
        """
        value = self.members.get(name)
        tags: dict[str, str] = {}
        for item in value if isinstance(value, list | tuple) else ():
            tag = Fields(item)
            key, text = tag.text("TagKey"), tag.text("TagValue")
            if key in tags:
                raise AwsError(AwsCode.TAG, "Duplicate tag keys")
            if key.lower().startswith("aws:"):
                raise AwsError(AwsCode.TAG, "Tags beginning with aws: are reserved")
            tags[key] = text
        if len(tags) > TAGS_MAX_COUNT:
            raise AwsError(AwsCode.TAG, f"Too many tags: a key has at most {TAGS_MAX_COUNT}")
        return tags
