"""The software NSM: answers raw CBOR requests as the Nitro Secure Module does, and signs with a development PKI.

Production verification refuses its documents unless the development root's fingerprint is given explicitly.

Spec: nsm-api ``src/api/mod.rs`` and ``nsm-test/src/bin/nsm-check.rs`` (what the device answers), attestation_process.md
(what a document holds); encodings as measured on documents that AWS signed.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.kms.nsm import NSM_REQUEST_MAX_BYTES
from pcrgate.twin.nsm_codec import (
    DeviceError,
    DeviceRequest,
    RequestRefused,
    decode_request,
    encode_indefinite_map,
    encode_item,
    encode_sign1,
    encode_to_be_signed,
)
from pcrgate.twin.pki import DevPki, LeafChain
from pcrgate.units import FIELD_MAX_BYTES, SHA384_BYTES, Sha384

Kind = Literal["enclave", "nitrotpm"]

PCR_COUNT: Final = 32
"""Registers of an enclave's device. Spec: nsm-check.rs, max_pcrs."""

BOOT_PCR_COUNT: Final = 16
"""Registers 0 to 15 are locked before the enclave's first instruction. Spec: nsm-check.rs, check_initial_pcrs."""

TPM_PCR_COUNT: Final = 24
"""Registers in a NitroTPM document. Spec: TCG PC Client Platform TPM Profile, 4.6."""

RANDOM_BYTES: Final = 256
"""Bytes that one GetRandom answers with, as the device does."""

LEAF_REUSE_MS: Final = 150 * 60 * 1000
"""How long a leaf signs before it is replaced: the oldest seen in use was 2 h 22 m, and a document signed by it stays
verifiable for at least 30 minutes more."""

_DEBUG_ZERO_PCRS: Final = (0, 1, 2, 8)
_ZERO: Final = bytes(SHA384_BYTES)
_TPM_ONES: Final = range(17, 23)
_TPM_SEPARATED: Final = range(11)


def extend(register: bytes, data: bytes) -> bytes:
    """Return the register after extending it: SHA-384 of the old 48 bytes and the data."""
    return hashlib.sha384(register + data).digest()


