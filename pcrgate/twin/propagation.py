"""The time that changes of key policies and grants take to be effective: what each key looked like, and since when.

Spec: KMS Developer Guide, "AWS KMS eventual consistency".
"""

import dataclasses
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pcrgate.twin.kms.interface import GrantDescription, KeyDescription
from pcrgate.twin.settings import MAX_PROPAGATION_DELAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    since_ms: int
    policy: str
    grants: tuple[GrantDescription, ...]


class Propagation:
    """Remember the authorisations on each key long enough to show the ones still in force; safe between threads."""

    def __init__(self, *, clock_ms: Callable[[], int], delay_s: Callable[[], float]) -> None:
        """Watch keys from now on.

        Args:
            clock_ms: the twin's clock.
            delay_s: how long a change takes, asked on each use because it may be changed.
        """
        self._lock = threading.Lock()
        self._clock_ms = clock_ms
        self._delay_s = delay_s
        self._versions: dict[str, list[_Version]] = {}

    def observe(self, key: KeyDescription) -> None:
        """Note how a key looks now; what differs from the last look changed now, the first look is as old as can be."""
        with self._lock:
            versions = self._versions.setdefault(key.arn, [])
            if versions and (versions[-1].policy, versions[-1].grants) == (key.policy, key.grants):
                return
            now_ms = self._clock_ms()
            while len(versions) > 1 and versions[1].since_ms <= now_ms - MAX_PROPAGATION_DELAY_S * 1000:
                del versions[0]  # the one after it has arrived whatever the delay
            since_ms = now_ms if versions else 0
            versions.append(_Version(since_ms=since_ms, policy=key.policy, grants=key.grants))

    def effective(self, key: KeyDescription, grant_tokens: Collection[str] = ()) -> KeyDescription:
        """Return the key with the policy and grants in force; a grant whose token is shown is in force at once.

        Args:
            key: the key as it is stored.
            grant_tokens: tokens sent with the request.
        """
        self.observe(key)
        delay_ms = self._delay_s() * 1000
        if not delay_ms:
            return key
        with self._lock:
            versions = self._versions[key.arn]
            reached_ms = self._clock_ms() - delay_ms
            arrived = [index for index, version in enumerate(versions) if version.since_ms <= reached_ms]
            current = arrived[-1] if arrived else 0
            in_force = versions[current]
        shown = tuple(grant for grant in key.grants if grant.token in grant_tokens and grant not in in_force.grants)
        return dataclasses.replace(key, policy=in_force.policy, grants=in_force.grants + shown)
