"""Speak with the Nitro Secure Module in typed requests and answers; nothing it says is used unchecked.

Spec: nsm-api ``src/api/mod.rs`` (requests, responses and errors as serde writes them in CBOR).
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.cbor import CborValue, decode, encode
from pcrgate.attestation.chain import ChainCache
from pcrgate.attestation.cose import parse_sign1
from pcrgate.attestation.document import parse_payload
from pcrgate.attestation.evidence import VerifiedEvidence
from pcrgate.attestation.verifier import Recorded, verify
from pcrgate.errors import CborError, ErrorCode, EvidenceError, NsmError
from pcrgate.kms.nsm import NSM_RESPONSE_MAX_BYTES, Nsm
from pcrgate.kms.nsm_fields import DEVICE_ERRORS, byte_string, digest, malformed, text, u16
from pcrgate.units import FIELD_MAX_BYTES, PcrIndex, Sha384

EXTEND_MAX_BYTES: Final = 2048
"""Most bytes that one extension takes here: the request must stay within 4 KiB; we extend with digests of 48."""

RANDOM_MAX_BYTES: Final = 65_536
"""Most random bytes for one call of ``get_random``."""

_PCRS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class NsmDescription:
    """Hold what the module says of itself.

    Attributes:
        version: major, minor, patch.
        module_id: as it stands in documents.
        max_pcrs: how many PCRs there are.
        locked_pcrs: indexes that can no longer be extended.
        digest: name of the PCR bank, ``SHA384`` on every module seen.
    """

    version: tuple[int, int, int]
    module_id: str
    max_pcrs: int
    locked_pcrs: frozenset[int]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PcrState:
    """Hold one PCR: its value and whether it is locked."""

    value: Sha384
    locked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedDocument:
    """Hold a document that says what was asked, and whose signature nobody has checked.

    Attributes:
        document: the bytes.
    """

    document: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDocument:
    """Hold a document of this module, verified after it was made.

    Attributes:
        document: the bytes for KMS or an agent.
        evidence: what they say.
    """

    document: bytes
    evidence: VerifiedEvidence


class NsmClient:
    """Ask the module, check every answer. Safe to share between threads."""

    __slots__ = ("_cache", "_nsm", "_roots")

    def __init__(self, nsm: Nsm, *, roots: Roots, cache: ChainCache | None = None) -> None:
        """Take the device.

        Args:
            nsm: the device, or the software one.
            roots: what the module's own documents must lead to.
            cache: verified chains; leaves are reused for up to three hours.
        """
        self._nsm = nsm
        self._roots = roots
        self._cache = cache

    def describe(self) -> NsmDescription:
        """Return what the module says of itself.

        Raises:
            NsmError: ``nsm-refused`` or ``nsm-response``.
        """
        fields = self._fields(
            "DescribeNSM",
            "DescribeNSM",
            {"version_major", "version_minor", "version_patch", "module_id", "max_pcrs", "locked_pcrs", "digest"},
        )
        locked = fields["locked_pcrs"]
        if type(locked) is not list:
            raise malformed("locked_pcrs is not an array")
        return NsmDescription(
            version=(u16(fields["version_major"]), u16(fields["version_minor"]), u16(fields["version_patch"])),
            module_id=text(fields["module_id"]),
            max_pcrs=u16(fields["max_pcrs"]),
            locked_pcrs=frozenset(u16(index) for index in locked),
            digest=text(fields["digest"]),
        )

    def attestation(
        self, *, public_key: bytes | None = None, user_data: bytes | None = None, nonce: bytes | None = None
    ) -> OwnDocument:
        """Return a fresh document, after verifying that it is ours and says what was asked.

        The chain is checked at the document's own time: an enclave has no clock to trust more, and the nonce says
        that the document is new.

        Args:
            public_key: 1 to 1024 bytes, or None.
            user_data: at most 1024 bytes, or None.
            nonce: at most 1024 bytes, or None.

        Raises:
            NsmError: ``nsm-request`` for a field too long, ``nsm-document`` when the document is another than asked
                for or does not verify, ``nsm-refused``, ``nsm-response``.
        """
        return self.verify_document(self.request_document(public_key=public_key, user_data=user_data, nonce=nonce))

    def request_document(
        self, *, public_key: bytes | None = None, user_data: bytes | None = None, nonce: bytes | None = None
    ) -> RequestedDocument:
        """Return a fresh document that says what was asked; its signature waits for ``verify_document``.

        For callers who have something to wait for meanwhile. Arguments and errors as for ``attestation``.
        """
        asked: dict[str, bytes | None] = {"public_key": public_key, "user_data": user_data, "nonce": nonce}
        for name, value in asked.items():
            if value is not None and len(value) > FIELD_MAX_BYTES:
                raise NsmError(
                    ErrorCode.NSM_REQUEST, f"{name} has {len(value)} bytes, expected at most {FIELD_MAX_BYTES}"
                )
        request: dict[int | str, CborValue] = dict(asked.items())
        fields = self._fields({"Attestation": request}, "Attestation", {"document"})
        document = byte_string(fields["document"])
        try:
            payload = parse_payload(parse_sign1(document).payload)
        except EvidenceError as error:
            raise _unverified(error) from error
        said = {"public_key": payload.public_key, "user_data": payload.user_data, "nonce": payload.nonce}
        for name, value in asked.items():
            if said[name] != value:
                raise NsmError(ErrorCode.NSM_DOCUMENT, f"{name} of the module's document is not the one asked for")
        return RequestedDocument(document=document)

    def verify_document(self, requested: RequestedDocument) -> OwnDocument:
        """Return a requested document after verifying chain and signature.

        Raises:
            NsmError: ``nsm-document``.
        """
        try:
            evidence = verify(requested.document, self._roots, Recorded(), cache=self._cache)
        except EvidenceError as error:
            raise _unverified(error) from error
        return OwnDocument(document=requested.document, evidence=evidence)

    def describe_pcr(self, index: PcrIndex) -> PcrState:
        """Return one PCR.

        Raises:
            NsmError: ``nsm-refused`` or ``nsm-response``.
        """
        fields = self._fields({"DescribePCR": {"index": index.index}}, "DescribePCR", {"lock", "data"})
        locked = fields["lock"]
        if type(locked) is not bool:
            raise malformed("lock is not a boolean")
        return PcrState(value=digest(fields["data"]), locked=locked)

    def extend_pcr(self, index: PcrIndex, data: bytes) -> Sha384:
        """Extend one PCR by ``data`` exactly once and return its new value, SHA-384 over the old value and ``data``.

        Args:
            index: which.
            data: 1 to 2048 bytes.

        Raises:
            NsmError: ``nsm-request`` for data out of range, ``nsm-refused`` (``ReadOnlyIndex`` when locked),
                ``nsm-response`` when the new value is not the extension of the old one.
        """
        if not 0 < len(data) <= EXTEND_MAX_BYTES:
            raise NsmError(
                ErrorCode.NSM_REQUEST, f"an extension by {len(data)} bytes, expected 1 to {EXTEND_MAX_BYTES}"
            )
        before = self.describe_pcr(index).value
        fields = self._fields({"ExtendPCR": {"index": index.index, "data": data}}, "ExtendPCR", {"data"})
        after = digest(fields["data"])
        if not hmac.compare_digest(after.digest, hashlib.sha384(before.digest + data).digest()):
            raise malformed(f"{index} is not the extension of its value before")
        return after

    def lock_pcr(self, index: PcrIndex) -> None:
        """Make one PCR read-only until the enclave ends, and see that it is.

        Raises:
            NsmError: ``nsm-refused`` when it is locked already or does not exist, ``nsm-response``.
        """
        self._unit({"LockPCR": {"index": index.index}}, "LockPCR")
        if not self.describe_pcr(index).locked:
            raise malformed(f"{index} is not locked after locking it")

    def lock_pcrs(self, count: int) -> None:
        """Make PCR0 to PCR(count - 1) read-only.

        Args:
            count: 0 to 32.

        Raises:
            NsmError: ``nsm-request`` out of range, ``nsm-refused``, ``nsm-response``.
        """
        if not 0 <= count <= _PCRS:
            raise NsmError(ErrorCode.NSM_REQUEST, f"a range of {count} PCRs, expected 0 to {_PCRS}")
        self._unit({"LockPCRs": {"range": count}}, "LockPCRs")

    def get_random(self, length_bytes: int) -> bytes:
        """Return random bytes from the module; mix them with the kernel's, never use them alone.

        Args:
            length_bytes: 1 to 65536.

        Raises:
            NsmError: ``nsm-request`` out of range, ``nsm-refused``, ``nsm-response``.
        """
        if not 0 < length_bytes <= RANDOM_MAX_BYTES:
            raise NsmError(
                ErrorCode.NSM_REQUEST, f"{length_bytes} random bytes asked, expected 1 to {RANDOM_MAX_BYTES}"
            )
        gathered = bytearray()
        while len(gathered) < length_bytes:
            piece = byte_string(self._fields("GetRandom", "GetRandom", {"random"})["random"])
            if not piece:
                raise malformed("random is empty")
            gathered += piece
        return bytes(gathered[:length_bytes])

    def _unit(self, request: CborValue, name: str) -> None:
        if self._answer(request) != name:
            raise malformed(f"it does not answer {name}")

    def _fields(self, request: CborValue, name: str, keys: set[str]) -> dict[int | str, CborValue]:
        """Return the fields of the one expected variant: exactly ``keys``, no more."""
        answer = self._answer(request)
        if type(answer) is not dict or answer.keys() != {name}:
            raise malformed(f"it does not answer {name}")
        fields = answer[name]
        if type(fields) is not dict or fields.keys() != keys:
            raise malformed(f"{name} does not have its fields")
        return fields

    def _answer(self, request: CborValue) -> CborValue:
        raw = self._nsm.request(encode(request))
        if len(raw) > NSM_RESPONSE_MAX_BYTES:
            raise malformed(f"it has {len(raw)} bytes, limit {NSM_RESPONSE_MAX_BYTES}")
        try:
            answer = decode(raw)
        except CborError as error:
            raise malformed(f"it is not CBOR ({error.code.code})") from error
        if type(answer) is dict and answer.keys() == {"Error"}:
            name = answer["Error"]
            if type(name) is not str or name not in DEVICE_ERRORS:
                raise malformed("its error has no known name")
            raise NsmError(ErrorCode.NSM_REFUSED, f"the module refused with {name}")
        return answer


def _unverified(error: EvidenceError) -> NsmError:
    return NsmError(ErrorCode.NSM_DOCUMENT, f"the module's own document does not verify ({error.code.code})")
