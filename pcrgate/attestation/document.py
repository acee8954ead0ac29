"""Read the payload of an attestation document: every field with its true type and limits.

Spec: nsm-api attestation_process.md, 3.2; facts checklist 5 to 9.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, cast

from pcrgate.attestation.cbor import CborValue, decode
from pcrgate.attestation.certificate import CERTIFICATE_MAX_BYTES
from pcrgate.errors import CborError, ErrorCode, MalformedEvidenceError
from pcrgate.units import FIELD_MAX_BYTES, PCR_MAX_INDEX, SHA384_BYTES, Sha384

CABUNDLE_MAX_CERTIFICATES: Final = 8
"""Most certificates in the bundle: real documents carry 4, the specification names no bound."""

MODULE_ID_MAX_CHARS: Final = 128
"""Longest module id: real ones have 39 to 43 characters; it must fit a certificate's common name."""

UNKNOWN_FIELDS_MAX: Final = 8
"""Most fields that the specification does not name: room for additions, none for noise."""

TIMESTAMP_END_MS: Final = 253_402_300_800_000
"""First millisecond of the year 10000: later times cannot be written down."""

NITROTPM_PCR_MAX_INDEX: Final = 23
"""Highest PCR of a TPM. Spec: TCG PC Client Platform TPM Profile, 4.6."""

_PCRS_MAX: Final = 32
_INSTANCE: Final = r"i-[0-9a-f]{8,17}"
_KNOWN: Final = frozenset(
    {
        "module_id",
        "digest",
        "timestamp",
        "pcrs",
        "nitrotpm_pcrs",
        "certificate",
        "cabundle",
        "public_key",
        "user_data",
        "nonce",
    }
)


class EvidenceKind(Enum):
    """Tell who attests: a Nitro Enclave, or an EC2 instance with a NitroTPM."""

    ENCLAVE = "enclave"
    NITROTPM = "nitrotpm"


