"""Verified evidence: what a document says, once its chain and signature hold. Only the verifier makes these."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pcrgate.attestation.checklist import Caution, CheckMade, CheckOmitted
from pcrgate.units import Sha384


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """Hold what a reader wants to see of one certificate.

    Attributes:
        common_name: the subject's CN.
        serial: the serial number.
        not_before_s: first second of validity since the epoch.
        not_after_s: last second of validity.
        sha256: fingerprint over the DER, 32 bytes.
    """

    common_name: str
    serial: int
    not_before_s: int
    not_after_s: int
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedEvidence:
    """Hold every authenticated field; nothing here was judged against a policy yet.

    Attributes:
        module_id: for example ``i-0123456789abcdef0-enc0123456789abcdef``.
        instance_id: the instance in the module id, agreed by the chain.
        region: for example ``eu-central-1``, from the chain.
        partition: for example ``aws``, from the root's name.
        timestamp_ms: the NSM's clock, milliseconds since the epoch.
        verified_at_ms: the time at which validity was judged: the caller's now, or the document's own time.
        pcrs: index to value; read-only.
        public_key: free-form bytes, or None; empty is not None.
        user_data: likewise.
        nonce: likewise.
        chain: root first, leaf last.
        root_fingerprint: SHA-256 of the root's DER, 32 bytes.
        document: the whole document as received.
        unknown_fields: names that the specification does not have.
        indefinite_payload: whether the payload map has indefinite length.
        instance_matches: whether PCR4 agrees with the instance id; None without PCR4.
        checks: every check made so far.
        omitted: every check not made by choice so far.
        cautions: what is odd.
    """

    module_id: str
    instance_id: str
    region: str
    partition: str
    timestamp_ms: int
    verified_at_ms: int
    pcrs: Mapping[int, Sha384]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None
    chain: tuple[CertificateFacts, ...]
    root_fingerprint: bytes
    document: bytes
    unknown_fields: tuple[str, ...]
    indefinite_payload: bool
    instance_matches: bool | None
    checks: tuple[CheckMade, ...]
    omitted: tuple[CheckOmitted, ...]
    cautions: tuple[Caution, ...]

    @property
    def document_sha384(self) -> Sha384:
        """Digest of the whole document as received: what to log, and to look for in a receipt."""
        return Sha384(hashlib.sha384(self.document).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveEvidence(VerifiedEvidence):
    """Evidence of a Nitro Enclave; PCR0 to PCR2 measure its image."""

    @property
    def is_debug(self) -> bool:
        """Whether any of PCR0, PCR1, PCR2 is zero, as debug mode makes them; PCR3 and PCR4 stay."""
        return any(self.pcrs[index].is_zero for index in (0, 1, 2) if index in self.pcrs)


@dataclass(frozen=True, slots=True, kw_only=True)
class NitroTpmEvidence(VerifiedEvidence):
    """Evidence of an EC2 instance with a NitroTPM; it never satisfies a policy for enclaves."""