class SoftwareNsm:
    """Answer requests at the device boundary, as the protocol ``Nsm`` asks. Safe to share between threads.

    Attributes:
        module_id: instance id and enclave id (or ``tpm`` and 16 zeros), as documents carry it.
        region: where the instance claims to run; certificate names carry it.
    """

    def __init__(
        self,
        *,
        pki: DevPki,
        pcrs: Mapping[int, Sha384],
        module_id: str | None = None,
        region: str = "eu-central-1",
        kind: Kind = "enclave",
        clock: Callable[[], int] | None = None,
        debug: bool = False,
        definite_map: bool = False,
        role_arn: str | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Set the registers as they are when an enclave starts.

        Args:
            pki: signs the documents.
            pcrs: boot registers, 0 to 15 (0 to 23 for NitroTPM). An enclave needs PCR0 unless it is in debug mode;
                PCR1 and PCR2 get a fixed value of their own when they are not given, since zero would mean debug mode.
                PCR3 follows from ``role_arn`` and PCR4 from the instance id when not given; the others are zero.
            module_id: ``i-HEX17-encHEX16`` (``-tpmHEX16`` for NitroTPM); by default made of randomness and the clock.
            region: for example ``eu-central-1``.
            kind: ``enclave`` or ``nitrotpm``.
            clock: returns milliseconds since the epoch; by default the system's clock.
            debug: whether PCR0, PCR1, PCR2 and PCR8 are zero, as in an enclave started with a console.
            definite_map: whether the payload is a definite map, as until April 2025, or an indefinite one, as since.
            role_arn: the instance's role, measured into PCR3.
            random: returns that many random bytes, for GetRandom and the module id.

        Raises:
            UsageError: ``usage-nsm`` for registers, a module id or a region that the device cannot have.
        """
        tpm = kind == "nitrotpm"
        limit = TPM_PCR_COUNT if tpm else BOOT_PCR_COUNT
        if not all(0 <= index < limit for index in pcrs):
            raise UsageError(ErrorCode.USAGE_NSM, f"a boot register is out of range, expected 0 to {limit - 1}")
        if tpm and (debug or role_arn is not None):
            raise UsageError(ErrorCode.USAGE_NSM, "a NitroTPM has neither debug mode nor a register for the role")
        if not tpm and not debug and 0 not in pcrs:
            raise UsageError(ErrorCode.USAGE_NSM, "PCR0 is not given, expected the measurement of the image")
        self._clock: Final = _system_clock_ms if clock is None else clock
        self._random: Final = random
        self._pki: Final = pki
        self._kind: Final = kind
        self._definite: Final = definite_map
        self.region: Final = region
        self.module_id: Final = self._new_module_id() if module_id is None else module_id
        if ("-tpm" in self.module_id) is not tpm:
            raise UsageError(ErrorCode.USAGE_NSM, "the module id is of the other kind, expected -enc or -tpm to match")
        self._lock: Final = threading.Lock()
        self._chain: LeafChain = self._issue(self._clock())
        instance_id = self.module_id.partition("-enc")[0]
        start = _tpm_registers() if tpm else _enclave_registers(instance_id, role_arn)
        self._registers: Final = [pcrs[index].digest if index in pcrs else start[index] for index in range(len(start))]
        for index in _DEBUG_ZERO_PCRS if debug else ():
            self._registers[index] = _ZERO
        self._locked: Final = set(range(limit))

    def request(self, data: bytes) -> bytes:
        """Return the device's raw CBOR answer to one raw CBOR request; errors are answers too."""
        if len(data) > NSM_REQUEST_MAX_BYTES:
            return encode_item({"Error": DeviceError.INPUT_TOO_LARGE.value})
        try:
            request = decode_request(data)
            with self._lock:
                return encode_item(self._answer(request))
        except RequestRefused as refused:
            return encode_item({"Error": refused.error.value})

    def pcr(self, index: int) -> Sha384:
        """Return a register as it is now, so that a laptop can say what to expect of its own enclave."""
        with self._lock:
            return Sha384(self._registers[index])

    def _answer(self, request: DeviceRequest) -> Mapping[str, object] | str:
        if request.name == "Attestation":
            return {"Attestation": {"document": self._document(request.blobs)}}
        if self._kind == "nitrotpm":  # registers and randomness are the TPM's own commands there
            raise RequestRefused(DeviceError.INVALID_OPERATION)
        if request.name == "GetRandom":
            return {"GetRandom": {"random": self._random(RANDOM_BYTES)}}
        if request.name == "DescribeNSM":
            return {"DescribeNSM": self._description()}
        if request.name == "LockPCRs":
            return self._lock_range(request.numbers["range"])
        index = request.numbers["index"]
        if index >= PCR_COUNT:
            raise RequestRefused(DeviceError.INVALID_INDEX)
        if request.name == "DescribePCR":
            return {"DescribePCR": {"lock": index in self._locked, "data": self._registers[index]}}
        if index in self._locked:
            raise RequestRefused(DeviceError.READ_ONLY_INDEX)
        if request.name == "LockPCR":
            self._locked.add(index)
            return "LockPCR"
        self._registers[index] = extend(self._registers[index], request.blobs["data"] or b"")
        return {"ExtendPCR": {"data": self._registers[index]}}

    def _lock_range(self, count: int) -> str:
        if count > PCR_COUNT:
            raise RequestRefused(DeviceError.INVALID_INDEX)
        self._locked.update(range(count))
        return "LockPCRs"

    def _description(self) -> Mapping[str, object]:
        return {
            "version_major": 1,
            "version_minor": 0,
            "version_patch": 0,
            "module_id": self.module_id,
            "max_pcrs": PCR_COUNT,
            "locked_pcrs": sorted(self._locked),
            "digest": "SHA384",
        }

    def _document(self, fields: Mapping[str, bytes | None]) -> bytes:
        if any(len(content) > FIELD_MAX_BYTES for content in fields.values() if content is not None):
            raise RequestRefused(DeviceError.INPUT_TOO_LARGE)
        now_ms = self._clock()
        if not self._chain.not_before_ms <= now_ms < self._chain.not_before_ms + LEAF_REUSE_MS:
            self._chain = self._issue(now_ms)
        entries: dict[str, object] = {
            "module_id": self.module_id,
            "digest": "SHA384",
            "timestamp": now_ms,
            "nitrotpm_pcrs" if self._kind == "nitrotpm" else "pcrs": {
                index: self._registers[index] for index in sorted(self._locked)
            },
            "certificate": self._chain.certificate,
            "cabundle": self._chain.cabundle,
            "public_key": fields["public_key"],
            "user_data": fields["user_data"],
            "nonce": fields["nonce"],
        }
        payload = encode_item(entries) if self._definite else encode_indefinite_map(entries)
        return encode_sign1(payload, sign_es384(self._chain.key, encode_to_be_signed(payload)))

    def _issue(self, now_ms: int) -> LeafChain:
        return self._pki.chain_for(module_id=self.module_id, region=self.region, now_ms=now_ms)

    def _new_module_id(self) -> str:
        instance = f"i-0{self._random(8).hex()}"
        if self._kind == "nitrotpm":
            return f"{instance}-tpm{0:016x}"
        return f"{instance}-enc{self._clock():012x}{self._random(2).hex()}"


def sign_es384(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """Return the 96 bytes of r and s over data, deterministic. Spec: RFC 9053, 2.1; RFC 6979."""
    der = key.sign(data, ec.ECDSA(hashes.SHA384(), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    return r.to_bytes(SHA384_BYTES, "big") + s.to_bytes(SHA384_BYTES, "big")


def _enclave_registers(instance_id: str, role_arn: str | None) -> list[bytes]:
    registers = [_ZERO] * PCR_COUNT
    for index in (1, 2):
        registers[index] = hashlib.sha384(f"pcrgate software NSM, PCR{index} not given".encode()).digest()
    if role_arn is not None:
        registers[3] = extend(_ZERO, role_arn.encode())
    registers[4] = extend(_ZERO, instance_id.encode())
    return registers


def _tpm_registers() -> list[bytes]:
    registers = [_ZERO] * TPM_PCR_COUNT
    # Firmware ends its measurements with a separator event of four zero bytes. Spec: TCG PFP, 3.3.4.
    separator = extend(_ZERO, hashlib.sha384(bytes(4)).digest())
    for index in _TPM_SEPARATED:
        registers[index] = separator
    for index in _TPM_ONES:
        registers[index] = b"\xff" * SHA384_BYTES
    return registers


def _system_clock_ms() -> int:
    return time.time_ns() // 1_000_000
