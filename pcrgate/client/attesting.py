"""Ask for evidence and appraise it: without this there is no identity, and without an identity nothing is sealed."""

import secrets
from dataclasses import dataclass
from typing import Final

from pcrgate.attestation.appraisal import AttestationResult, appraise
from pcrgate.attestation.verifier import Live, verify
from pcrgate.client.exchange import Flow, Request, fields_of, octets
from pcrgate.client.trust import EVIDENCE_MAX_AGE_S, TrustedManifests, TrustPolicy
from pcrgate.envelope.session_identity import VerifiedIdentity, parse_identity, verify_identity
from pcrgate.errors import AppraisalError, ClientError, ErrorCode, ManifestError
from pcrgate.manifest.verification import manifest_digest, verify_manifest
from pcrgate.units import Nonce, Sha384

NONCE_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """Hold an enclave whose evidence the trust policy accepts.

    Attributes:
        identity: who it is on this boot.
        result: what was compared, and what was not.
        nonce: that the evidence answers; a hello uses it up.
        document: the evidence, for a bundle.
        statement: the identity statement, for a bundle.
    """

    identity: VerifiedIdentity
    result: AttestationResult
    nonce: bytes
    document: bytes
    statement: bytes


def attesting(trust: TrustPolicy, now_ms: int) -> Flow[Attested]:
    """Return the enclave behind the service, once fresh evidence of it was appraised.

    Args:
        trust: what must hold.
        now_ms: the agent's clock, milliseconds since the epoch.

    Raises:
        EvidenceError: whatever the evidence is refused with.
        SessionError: ``session-identity`` or ``session-message``.
        AppraisalError: also ``trust-manifest``.
        ClientError: ``client-answer``.
        RemoteRefusalError: with the service's code.
    """
    # (1) evidence for a nonce that nobody could have known
    nonce = Nonce(secrets.token_bytes(NONCE_BYTES))
    reply = yield Request(method="GET", path="/v1/evidence", query={"nonce": nonce.value.hex()}, repeatable=True)
    answer = fields_of(reply, "document", "identity")
    document, statement = octets(answer["document"], "document"), octets(answer["identity"], "identity")
    # (2) authentic and fresh
    evidence = verify(document, trust.roots, Live(now_ms=now_ms, max_age_s=EVIDENCE_MAX_AGE_S))
    # (3) of an approved image, for this nonce, committing to the statement, with its manifest in PCR16
    result = appraise(evidence, trust.enclave_policy(parse_identity(statement), nonce))
    identity = verify_identity(statement, user_data=evidence.user_data, public_key=evidence.public_key)
    # (4) under a manifest that is trusted
    yield from _manifest_trusted(trust, identity.statement.manifest_digest, now_ms)
    return Attested(identity=identity, result=result, nonce=nonce.value, document=document, statement=statement)


def _manifest_trusted(trust: TrustPolicy, digest: Sha384, now_ms: int) -> Flow[None]:
    if isinstance(trust.manifest, TrustedManifests):
        if digest not in trust.manifest.digests:
            raise AppraisalError(ErrorCode.TRUST_MANIFEST, f"the manifest is {digest}, expected one that is trusted")
        return
    reply = yield Request(method="GET", path=f"/v1/manifests/{digest}", repeatable=True)
    if reply.status != 200:
        fields_of(reply)
        raise ClientError(ErrorCode.CLIENT_ANSWER, "no manifest came, expected the one in the evidence")
    if manifest_digest(reply.body) != digest:
        raise AppraisalError(ErrorCode.TRUST_MANIFEST, "the manifest that came is not the one in the evidence")
    try:
        verify_manifest(
            reply.body,
            publisher_keys=trust.manifest.keys,
            floor_epoch=trust.manifest.floor_epoch,
            now_ms=now_ms,
            pinned_keys=None,
        )
    except ManifestError as error:
        raise AppraisalError(ErrorCode.TRUST_MANIFEST, error.message) from error
