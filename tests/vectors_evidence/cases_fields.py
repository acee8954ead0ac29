"""Cases of fields that are absent, of another type, too long or too short."""

from collections.abc import Iterator
from dataclasses import replace

from pcrgate.errors import ErrorCode
from tests.vectors_evidence import cbor_writer as cbor
from tests.vectors_evidence.case import reject
from tests.vectors_evidence.certificate_forge import INSTANCE_ID, MODULE_ID, TPM_MODULE_ID, forge_chain
from tests.vectors_evidence.document_forge import (
    ENCLAVE_PCRS,
    PCR0,
    TPM_PCRS,
    DocumentSpec,
    forge_document,
    forge_tpm_document,
)
from tests.vectors_evidence.vector import Vector

TIMESTAMP_END_MS = 253_402_300_800_000
CERTIFICATE_MAX_BYTES = 1024
CABUNDLE_MAX = 8


def vectors() -> Iterator[Vector]:
    yield from _presence_and_type()
    yield from _scalars()
    yield from _registers()
    yield from _certificates()
    yield from _kinds()


def _field(
    name: str, code: ErrorCode, what: str, field: str, value: bytes, *, base: DocumentSpec | None = None
) -> Vector:
    spec = (base or forge_document()).with_field(field, value)
    return reject(f"field-{name}", code, spec, what)


def _presence_and_type() -> Iterator[Vector]:
    good = forge_document()
    missing = ErrorCode.FIELD_MISSING
    for field in ("module_id", "digest", "timestamp", "certificate", "cabundle"):
        slug = field.replace("_", "-")
        yield reject(f"field-{slug}-missing", missing, good.without(field), f"no {field}")
        yield _field(f"{slug}-null", missing, f"{field} is null", field, cbor.NULL)
    yield reject("field-pcrs-missing", ErrorCode.PCR_KIND, good.without("pcrs"), "no pcrs")
    yield _field("pcrs-null", ErrorCode.PCR_KIND, "pcrs is null", "pcrs", cbor.NULL)
    for field, value, what in (
        ("module_id", cbor.bstr(MODULE_ID.encode()), "bytes"),
        ("digest", cbor.bstr(b"SHA384"), "bytes"),
        ("timestamp", cbor.tstr("2026-03-01T12:00:00Z"), "text"),
        ("timestamp", cbor.TRUE, "true"),
        ("timestamp", cbor.bstr(b"\x01"), "bytes"),
        ("pcrs", cbor.array([cbor.bstr(value) for value in ENCLAVE_PCRS.values()]), "an array"),
        ("certificate", cbor.tstr("certificate"), "text"),
        ("certificate", cbor.array([good.fields[4][1]]), "an array"),
        ("nonce", cbor.tstr("nonce"), "text"),
        ("nonce", cbor.uint(7), "a number"),
        ("public_key", cbor.array([]), "an array"),
        ("public_key", cbor.tstr("-----BEGIN PUBLIC KEY-----"), "text"),
        ("user_data", cbor.FALSE, "false"),
        ("user_data", cbor.mapping([]), "a map"),
    ):
        slug = f"{field.replace('_', '-')}-is-{what.replace(' ', '-')}"
        yield _field(slug, ErrorCode.FIELD_TYPE, f"{field} is {what}", field, value)