_MODULE_ID: Final = {
    EvidenceKind.ENCLAVE: re.compile(rf"({_INSTANCE})-enc[0-9a-f]{{1,32}}"),
    EvidenceKind.NITROTPM: re.compile(rf"({_INSTANCE})-tpm[0-9a-f]{{1,32}}"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedDocument:
    """Hold the fields of a payload whose signature nobody has checked.

    Attributes:
        kind: from which of the two PCR fields is present.
        module_id: for example ``i-0123456789abcdef0-enc0123456789abcdef``.
        instance_id: the part of the module id before the last hyphen.
        timestamp_ms: milliseconds since the epoch, by the NSM's clock.
        pcrs: index to value.
        certificate: the leaf, DER.
        cabundle: root first, then downwards, DER.
        public_key: free-form, None when absent or null; empty is not absent.
        user_data: likewise.
        nonce: likewise.
        unknown_fields: names of fields the specification does not have, sorted.
        indefinite: whether the payload map has indefinite length.
    """

    kind: EvidenceKind
    module_id: str
    instance_id: str
    timestamp_ms: int
    pcrs: Mapping[int, Sha384]
    certificate: bytes
    cabundle: tuple[bytes, ...]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None
    unknown_fields: tuple[str, ...]
    indefinite: bool


def parse_payload(payload: bytes) -> UnverifiedDocument:
    """Read the payload without trusting it.

    Args:
        payload: the byte string from the envelope, 1 to 16384 bytes.

    Raises:
        MalformedEvidenceError: with the code of the first fault.
    """
    # (5) one map, definite or indefinite; the decoder refuses second encodings, duplicates and foreign types
    try:
        decoded = decode(payload, indefinite_top=True)
    except CborError as error:
        raise MalformedEvidenceError(error.code, f"payload, {error.message}") from error
    if type(decoded) is not dict:
        raise MalformedEvidenceError(ErrorCode.FIELD_TYPE, "the payload is not a map")
    if not all(type(key) is str for key in decoded):
        raise MalformedEvidenceError(ErrorCode.CBOR_KEY_TYPE, "a field of the payload has a key that is not text")
    fields = cast("dict[str, CborValue]", decoded)
    # (6) unknown fields are surfaced, not read
    unknown = tuple(sorted(fields.keys() - _KNOWN))
    if len(unknown) > UNKNOWN_FIELDS_MAX:
        raise MalformedEvidenceError(
            ErrorCode.FIELD_UNKNOWN, f"{len(unknown)} fields are unknown, limit {UNKNOWN_FIELDS_MAX}"
        )
    # (7) exactly one of pcrs and nitrotpm_pcrs
    kinds = [
        kind
        for kind, name in ((EvidenceKind.ENCLAVE, "pcrs"), (EvidenceKind.NITROTPM, "nitrotpm_pcrs"))
        if fields.get(name) is not None
    ]
    if len(kinds) != 1:
        raise MalformedEvidenceError(ErrorCode.PCR_KIND, "not exactly one of pcrs and nitrotpm_pcrs is present")
    kind = kinds[0]
    # (8) field rules with true types
    module_id, instance_id = _module_id(fields, kind)
    if _text(fields, "digest") != "SHA384":
        raise MalformedEvidenceError(ErrorCode.DIGEST, "the digest is not SHA384")
    timestamp_ms = _timestamp_ms(fields)
    if kind is EvidenceKind.ENCLAVE:
        pcrs = _pcrs(fields["pcrs"], PCR_MAX_INDEX)
    else:
        pcrs = _pcrs(fields["nitrotpm_pcrs"], NITROTPM_PCR_MAX_INDEX)
    return UnverifiedDocument(
        kind=kind,
        module_id=module_id,
        instance_id=instance_id,
        timestamp_ms=timestamp_ms,
        pcrs=pcrs,
        certificate=_certificate(fields),
        cabundle=_cabundle(fields),
        public_key=_optional_bytes(fields, "public_key"),
        user_data=_optional_bytes(fields, "user_data"),
        nonce=_optional_bytes(fields, "nonce"),
        unknown_fields=unknown,
        indefinite=payload[0] == 0xBF,
    )


def _required(fields: dict[str, CborValue], name: str) -> CborValue:
    value = fields.get(name)
    if value is None:
        raise MalformedEvidenceError(ErrorCode.FIELD_MISSING, f"{name} is absent or null")
    return value


def _text(fields: dict[str, CborValue], name: str) -> str:
    value = _required(fields, name)
    if type(value) is not str:
        raise MalformedEvidenceError(ErrorCode.FIELD_TYPE, f"{name} is not text")
    return value


def _module_id(fields: dict[str, CborValue], kind: EvidenceKind) -> tuple[str, str]:
    module_id = _text(fields, "module_id")
    match = _MODULE_ID[kind].fullmatch(module_id) if len(module_id) <= MODULE_ID_MAX_CHARS else None
    if match is None:
        raise MalformedEvidenceError(
            ErrorCode.MODULE_ID, f"the module id is not that of an instance's {kind.value} (i-HEX-encHEX, i-HEX-tpmHEX)"
        )
    return module_id, match.group(1)


def _timestamp_ms(fields: dict[str, CborValue]) -> int:
    timestamp = _required(fields, "timestamp")
    if type(timestamp) is not int:
        raise MalformedEvidenceError(ErrorCode.FIELD_TYPE, "timestamp is not an integer")
    if not 0 < timestamp < TIMESTAMP_END_MS:
        raise MalformedEvidenceError(ErrorCode.TIMESTAMP, "the timestamp is not in (0, year 10000) in milliseconds")
    return timestamp


def _pcrs(value: CborValue, max_index: int) -> Mapping[int, Sha384]:
    if type(value) is not dict:
        raise MalformedEvidenceError(ErrorCode.FIELD_TYPE, "the PCRs are not a map")
    if not 1 <= len(value) <= _PCRS_MAX:
        raise MalformedEvidenceError(ErrorCode.PCR_COUNT, f"{len(value)} PCRs, expected 1 to {_PCRS_MAX}")
    pcrs: dict[int, Sha384] = {}
    for index, register in value.items():
        if type(index) is not int or not 0 <= index <= max_index:
            raise MalformedEvidenceError(ErrorCode.PCR_INDEX, f"a PCR index is not an integer from 0 to {max_index}")
        if type(register) is not bytes:
            raise MalformedEvidenceError(ErrorCode.FIELD_TYPE, f"PCR{index} is not a byte string")
        if len(register) != SHA384_BYTES:
            raise MalformedEvidenceError(
                ErrorCode.PCR_LENGTH, f"PCR{index} has {len(register)} bytes, expected {SHA384_BYTES}"
            )
        pcrs[index] = Sha384(register)
    return pcrs


def _is_certificate(value: CborValue) -> bool:
    return type(value) is bytes and 1 <= len(value) <= CERTIFICATE_MAX_BYTES


def _certificate(fields: dict[str, CborValue]) -> bytes:
    # (9) certificate 1 to 1024 bytes
    value = _required(fields, "certificate")
    if type(value) is not bytes:
        raise MalformedEvidenceError(ErrorCode.FIELD_TYPE, "certificate is not a byte string")
    if not 1 <= len(value) <= CERTIFICATE_MAX_BYTES:
        raise MalformedEvidenceError(
            ErrorCode.FIELD_LENGTH, f"the certificate has {len(value)} bytes, expected 1 to {CERTIFICATE_MAX_BYTES}"
        )
    return value


def _cabundle(fields: dict[str, CborValue]) -> tuple[bytes, ...]:
    # (9) one to eight entries of 1 to 1024 bytes
    value = _required(fields, "cabundle")
    if (
        type(value) is not list
        or not 1 <= len(value) <= CABUNDLE_MAX_CERTIFICATES
        or not all(map(_is_certificate, value))
    ):
        raise MalformedEvidenceError(
            ErrorCode.CABUNDLE,
            f"the bundle is not an array of 1 to {CABUNDLE_MAX_CERTIFICATES} byte strings "
            f"of 1 to {CERTIFICATE_MAX_BYTES} bytes",
        )
    return tuple(cast("list[bytes]", value))


def _optional_bytes(fields: dict[str, CborValue], name: str) -> bytes | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not bytes:
        raise MalformedEvidenceError(ErrorCode.FIELD_TYPE, f"{name} is not a byte string")
    if len(value) > FIELD_MAX_BYTES:
        raise MalformedEvidenceError(ErrorCode.FIELD_LENGTH, f"{name} has {len(value)} bytes, limit {FIELD_MAX_BYTES}")
    return value
