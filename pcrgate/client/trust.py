"""State what an agent trusts: roots, images, and manifests; nothing is trusted by default, and nothing may be left out.

The file form is one JSON object with exactly the keys ``version`` (1), ``roots`` (``"aws"`` or SHA-256 fingerprints
in hex), ``pcr0`` (hex), ``pcrs`` (register to list of hex), ``regions``, and ``manifest``: either
``{"digests": [hex]}`` or ``{"publisher_keys": [hex], "floor_epoch": number}``.
Spec: docs/protocol.md, "Trust policy".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from pcrgate.attestation.anchors import AWS_ROOTS, Roots
from pcrgate.attestation.policy import EnclavePolicy, Equal, OneOf, PcrExpectation, ReferenceValue
from pcrgate.envelope.session_identity import IdentityStatement
from pcrgate.errors import ErrorCode, PcrgateError, UsageError
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.manifest.verification import MANIFEST_PCR, expected_pcr16
from pcrgate.units import Nonce, Sha384, parse_hex

POLICY_VERSION: Final = 1
POLICY_MAX_BYTES: Final = 256 << 10
"""Longest file: 256 reference values for each of a few registers."""

EVIDENCE_MAX_AGE_S: Final = 300
"""How old evidence may be that was asked for just now."""

_KEYS: Final = {"version", "roots", "pcr0", "pcrs", "regions", "manifest"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedManifests:
    """Trust exactly these manifests.

    Attributes:
        digests: SHA-384 over their signed bytes; at least one.
    """

    digests: frozenset[Sha384]

    def __post_init__(self) -> None:
        if not self.digests:
            raise _unmeant("manifest names no digest, expected one or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedPublisher:
    """Trust what a publisher signs from an epoch on.

    Attributes:
        keys: whose signature counts; at least one.
        floor_epoch: least epoch; an agent that has seen a greater one raises it.
    """

    keys: tuple[VerifyingKey, ...]
    floor_epoch: int

    def __post_init__(self) -> None:
        if not self.keys or type(self.floor_epoch) is not int or self.floor_epoch < 1:
            raise _unmeant("publisher has no key or no floor_epoch, expected both")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """Hold what must hold before anything is sent.

    Attributes:
        roots: what evidence must lead to; ``AWS_ROOTS``, or a development root by its fingerprint.
        pcr0: approved images; at least one.
        manifest: which manifests the enclave may run under.
        pcrs: approved values of further registers; PCR16 is that of the manifest and never stated here.
        regions: Regions accepted; empty accepts any.
    """

    roots: Roots
    pcr0: tuple[Sha384, ...]
    manifest: TrustedManifests | TrustedPublisher
    pcrs: Mapping[int, tuple[Sha384, ...]] = field(default_factory=lambda: MappingProxyType({}))
    regions: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.pcr0 or any(value.is_zero for value in self.pcr0):
            raise _unmeant("pcr0 names no image, or a debug one, expected one measurement or more")
        if {0, MANIFEST_PCR} & self.pcrs.keys():
            raise _unmeant("pcrs names PCR0 or PCR16, expected other registers")

    def enclave_policy(self, statement: IdentityStatement, nonce: Nonce) -> EnclavePolicy:
        """Return the appraisal policy for evidence that was asked for with a nonce.

        Args:
            statement: that came with the evidence; the evidence must commit to all of it, its manifest included.
            nonce: fresh.

        Raises:
            UsageError: ``usage-policy``.
        """
        registers: dict[int, PcrExpectation] = {index: _one_of(index, values) for index, values in self.pcrs.items()}
        registers[MANIFEST_PCR] = _one_of(MANIFEST_PCR, (expected_pcr16(statement.manifest_digest),))
        return EnclavePolicy(
            pcr0=_one_of(0, self.pcr0),
            nonce=Equal(nonce.value),
            user_data=Equal(statement.digest.digest),
            public_key=Equal(statement.receipt_key),
            pcrs=registers,
            regions=self.regions,
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the policy in a file.

        Raises:
            UsageError: ``usage-file``, ``trust-policy``, or what a value in it is refused with.
        """
        try:
            with path.open("rb") as file:
                data = file.read(POLICY_MAX_BYTES + 1)
        except OSError as error:
            raise UsageError(ErrorCode.USAGE_FILE, "the trust policy cannot be read, expected a file") from error
        return cls.parse(data)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the policy in its file form.

        Raises:
            UsageError: ``trust-policy``, or what a value in it is refused with.
        """
        if len(data) > POLICY_MAX_BYTES:
            raise _unmeant(f"the file is longer than {POLICY_MAX_BYTES} bytes")
        try:
            value = json.loads(data, object_pairs_hook=_once)
        except ValueError as error:
            raise _unmeant("the file is not JSON, or has a key twice") from error
        if type(value) is not dict or value.keys() != _KEYS or value["version"] != POLICY_VERSION:
            raise _unmeant(f"the file is not an object of {', '.join(sorted(_KEYS))} in version {POLICY_VERSION}")
        pcrs = value["pcrs"]
        if type(pcrs) is not dict or not all(name.isascii() and name.isdigit() and len(name) < 3 for name in pcrs):
            raise _unmeant("pcrs is not an object by register, expected numbers")
        try:
            return cls(
                roots=_roots(value["roots"]),
                pcr0=_digests(value["pcr0"], "pcr0"),
                manifest=_manifest(value["manifest"]),
                pcrs=MappingProxyType({int(name): _digests(values, f"PCR{name}") for name, values in pcrs.items()}),
                regions=frozenset(_texts(value["regions"], "regions")),
            )
        except UsageError:
            raise
        except PcrgateError as error:
            raise _unmeant(error.message) from error


def _one_of(index: int, values: tuple[Sha384, ...]) -> OneOf:
    return OneOf(tuple(ReferenceValue(name=f"PCR{index} {value.hex()[:12]}", value=value) for value in values))


def _roots(value: Any) -> Roots:
    if value == "aws":
        return AWS_ROOTS
    return Roots.pinned(*(parse_hex(text, "a root's fingerprint") for text in _texts(value, "roots")))


def _manifest(value: Any) -> TrustedManifests | TrustedPublisher:
    if type(value) is dict and value.keys() == {"digests"}:
        return TrustedManifests(digests=frozenset(_digests(value["digests"], "digests")))
    if type(value) is dict and value.keys() == {"publisher_keys", "floor_epoch"}:
        keys = _texts(value["publisher_keys"], "publisher_keys")
        return TrustedPublisher(
            keys=tuple(VerifyingKey(parse_hex(text, "a publisher's key")) for text in keys),
            floor_epoch=value["floor_epoch"],
        )
    raise _unmeant("manifest is neither digests nor publisher_keys with floor_epoch")


def _digests(value: Any, name: str) -> tuple[Sha384, ...]:
    return tuple(Sha384.from_hex(text) for text in _texts(value, name))


def _texts(value: Any, name: str) -> list[str]:
    if type(value) is not list or not all(type(entry) is str for entry in value):
        raise _unmeant(f"{name} is not a list of texts")
    return list(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _unmeant(fact: str) -> UsageError:
    return UsageError(ErrorCode.TRUST_POLICY, f"the trust policy cannot be meant: {fact}")