def _scalars() -> Iterator[Vector]:
    for name, module_id, what in (
        ("empty", "", "empty"),
        ("instance-only", INSTANCE_ID, "only an instance id"),
        ("upper-case", MODULE_ID.upper(), "in upper case"),
        ("not-hex", MODULE_ID[:-1] + "g", "not hex"),
        ("line-end", MODULE_ID + "\n", "followed by a line end"),
        ("too-long", MODULE_ID + "0" * 100, "139 characters long"),
        ("of-a-tpm", TPM_MODULE_ID, "that of a NitroTPM, beside an enclave's PCRs"),
    ):
        yield _field(
            f"module-id-{name}", ErrorCode.MODULE_ID, f"the module id is {what}", "module_id", cbor.tstr(module_id)
        )
    for digest in ("SHA256", "SHA512", "sha384", ""):
        yield _field(f"digest-{digest or 'empty'}", ErrorCode.DIGEST, f"the digest is {digest or 'empty'}", "digest",
                     cbor.tstr(digest))  # fmt: skip
    for name, value in (
        ("zero", cbor.uint(0)),
        ("negative", cbor.negative(-1)),
        ("year-10000", cbor.uint(TIMESTAMP_END_MS)),
        ("largest", cbor.uint((1 << 64) - 1)),
    ):
        yield _field(
            f"timestamp-{name}", ErrorCode.TIMESTAMP, f"the timestamp is out of range: {name}", "timestamp", value
        )
    yield _field("timestamp-float", ErrorCode.CBOR_TYPE, "the timestamp is a float", "timestamp",
                 bytes.fromhex("fb4279caa0e1000000"))  # fmt: skip
    for field in ("public_key", "user_data", "nonce"):
        yield _field(f"{field.replace('_', '-')}-1025-bytes", ErrorCode.FIELD_LENGTH, f"{field} has 1025 bytes", field,
                     cbor.bstr(b"f" * 1025))  # fmt: skip
    strict = forge_document().with_field("annotations", cbor.tstr("new"))
    yield reject("field-unknown-strict", ErrorCode.FIELD_UNKNOWN, strict, "an unknown field, in strict mode",
                 refuse_unknown_fields=True)  # fmt: skip
    many = forge_document()
    for number in range(9):
        many = many.with_field(f"unknown-{number}", cbor.uint(number))
    yield reject("field-unknown-nine", ErrorCode.FIELD_UNKNOWN, many, "nine unknown fields, one more than is reported")


def _registers() -> Iterator[Vector]:
    def pcrs(name: str, code: ErrorCode, what: str, *entries: tuple[bytes, bytes]) -> Vector:
        return _field(f"pcr-{name}", code, what, "pcrs", cbor.mapping(entries))

    first = cbor.uint(0), cbor.bstr(PCR0)
    yield pcrs("map-empty", ErrorCode.PCR_COUNT, "no registers")
    yield pcrs("33-registers", ErrorCode.PCR_COUNT, "33 registers",
               *((cbor.uint(index), cbor.bstr(PCR0)) for index in range(33)))  # fmt: skip
    yield pcrs("index-32", ErrorCode.PCR_INDEX, "a register 32", first, (cbor.uint(32), cbor.bstr(PCR0)))
    yield pcrs("index-256", ErrorCode.PCR_INDEX, "a register 256", first, (cbor.uint(256), cbor.bstr(PCR0)))
    yield pcrs("index-negative", ErrorCode.PCR_INDEX, "a register -1", first, (cbor.negative(-1), cbor.bstr(PCR0)))
    yield pcrs("index-text", ErrorCode.PCR_INDEX, "a register named by text", first, (cbor.tstr("1"), cbor.bstr(PCR0)))
    yield pcrs("index-bool", ErrorCode.CBOR_KEY_TYPE, "a register named true", first, (cbor.TRUE, cbor.bstr(PCR0)))
    yield pcrs("index-twice", ErrorCode.CBOR_DUPLICATE_KEY, "PCR0 twice, with other values", first,
               (cbor.uint(0), cbor.bstr(bytes(48))))  # fmt: skip
    yield pcrs("index-twice-same", ErrorCode.CBOR_DUPLICATE_KEY, "PCR0 twice, with the same value", first, first)
    yield pcrs("value-null", ErrorCode.FIELD_TYPE, "PCR0 is null", (cbor.uint(0), cbor.NULL))
    yield pcrs("value-text", ErrorCode.FIELD_TYPE, "PCR0 is hex text", (cbor.uint(0), cbor.tstr(PCR0.hex())))
    for length in (0, 31, 32, 47, 49, 64, 96):
        yield pcrs(f"{length}-bytes", ErrorCode.PCR_LENGTH, f"PCR0 has {length} bytes, the digest is SHA384",
                   (cbor.uint(0), cbor.bstr((PCR0 * 2)[:length])))  # fmt: skip
    tpm = forge_tpm_document()
    yield _field("tpm-pcr-index-24", ErrorCode.PCR_INDEX, "a TPM register 24", "nitrotpm_pcrs",
                 cbor.registers({**TPM_PCRS, 24: PCR0}), base=tpm)  # fmt: skip
    yield _field("tpm-pcr-map-empty", ErrorCode.PCR_COUNT, "no TPM registers", "nitrotpm_pcrs", b"\xa0", base=tpm)


