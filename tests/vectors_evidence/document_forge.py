"""Forge documents around a chain: right in every byte, except where a case says otherwise."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric import ec

from tests.vectors_evidence import cbor_writer as cbor
from tests.vectors_evidence.certificate_forge import (
    INSTANCE_ID,
    MODULE_ID,
    TIMESTAMP_MS,
    TPM_MODULE_ID,
    Forged,
    forge_chain,
)
from tests.vectors_evidence.keys import sign_raw

PROTECTED = bytes.fromhex("a1013822")
ZERO = bytes(48)
ONES = b"\xff" * 48
NONCE = hashlib.sha256(b"nonce").digest()

Entries = tuple[tuple[bytes, bytes], ...]


def measured(label: str) -> bytes:
    """A register's value that looks like a measurement."""
    return hashlib.sha384(label.encode()).digest()


PCR0, PCR1, PCR2, PCR8 = (measured(f"PCR{index}") for index in (0, 1, 2, 8))
PCR3 = hashlib.sha384(ZERO + b"arn:aws:iam::123456789012:role/enclave-parent").digest()
PCR4 = hashlib.sha384(ZERO + INSTANCE_ID.encode()).digest()
ENCLAVE_PCRS: Mapping[int, bytes] = {0: PCR0, 1: PCR1, 2: PCR2, 3: PCR3, 4: PCR4, **dict.fromkeys(range(5, 16), ZERO)}
DEBUG_PCRS: Mapping[int, bytes] = {**ENCLAVE_PCRS, 0: ZERO, 1: ZERO, 2: ZERO}
TPM_PCRS: Mapping[int, bytes] = {
    **{index: measured(f"TPM PCR{index}") for index in range(11)},
    **dict.fromkeys(range(11, 17), ZERO),
    **dict.fromkeys(range(17, 23), ONES),
    23: ZERO,
}


def _no_edit(data: bytes) -> bytes:
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSpec:
    """Everything that a document is made of; each part can be replaced by something odd.

    ``payload_edit`` changes the payload before it is signed, ``signed_edit`` after. ``*_item`` are encoded items that
    stand where the right ones would. ``document_edit`` changes the finished bytes.
    """

    fields: Entries
    leaf_key: ec.EllipticCurvePrivateKey = field(repr=False)
    indefinite: bool = True
    payload_edit: Callable[[bytes], bytes] = _no_edit
    signed_edit: Callable[[bytes], bytes] = _no_edit
    signature_edit: Callable[[bytes], bytes] = _no_edit
    document_edit: Callable[[bytes], bytes] = _no_edit
    protected: bytes = PROTECTED
    high_s: bool | None = None
    context: str = "Signature1"
    protected_item: bytes | None = None
    unprotected_item: bytes = b"\xa0"
    payload_item: bytes | None = None
    signature_item: bytes | None = None

    def with_field(self, name: str, value: bytes) -> "DocumentSpec":
        """Replace the encoded value of a field where it stands, or append it."""
        encoded = cbor.tstr(name)
        if all(key != encoded for key, _ in self.fields):
            return replace(self, fields=(*self.fields, (encoded, value)))
        return replace(self, fields=tuple((key, value if key == encoded else old) for key, old in self.fields))

    def without(self, name: str) -> "DocumentSpec":
        return replace(self, fields=tuple(entry for entry in self.fields if entry[0] != cbor.tstr(name)))

    def payload(self) -> bytes:
        whole = cbor.indefinite_mapping(self.fields) if self.indefinite else cbor.mapping(self.fields)
        return self.payload_edit(whole)

    def encode(self) -> bytes:
        payload = self.payload()
        to_sign = cbor.array([cbor.tstr(self.context), cbor.bstr(self.protected), cbor.bstr(b""), cbor.bstr(payload)])
        signature = self.signature_edit(sign_raw(self.leaf_key, to_sign, high_s=self.high_s))
        return self.document_edit(
            cbor.array(
                [
                    self.protected_item or cbor.bstr(self.protected),
                    self.unprotected_item,
                    self.payload_item or cbor.bstr(self.signed_edit(payload)),
                    self.signature_item or cbor.bstr(signature),
                ]
            )
        )


def forge_document(
    chain: Forged | None = None,
    *,
    module_id: str = MODULE_ID,
    timestamp_ms: int = TIMESTAMP_MS,
    pcrs: Mapping[int, bytes] = ENCLAVE_PCRS,
    tpm: bool = False,
    public_key: bytes | None = None,
    user_data: bytes | None = None,
    nonce: bytes | None = NONCE,
) -> DocumentSpec:
    """The right document for a chain."""
    chain = chain or forge_chain()
    optional = {"public_key": public_key, "user_data": user_data, "nonce": nonce}
    return DocumentSpec(
        leaf_key=chain.leaf_key,
        fields=(
            (cbor.tstr("module_id"), cbor.tstr(module_id)),
            (cbor.tstr("digest"), cbor.tstr("SHA384")),
            (cbor.tstr("timestamp"), cbor.uint(timestamp_ms)),
            (cbor.tstr("nitrotpm_pcrs" if tpm else "pcrs"), cbor.registers(pcrs)),
            (cbor.tstr("certificate"), cbor.bstr(chain.ders[-1])),
            (cbor.tstr("cabundle"), cbor.array([cbor.bstr(der) for der in chain.ders[:-1]])),
            *((cbor.tstr(k), cbor.NULL if v is None else cbor.bstr(v)) for k, v in optional.items()),
        ),
    )


def forge_tpm_document(**more: bytes | None) -> DocumentSpec:
    """The right document of a NitroTPM."""
    chain = forge_chain(module_id=TPM_MODULE_ID)
    spec = forge_document(chain, module_id=TPM_MODULE_ID, pcrs=TPM_PCRS, tpm=True)
    for name, value in more.items():
        spec = spec.with_field(name, cbor.NULL if value is None else cbor.bstr(value))
    return spec
