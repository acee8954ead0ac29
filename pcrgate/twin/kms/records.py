"""What the twin remembers: keys with their material versions and grants, and aliases; frozen, replaced as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pcrgate.twin.kms.interface import GrantDescription
from pcrgate.twin.kms.key_specs import KEY_SPECS, KeySpec, Usage
from pcrgate.twin.kms.material import Secret

DAY_MS: Final = 86_400_000
"""Milliseconds of a day; windows and rotation periods are counted in days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialVersion:
    """Hold one version of a key's material.

    Attributes:
        material_id: 64 hex digits.
        secret: the material; None while imported material is deleted or expired.
        created_ms: when it became current.
        rotation: ``AUTOMATIC``, ``ON_DEMAND``, or None for the first.
        description: KeyMaterialDescription of an import.
        valid_to_ms: when imported material expires; None for never.
    """

    material_id: str
    secret: Secret | None
    created_ms: int
    rotation: str | None = None
    description: str | None = None
    valid_to_ms: int | None = None

    def is_usable(self, now_ms: int) -> bool:
        """Whether the material is there and has not expired."""
        return self.secret is not None and (self.valid_to_ms is None or now_ms < self.valid_to_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRecord:
    """Hold one grant as it was created.

    Attributes:
        description: what the enforcement point sees.
        name: the Name that makes CreateGrant idempotent, or None.
        issuing_account: ARN of the root of the account that created it.
        grantee_is_service: whether the grantee is a service principal.
        retiring_is_service: whether the retiring principal is a service principal.
    """

    description: GrantDescription
    name: str | None
    issuing_account: str
    grantee_is_service: bool = False
    retiring_is_service: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """Hold everything about one key in one Region.

    Attributes:
        partition: ``aws``, ``aws-us-gov`` or ``aws-cn``.
        region: where this key, or this replica, lives.
        account: twelve digits.
        key_id: UUID, or ``mrk-`` and 32 hex digits.
        spec_name: KeySpec of the API.
        usage: KeyUsage of the API.
        origin: ``AWS_KMS`` or ``EXTERNAL``.
        created_ms: creation time.
        description: free text.
        policy: text of the key policy.
        enabled: whether it was left enabled.
        tags: tag key to value, in the order they were set.
        materials: oldest first; the last one is current. Empty before the first import.
        grants: live grants.
        primary_region: Region of the primary of a multi-Region key; None for a single-Region key.
        replica_regions: Regions of all replicas, of which this may be one.
        pending_window_days: waiting period of a scheduled deletion; None when none is scheduled.
        deletion_ms: when the key goes away; None while a primary waits for its replicas.
        rotation_period_days: period of automatic rotation; None when it is off.
        rotation_from_ms: when automatic rotation was enabled or last happened.
    """

    partition: str
    region: str
    account: str
    key_id: str
    spec_name: str
    usage: Usage
    origin: str
    created_ms: int
    description: str
    policy: str
    enabled: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)
    materials: tuple[MaterialVersion, ...] = ()
    grants: tuple[GrantRecord, ...] = ()
    primary_region: str | None = None
    replica_regions: tuple[str, ...] = ()
    pending_window_days: int | None = None
    deletion_ms: int | None = None
    rotation_period_days: int | None = None
    rotation_from_ms: int | None = None

    @property
    def arn(self) -> str:
        """The full key ARN in this Region."""
        return self.arn_in(self.region)

    def arn_in(self, region: str) -> str:
        """Return the ARN of the same key in another Region."""
        return f"arn:{self.partition}:kms:{region}:{self.account}:key/{self.key_id}"

    @property
    def bound_arn(self) -> str:
        """What ciphertexts are bound to: the ARN, without Region when every Region's replica must open it."""
        return self.arn_in("") if self.multi_region else self.arn

    @property
    def multi_region(self) -> bool:
        """Whether this is a multi-Region key, primary or replica."""
        return self.primary_region is not None

    @property
    def is_replica(self) -> bool:
        """Whether this is a replica of a primary elsewhere."""
        return self.primary_region is not None and self.primary_region != self.region

    @property
    def regions(self) -> tuple[str, ...]:
        """Every Region of the key: primary first, or its only one."""
        return (self.region,) if self.primary_region is None else (self.primary_region, *self.replica_regions)

    @property
    def spec(self) -> KeySpec:
        """The description of its KeySpec."""
        return KEY_SPECS[self.spec_name]

    @property
    def current(self) -> MaterialVersion | None:
        """The material that encrypts now; None before the first import."""
        return self.materials[-1] if self.materials else None

    def material(self, material_id: str) -> MaterialVersion | None:
        """Return the version of that id, or None."""
        return next((version for version in self.materials if version.material_id == material_id), None)

    def with_grant(self, grant: GrantRecord) -> "KeyRecord":
        """Return the key with one more grant."""
        return replace(self, grants=(*self.grants, grant))

    def without_grant(self, grant_id: str) -> "KeyRecord":
        """Return the key without that grant."""
        return replace(self, grants=tuple(one for one in self.grants if one.description.grant_id != grant_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasRecord:
    """Hold one alias.

    Attributes:
        arn: the alias ARN.
        name: ``alias/...``.
        target_key_id: id of the key it points at, in the same account and Region.
        created_ms: creation time.
        updated_ms: when the target was last set.
    """

    arn: str
    name: str
    target_key_id: str
    created_ms: int
    updated_ms: int

    @property
    def target_arn(self) -> str:
        """The ARN of the key it points at."""
        return f"{self.arn.rsplit(':', 1)[0]}:key/{self.target_key_id}"