def _certificates() -> Iterator[Vector]:
    ders = forge_chain().ders
    too_long = ders[-1] + bytes(CERTIFICATE_MAX_BYTES + 1 - len(ders[-1]))
    yield _field(
        "certificate-empty", ErrorCode.FIELD_LENGTH, "the certificate has no bytes", "certificate", cbor.bstr(b"")
    )
    yield _field("certificate-1025-bytes", ErrorCode.FIELD_LENGTH, "the certificate has 1025 bytes", "certificate",
                 cbor.bstr(too_long))  # fmt: skip

    def bundle(name: str, what: str, *items: bytes) -> Vector:
        return _field(f"cabundle-{name}", ErrorCode.CABUNDLE, what, "cabundle", cbor.array(items))

    good = [cbor.bstr(der) for der in ders[:-1]]
    yield bundle("empty", "the bundle is empty")
    yield bundle("nine", "nine certificates, one more than the limit", *good, *(cbor.bstr(b"%d" % n) for n in range(5)))
    yield bundle("entry-empty", "a certificate of no bytes", *good[:3], cbor.bstr(b""))
    yield bundle("entry-1025-bytes", "a certificate of 1025 bytes", *good[:3],
                 cbor.bstr(ders[3] + bytes(CERTIFICATE_MAX_BYTES + 1 - len(ders[3]))))  # fmt: skip
    yield bundle("entry-text", "a certificate as text", *good[:3], cbor.tstr("certificate"))
    yield bundle("entry-null", "null in the bundle", *good, cbor.NULL)
    yield bundle("entry-array", "an array in the bundle", cbor.array(good))
    yield _field("cabundle-map", ErrorCode.CABUNDLE, "the bundle is a map", "cabundle",
                 cbor.mapping([(cbor.uint(n), der) for n, der in enumerate(good)]))  # fmt: skip
    yield _field("cabundle-bytes", ErrorCode.CABUNDLE, "the bundle is one byte string", "cabundle",
                 cbor.bstr(b"".join(ders[:-1])))  # fmt: skip


def _kinds() -> Iterator[Vector]:
    both = forge_document().with_field("nitrotpm_pcrs", cbor.registers(TPM_PCRS))
    yield reject("field-both-kinds", ErrorCode.PCR_KIND, both, "pcrs and nitrotpm_pcrs")
    tpm = forge_tpm_document()
    renamed = tuple(
        (cbor.tstr("pcrs") if key == cbor.tstr("nitrotpm_pcrs") else key, value) for key, value in tpm.fields
    )
    yield reject("field-tpm-as-enclave", ErrorCode.MODULE_ID, replace(tpm, fields=renamed),
                 "a NitroTPM's document whose registers are called pcrs")  # fmt: skip
    enclave = forge_document()
    renamed = tuple((cbor.tstr("nitrotpm_pcrs") if k == cbor.tstr("pcrs") else k, v) for k, v in enclave.fields)
    yield reject("field-enclave-as-tpm", ErrorCode.MODULE_ID, replace(enclave, fields=renamed),
                 "an enclave's document whose registers are called nitrotpm_pcrs")  # fmt: skip
