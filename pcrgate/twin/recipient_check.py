"""What KMS must be sure of before it encrypts to a recipient: a genuine, fresh document with a usable RSA key.

Spec: KMS API Reference, RecipientInfo; KMS Developer Guide, "How to make attested calls to AWS KMS".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from kms_policies.request import attestation_context, nitrotpm_context
from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.chain import ChainCache
from pcrgate.attestation.evidence import EnclaveEvidence, VerifiedEvidence
from pcrgate.attestation.verifier import Live, verify
from pcrgate.errors import EvidenceError
from pcrgate.twin.faults import FaultCode, FrontDoorError

DOCUMENT_MAX_BYTES: Final = 262_144
"""Longest document, in bytes. Spec: KMS API Reference, RecipientInfo, AttestationDocument."""

RSA_MIN_BITS: Final = 2048
"""Smallest recipient key: the smallest that AWS's own SDK makes; smaller was never seen to be taken."""

RSA_EXPONENT: Final = 65537
"""The one public exponent taken: what every known client makes."""

DEBUG_PCRS: Final = (0, 1, 2)
"""Registers that are zero in debug mode. Spec: Enclaves User Guide, "nitro-cli run-enclave", --debug-mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Hold a recipient that passed every check.

    Attributes:
        spki_der: DER SubjectPublicKeyInfo of the RSA key to encrypt to.
        evidence: the verified document.
        document: its bytes as they came.
        context: the condition keys it fills.
    """

    spki_der: bytes
    evidence: VerifiedEvidence
    document: bytes
    context: dict[str, str]


class RecipientChecker:
    """Turn document bytes into a :class:`Recipient`, or refuse with ``ValidationException``."""

    def __init__(self, roots: Roots, *, clock_ms: Callable[[], int], max_age_s: int) -> None:
        self._roots = roots
        self._clock_ms = clock_ms
        self._max_age_s = max_age_s
        self._cache = ChainCache()

    def check(self, document: bytes) -> Recipient:
        """Verify the document and its key.

        The steps: 1 size, 2 encoding, chain, signature and age, 3 not a debug enclave, 4 a public key, 5 RSA of at
        least 2048 bits with exponent 65537, as exact DER.

        Args:
            document: the COSE_Sign1 bytes of the request.

        Raises:
            FrontDoorError: ``ValidationException`` naming the check.
        """
        # 1
        if not 1 <= len(document) <= DOCUMENT_MAX_BYTES:
            raise _refusal(f"AttestationDocument has {len(document)} bytes, expected 1 to {DOCUMENT_MAX_BYTES}")
        # 2
        time = Live(now_ms=self._clock_ms(), max_age_s=self._max_age_s)
        try:
            evidence = verify(document, self._roots, time, cache=self._cache)
        except EvidenceError as error:
            raise _refusal(f"the attestation document was refused ({error.code.code}: {error.message})") from error
        # 3
        if isinstance(evidence, EnclaveEvidence) and any(_is_zero(evidence, index) for index in DEBUG_PCRS):
            raise _refusal("PCR0, PCR1 or PCR2 is zero or absent: the enclave runs in debug mode")
        # 4
        if not evidence.public_key:
            raise _refusal("the attestation document holds no public key")
        # 5
        _check_key(evidence.public_key)
        enclave = isinstance(evidence, EnclaveEvidence)
        context = attestation_context(evidence.pcrs) if enclave else nitrotpm_context(evidence.pcrs)
        return Recipient(spki_der=evidence.public_key, evidence=evidence, document=document, context=context)


def _is_zero(evidence: VerifiedEvidence, index: int) -> bool:
    return index not in evidence.pcrs or evidence.pcrs[index].is_zero


def _check_key(spki_der: bytes) -> None:
    try:
        key = load_der_public_key(spki_der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _refusal("the public key is not a DER SubjectPublicKeyInfo") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise _refusal("the public key is not RSA")
    if key.key_size < RSA_MIN_BITS:
        raise _refusal(f"the RSA key has {key.key_size} bits, expected {RSA_MIN_BITS} or more")
    if key.public_numbers().e != RSA_EXPONENT:
        raise _refusal(f"the RSA exponent is not {RSA_EXPONENT}")
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != spki_der:
        raise _refusal("the public key is not exact DER")


def _refusal(message: str) -> FrontDoorError:
    return FrontDoorError(FaultCode.VALIDATION, f"Failed to verify the recipient: {message}")
