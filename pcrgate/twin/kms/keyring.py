"""Hold all keys and aliases, find them by every form of KeyId, and write changes through to the store."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.twin.kms.interface import Caller, KeyDescription
from pcrgate.twin.kms.key_state import state_of
from pcrgate.twin.kms.record_json import alias_from_json, alias_to_json, key_from_json, key_to_json
from pcrgate.twin.kms.records import DAY_MS, AliasRecord, GrantRecord, KeyRecord
from pcrgate.twin.kms.service_errors import AwsCode, AwsError
from pcrgate.twin.kms.store import Change, Store

_ARN: Final = re.compile(r"arn:(aws[a-z-]*):kms:([a-z0-9-]+):(\d{12}):(key|alias)/(.+)", re.ASCII)
_KEY_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32}")


class Keyring:
    """Keep records in memory and in the store, under one lock; reading needs none, records are frozen."""

    def __init__(self, store: Store, clock_ms: Callable[[], int]) -> None:
        """Load what the store holds.

        Raises:
            UsageError: ``twin-state-corrupt``.
        """
        self.lock: Final = threading.RLock()
        self._store = store
        self._clock_ms = clock_ms
        self._keys: dict[str, KeyRecord] = {}
        self._aliases: dict[str, AliasRecord] = {}
        try:
            for change in store.load():
                if change.value is not None and change.kind == "key":
                    self._keys[change.name] = key_from_json(dict(change.value))
                elif change.value is not None:
                    self._aliases[change.name] = alias_from_json(dict(change.value))
        except (KeyError, ValueError, TypeError) as error:
            raise UsageError(
                ErrorCode.TWIN_STATE_CORRUPT, "a stored record is of another form, expected a key or an alias"
            ) from error

    def close(self) -> None:
        """Close the store."""
        with self.lock:
            self._store.close()

    def keys(self, account: str, region: str) -> list[KeyRecord]:
        """Return an account's keys in a Region, ordered by id."""
        found = [key for key in self._snapshot() if key.account == account and key.region == region]
        return sorted(found, key=lambda key: key.key_id)

    def arns(self) -> tuple[str, ...]:
        """Return the ARNs of all keys."""
        return tuple(self._keys)

    def in_region(self, region: str) -> list[KeyRecord]:
        """Return every account's keys in a Region."""
        return [key for key in self._snapshot() if key.region == region]

    def aliases(self, account: str, region: str) -> list[AliasRecord]:
        """Return an account's aliases in a Region, ordered by name."""
        middle = f":kms:{region}:{account}:"
        return sorted((one for one in tuple(self._aliases.values()) if middle in one.arn), key=lambda one: one.name)

    def aliases_of(self, key_arn: str) -> tuple[str, ...]:
        """Return the names of the aliases that point at a key, ordered."""
        return tuple(sorted(one.name for one in tuple(self._aliases.values()) if one.target_arn == key_arn))

    def find(self, arn: str) -> KeyRecord | None:
        """Return the key of that ARN, or None."""
        return self._keys.get(arn)

    def find_alias(self, arn: str) -> AliasRecord | None:
        """Return the alias of that ARN, or None."""
        return self._aliases.get(arn)

    def find_by_id(self, key_id: str, region: str) -> KeyRecord | None:
        """Return the key of that id in a Region, in whatever account: what a ciphertext's header asks for."""
        return next((key for key in self._snapshot() if key.key_id == key_id and key.region == region), None)

    def siblings(self, key: KeyRecord) -> list[KeyRecord]:
        """Return the key as it stands in every Region, primary first."""
        found = (self._keys.get(key.arn_in(region)) for region in key.regions)
        return [one for one in found if one is not None]

    def find_grant(self, *, token: str) -> tuple[KeyRecord, GrantRecord] | None:
        """Return the grant of a grant token, with its key, or None."""
        pairs = ((key, grant) for key in self._snapshot() for grant in key.grants)
        return next((pair for pair in pairs if pair[1].description.token == token), None)

    def resolve(self, key_id: str, caller: Caller, *, aliases: bool) -> tuple[KeyRecord, str | None]:
        """Find a key by id, key ARN, and where the operation takes them alias name and alias ARN.

        Returns:
            The key, and the alias name that was used or None.

        Raises:
            AwsError: NotFoundException or InvalidArnException.

        Spec: KMS Developer Guide, "Key identifiers (KeyId)".
        """
        prefix = f"arn:{caller.partition}:kms:{caller.region}:{caller.account}:"
        arn = prefix + (key_id if key_id.startswith("alias/") else f"key/{key_id}")
        if key_id.startswith("arn:"):
            arn = key_id
        match = _ARN.fullmatch(arn)
        if match is None:
            raise AwsError(AwsCode.INVALID_ARN, f"Invalid arn {key_id}")
        partition, region, _account, kind, name = match.groups()
        if (partition, region) != (caller.partition, caller.region):
            raise AwsError(AwsCode.NOT_FOUND, f"Invalid arn {region}")
        if kind == "alias":
            if not aliases:
                raise AwsError(
                    AwsCode.INVALID_ARN, f"Invalid keyId '{key_id}': this operation takes a key ID or key ARN"
                )
            alias = self._aliases.get(arn)
            if alias is None:
                raise AwsError(AwsCode.NOT_FOUND, f"Alias {arn} is not found.")
            return self.require(alias.target_arn), alias.name
        if not _KEY_ID.fullmatch(name):
            raise AwsError(AwsCode.NOT_FOUND, f"Invalid keyId '{name}'")
        return self.require(arn), None

    def require(self, arn: str) -> KeyRecord:
        """Return the key of that ARN.

        Raises:
            AwsError: NotFoundException.
        """
        key = self._keys.get(arn)
        if key is None:
            raise AwsError(AwsCode.NOT_FOUND, f"Key '{arn}' does not exist")
        return key

    def describe(self, key: KeyRecord) -> KeyDescription:
        """Return what policies may know about a key."""
        return KeyDescription(
            arn=key.arn,
            key_id=key.key_id,
            account=key.account,
            region=key.region,
            policy=key.policy,
            key_spec=key.spec_name,
            key_usage=key.usage.value,
            origin=key.origin,
            multi_region=key.multi_region,
            state=state_of(key, self._clock_ms()),
            aliases=self.aliases_of(key.arn),
            tags=dict(key.tags),
            grants=tuple(grant.description for grant in key.grants),
        )

    def put(self, *keys: KeyRecord) -> None:
        """Add or replace keys, all or none."""
        self.apply(put=keys)

    def update(self, arn: str, change: Callable[[KeyRecord], KeyRecord]) -> KeyRecord:
        """Replace a key by what ``change`` makes of it as it is now.

        Raises:
            AwsError: NotFoundException, or whatever ``change`` raises; the key is as before then.
        """
        with self.lock:
            key = change(self.require(arn))
            self.apply(put=(key,))
            return key

    def put_alias(self, alias: AliasRecord) -> None:
        """Add or replace an alias."""
        self.apply(put_aliases=(alias,))

    def delete_alias(self, arn: str) -> None:
        """Remove an alias."""
        self.apply(delete_aliases=(arn,))

    def apply(
        self,
        *,
        put: Sequence[KeyRecord] = (),
        delete: Sequence[str] = (),
        put_aliases: Sequence[AliasRecord] = (),
        delete_aliases: Sequence[str] = (),
    ) -> None:
        """Commit several changes together, then show them.

        Raises:
            AwsError: KMSInternalException when the store takes none of them, such as on a full disk; nothing is shown.
        """
        changes = [
            *(Change(kind="key", name=key.arn, value=key_to_json(key)) for key in put),
            *(Change(kind="key", name=arn, value=None) for arn in delete),
            *(Change(kind="alias", name=alias.arn, value=alias_to_json(alias)) for alias in put_aliases),
            *(Change(kind="alias", name=arn, value=None) for arn in delete_aliases),
        ]
        with self.lock:
            try:
                self._store.commit(changes)
            except UsageError as error:
                raise AwsError(AwsCode.INTERNAL, f"nothing was changed: {error.message}") from error
            for key in put:
                self._keys[key.arn] = key
            for arn in delete:
                self._keys.pop(arn, None)
            for alias in put_aliases:
                self._aliases[alias.arn] = alias
            for arn in delete_aliases:
                self._aliases.pop(arn, None)

    def purge_due(self) -> None:
        """Delete every key whose waiting period is over, with its aliases; let primaries that waited start theirs.

        Spec: KMS Developer Guide, "Deleting AWS KMS keys" and "Deleting multi-Region keys".
        """
        now_ms = self._clock_ms()
        for due in [key.arn for key in self._snapshot() if _is_due(key, now_ms)]:
            with self.lock:
                key = self._keys.get(due)
                if key is not None and _is_due(key, now_ms):
                    self._purge(key, now_ms)

    def _purge(self, key: KeyRecord, now_ms: int) -> None:
        others = [one for one in self.siblings(key) if one.arn != key.arn]
        shrunk = [replace(one, replica_regions=_without(one.replica_regions, key.region)) for one in others]
        waiting = [
            replace(one, deletion_ms=now_ms + one.pending_window_days * DAY_MS)
            if one.pending_window_days is not None and one.deletion_ms is None and not one.replica_regions
            else one
            for one in shrunk
        ]
        pointing = [one.arn for one in self._aliases.values() if one.target_arn == key.arn]
        self.apply(put=waiting, delete=(key.arn,), delete_aliases=pointing)

    def _snapshot(self) -> Iterator[KeyRecord]:
        return iter(tuple(self._keys.values()))


def _is_due(key: KeyRecord, now_ms: int) -> bool:
    return key.deletion_ms is not None and key.deletion_ms <= now_ms


def _without(regions: tuple[str, ...], region: str) -> tuple[str, ...]:
    return tuple(one for one in regions if one != region)
