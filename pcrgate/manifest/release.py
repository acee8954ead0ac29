"""The release manifest: every secret, agent, grant and approved image of one release, held to its own rules.

Whatever can be built is consistent; lists are kept in the order of their names, so that one manifest has one encoding.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pcrgate.errors import ErrorCode, ManifestError
from pcrgate.manifest.bounds import in_order, require_count, require_integer, require_name, require_time, require_unique
from pcrgate.manifest.grants import Grant, WorkloadRules
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.manifest.sealed_secret import EPOCH_MAX, SealedSecret, SecretClass
from pcrgate.units import PCR_MAX_INDEX, KeyArn, Sha384

MANIFEST_VERSION: Final = 1
"""Version of the payload's form; a reader knows one."""

SECRETS_MAX: Final = 256
"""Most secrets of one release."""

AGENTS_MAX: Final = 1024
"""Most agents of one release."""

GRANTS_MAX: Final = 4096
"""Most grants of one release."""

RULES_MAX: Final = 64
"""Most workloads with rules of their own."""

IMAGES_MAX: Final = 64
"""Most approved images: a roll-over needs two at a time."""

LIFETIME_MAX_MS: Final = 400 * 24 * 3600 * 1000
"""Longest time from issue to expiry: a year, and a month to renew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Name an agent by the key it signs with.

    Attributes:
        name: unique in the manifest.
        public_key: Ed25519; no two agents share one.
    """

    name: str
    public_key: VerifyingKey

    def __post_init__(self) -> None:
        require_name(self.name, "an agent's name")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedImage:
    """Give the reference values of an image that the publisher approves, for agents and for other enclaves.

    Attributes:
        name: unique in the manifest.
        pcrs: register index to value; PCR0 at least (PCR4, PCR7 and PCR12 for NitroTPM), not zero.
        expires_ms: until when, exclusive, in milliseconds since 1970.
    """

    name: str
    pcrs: Mapping[int, Sha384]
    expires_ms: int

    def __post_init__(self) -> None:
        require_name(self.name, "an image's name")
        for index in self.pcrs:
            require_integer(index, f"a PCR index of {self.name}", maximum=PCR_MAX_INDEX)
        is_tpm = {4, 7, 12} <= self.pcrs.keys() and 0 not in self.pcrs
        measured = self.pcrs.get(4 if is_tpm else 0)
        if measured is None or measured.is_zero:
            raise ManifestError(
                ErrorCode.MANIFEST_FIELD,
                f"image {self.name} has no PCR0 or a zero one, expected PCR0 (or PCR4, PCR7 and PCR12)",
            )
        require_time(self.expires_ms, f"expires_ms of image {self.name}")
        object.__setattr__(self, "pcrs", MappingProxyType(dict(sorted(self.pcrs.items()))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Hold one release.

    Attributes:
        epoch: 1 and up, greater in every manifest that follows another.
        issued_ms: when it was made, in milliseconds since 1970.
        expires_ms: until when it is accepted, exclusive; at most 400 days later.
        secrets: in order of name.
        session_key_arn: the KMS key of session keys; None when there are no sessions.
        agents: in order of name.
        grants: in order of agent and workload, one for each pair.
        rules: in order of workload; what holds for all agents together.
        images: in order of name; approved measurements.
    """

    epoch: int
    issued_ms: int
    expires_ms: int
    secrets: tuple[SealedSecret, ...] = ()
    session_key_arn: KeyArn | None = None
    agents: tuple[Agent, ...] = ()
    grants: tuple[Grant, ...] = ()
    rules: tuple[WorkloadRules, ...] = ()
    images: tuple[ApprovedImage, ...] = ()

    def __post_init__(self) -> None:
        require_integer(self.epoch, "epoch of the manifest", minimum=1, maximum=EPOCH_MAX)
        require_time(self.issued_ms, "issued_ms of the manifest")
        # 1. Times in order, and not for ever.
        require_time(self.expires_ms, "expires_ms of the manifest", after_ms=self.issued_ms)
        if self.expires_ms - self.issued_ms > LIFETIME_MAX_MS:
            raise ManifestError(
                ErrorCode.MANIFEST_LIMIT, f"the manifest is valid longer than {LIFETIME_MAX_MS // 86_400_000} days"
            )
        # 2. Bounded lists, each entry once.
        for name, entries, maximum in (
            ("secrets", self.secrets, SECRETS_MAX),
            ("agents", self.agents, AGENTS_MAX),
            ("grants", self.grants, GRANTS_MAX),
            ("workloads with rules", self.rules, RULES_MAX),
            ("images", self.images, IMAGES_MAX),
        ):
            require_count(entries, name, maximum)
        order = object.__setattr__
        order(self, "secrets", in_order(self.secrets, lambda secret: secret.name, "a secret's name"))
        order(self, "agents", in_order(self.agents, lambda agent: agent.name, "an agent's name"))
        order(self, "grants", in_order(self.grants, lambda grant: (grant.agent, grant.workload), "a grant"))
        order(self, "rules", in_order(self.rules, lambda rules: rules.workload, "a workload with rules"))
        order(self, "images", in_order(self.images, lambda image: image.name, "an image's name"))
        require_unique((agent.public_key for agent in self.agents), "an agent's key")
        require_unique((secret.header_sha384 for secret in self.secrets), "a sealed message")
        # 3. Grants are for agents that are here.
        names = {agent.name for agent in self.agents}
        for grant in self.grants:
            if grant.agent not in names:
                raise ManifestError(
                    ErrorCode.MANIFEST_REFERENCE, f"a grant is for {grant.agent}, expected an agent of the manifest"
                )
        # 4. A key serves one class, so that one class can be withdrawn, and never reached through another.
        classes: dict[KeyArn, SecretClass] = {}
        for key_arn, secret_class in self.kms_keys():
            if classes.setdefault(key_arn, secret_class) is not secret_class:
                raise ManifestError(
                    ErrorCode.MANIFEST_KEY_CLASS,
                    f"{key_arn} serves {classes[key_arn].value} and {secret_class.value}, expected one class",
                )

    def kms_keys(self) -> Iterator[tuple[KeyArn, SecretClass]]:
        """Yield every KMS key that an entry names, with the entry's class."""
        for secret in self.secrets:
            yield secret.key_arn, secret.secret_class
        if self.session_key_arn is not None:
            yield self.session_key_arn, SecretClass.SESSION

    def secret(self, name: str, *, workload: str, now_ms: int) -> SealedSecret:
        """Return a secret that this workload may have now.

        Raises:
            ManifestError: ``manifest-no-secret``.
        """
        for secret in self.secrets:
            if secret.name == name and workload in secret.workloads and now_ms < secret.expires_ms:
                return secret
        raise ManifestError(
            ErrorCode.MANIFEST_NO_SECRET,
            "the workload may have no such secret now, expected one of those listed for it",
        )

    def agent(self, name: str) -> Agent:
        """Return an agent.

        Raises:
            ManifestError: ``manifest-no-grant``.
        """
        for agent in self.agents:
            if agent.name == name:
                return agent
        raise ManifestError(ErrorCode.MANIFEST_NO_GRANT, "no such agent, expected one of the manifest's")

    def grant(self, agent: str, *, workload: str, now_ms: int) -> Grant:
        """Return what an agent may do with a workload now.

        Raises:
            ManifestError: ``manifest-no-grant``.
        """
        for grant in self.grants:
            if grant.agent == agent and grant.workload == workload and now_ms < grant.expires_ms:
                return grant
        raise ManifestError(
            ErrorCode.MANIFEST_NO_GRANT, "the agent has no grant for this workload now, expected one in the manifest"
        )

    def rules_of(self, workload: str) -> WorkloadRules | None:
        """Return what holds for all agents together, None when the workload has no rules of its own."""
        return next((rules for rules in self.rules if rules.workload == workload), None)
