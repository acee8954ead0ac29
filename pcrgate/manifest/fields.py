"""Read the fields of one decoded map: each known one once, with its type; unknown ones refused."""

from collections.abc import Callable
from typing import Never, TypeVar

from pcrgate.attestation.cbor import CborValue
from pcrgate.errors import ErrorCode, ManifestError, UsageError
from pcrgate.units import KeyArn, Sha384

_Made = TypeVar("_Made")


class Fields:
    """Take the entries out of a map; ``done`` refuses what is left."""

    def __init__(self, value: CborValue, what: str) -> None:
        """Copy the map.

        Args:
            value: what must be a map with text keys.
            what: what it describes, for messages.

        Raises:
            ManifestError: ``manifest-field`` when it is no such map.
        """
        if type(value) is not dict or not all(type(name) is str for name in value):
            raise ManifestError(ErrorCode.MANIFEST_FIELD, f"{what} is not a map with text keys")
        self._what = what
        self._left = {str(name): entry for name, entry in value.items()}

    def take(self, name: str) -> CborValue:
        """Return a field of any type."""
        try:
            return self._left.pop(name)
        except KeyError:
            raise ManifestError(ErrorCode.MANIFEST_FIELD, f"{self._what} has no field {name}") from None

    def text(self, name: str) -> str:
        """Return a text field."""
        value = self.take(name)
        if type(value) is not str:
            self._refuse(name, "text")
        return value

    def integer(self, name: str) -> int:
        """Return an integer field."""
        value = self.take(name)
        if type(value) is not int:
            self._refuse(name, "an integer")
        return value

    def optional_integer(self, name: str) -> int | None:
        """Return an integer field, or None for null."""
        value = self.take(name)
        if value is not None and type(value) is not int:
            self._refuse(name, "an integer or null")
        return value

    def boolean(self, name: str) -> bool:
        """Return a boolean field."""
        value = self.take(name)
        if type(value) is not bool:
            self._refuse(name, "a boolean")
        return value

    def bytes_(self, name: str) -> bytes:
        """Return a byte string field."""
        value = self.take(name)
        if type(value) is not bytes:
            self._refuse(name, "a byte string")
        return value

    def digest(self, name: str) -> Sha384:
        """Return a field of 48 bytes."""
        value = self.bytes_(name)
        try:
            return Sha384(value)
        except UsageError as error:
            raise ManifestError(ErrorCode.MANIFEST_FIELD, f"{name} of {self._what}: {error.message}") from error

    def key_arn(self, name: str) -> KeyArn:
        """Return a full key ARN."""
        value = self.text(name)
        try:
            return KeyArn.parse(value)
        except UsageError as error:
            raise ManifestError(ErrorCode.MANIFEST_FIELD, f"{name} of {self._what}: {error.message}") from error

    def entries(self, name: str, make: Callable[[CborValue], _Made]) -> tuple[_Made, ...]:
        """Return an array field, each item made into something."""
        value = self.take(name)
        if type(value) is not list:
            self._refuse(name, "an array")
        return tuple(make(item) for item in value)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an array of text."""

        def as_text(item: CborValue) -> str:
            if type(item) is not str:
                self._refuse(name, "an array of text")
            return item

        return self.entries(name, as_text)

    def mapping(self, name: str) -> dict[int | str, CborValue]:
        """Return a map field."""
        value = self.take(name)
        if type(value) is not dict:
            self._refuse(name, "a map")
        return value

    def done(self) -> None:
        """Refuse fields that nobody took.

        Raises:
            ManifestError: ``manifest-field``.
        """
        if self._left:
            raise ManifestError(
                ErrorCode.MANIFEST_FIELD, f"{self._what} has {len(self._left)} unknown fields, expected none"
            )

    def _refuse(self, name: str, expected: str) -> Never:
        raise ManifestError(ErrorCode.MANIFEST_FIELD, f"{name} of {self._what} is not {expected}")
