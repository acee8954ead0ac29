"""Cases of documents with a right chain that are forged, stale, or not what a policy expects."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from pcrgate.errors import ErrorCode
from tests.vectors_evidence import cbor_writer as cbor
from tests.vectors_evidence import der_writer as der
from tests.vectors_evidence.case import reject
from tests.vectors_evidence.certificate_forge import (
    INSTANCE,
    LEAF,
    NOW_MS,
    TIMESTAMP_MS,
    Forged,
    forge_chain,
    level_key,
)
from tests.vectors_evidence.document_forge import (
    DEBUG_PCRS,
    ENCLAVE_PCRS,
    NONCE,
    PCR0,
    PCR8,
    TPM_PCRS,
    ZERO,
    forge_document,
    forge_tpm_document,
    measured,
)
from tests.vectors_evidence.keys import P384_ORDER, key, spki
from tests.vectors_evidence.vector import Vector

Policy = dict[str, Any]

RSA_OID = der.oid("1.2.840.113549.1.1.1")


def vectors() -> Iterator[Vector]:
    yield from _forged()
    yield from _stale()
    yield from _registers()
    yield from _bindings()
    yield from _recipients()
    yield from _tpm_policies()


@cache
def rsa_spki(bits: int, exponent: int = 65_537) -> bytes:
    """An RSA SubjectPublicKeyInfo of that many bits; its modulus is odd and made of hashes, nobody can use it."""
    stream = b"".join(hashlib.sha256(b"modulus %d" % block).digest() for block in range(bits // 256 + 1))
    modulus = int.from_bytes(stream[: bits // 8], "big") | 1 << (bits - 1) | 1
    return der.sequence(
        der.sequence(RSA_OID, der.tlv(der.NULL)),
        der.bits(der.sequence(der.unsigned(modulus), der.unsigned(exponent))),
    )


def one_of(*values: bytes, expires_ms: int | None = None) -> list[dict[str, Any]]:
    return [{"name": f"build {n}", "value": v.hex(), "expires_ms": expires_ms} for n, v in enumerate(values, 1)]


def enclave_policy(pcrs: dict[str, Any] | None = None, **more: Any) -> Policy:
    """A policy that the usual document satisfies."""
    return {
        "kind": "enclave",
        "pcrs": {"0": one_of(PCR0), **(pcrs or {})},
        "nonce": {"equal": NONCE.hex()},
        "user_data": "ignored",
        "public_key": "ignored",
        "regions": [],
        "require_instance_match": False,
        "allow_debug": False,
        **more,
    }


def tpm_policy(pcrs: dict[str, Any] | None = None, **more: Any) -> Policy:
    registers = {"4": one_of(TPM_PCRS[4]), "7": one_of(TPM_PCRS[7]), "12": "zero", **(pcrs or {})}
    return {**enclave_policy(), "kind": "nitrotpm", "pcrs": registers, **more}


def _forged() -> Iterator[Vector]:
    good = forge_document()
    code = ErrorCode.SIGNATURE_INVALID
    definite = replace(good, indefinite=False)
    swapped = (*good.fields[:-2], good.fields[-1], good.fields[-2])
    other_nonce = good.with_field("nonce", cbor.bstr(bytes(32)))
    low = bytes(47) + b"\x01"

    def flipped(at: int) -> Callable[[bytes], bytes]:
        return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    pcr0_at = good.payload().index(PCR0)
    for name, spec, what in (
        ("payload-pcr0-bit", replace(good, signed_edit=flipped(pcr0_at)), "one bit of PCR0 changed after signing"),
        ("payload-nonce-bit", replace(good, signed_edit=flipped(good.payload().index(NONCE))), "one bit of the nonce"),
        ("payload-timestamp-bit", replace(good, signed_edit=flipped(good.payload().index(b"timestamp") + 17)),
         "one bit of the timestamp"),
        ("payload-rewritten-definite", replace(good, signed_edit=lambda _: definite.payload()),
         "signed as an indefinite map, rewritten as a definite one"),
        ("payload-rewritten-indefinite", replace(definite, signed_edit=lambda _: good.payload()),
         "signed as a definite map, rewritten as an indefinite one"),
        ("payload-reordered", replace(good, signed_edit=lambda _: replace(good, fields=swapped).payload()),
         "the last two fields exchanged after signing"),
        ("payload-null-removed", replace(good, signed_edit=lambda _: good.without("user_data").payload()),
         "an absent field's null removed after signing"),
        ("payload-of-another", replace(good, signed_edit=lambda _: other_nonce.payload()), "the payload of another document"),
        ("signature-r-bit", replace(good, signature_edit=flipped(40)), "one bit of r changed"),
        ("signature-s-bit", replace(good, signature_edit=flipped(95)), "one bit of s changed"),
        ("signature-halves-exchanged", replace(good, signature_edit=lambda s: s[48:] + s[:48]), "r and s exchanged"),
        ("signature-one-one", replace(good, signature_edit=lambda _: low + low), "r and s are 1"),
        ("signature-largest", replace(good, signature_edit=lambda _: ((P384_ORDER - 1).to_bytes(48, "big")) * 2),
         "r and s are the order less one"),
        ("signer-stranger", replace(good, leaf_key=key("stranger")), "signed with a key that nobody certified"),
        ("signer-instance", replace(good, leaf_key=level_key(INSTANCE)), "signed with the instance certificate's key"),
        ("context-signature", replace(good, context="Signature"), "signed as COSE_Sign's signature"),
        ("context-countersignature", replace(good, context="CounterSignature"), "signed as a counter-signature"),
    ):  # fmt: skip
        yield reject(f"forged-{name}", code, spec, what)
    other = forge_chain({LEAF: lambda c: replace(c, public_key_info=spki(key("other leaf")))})
    exchanged = forge_document(Forged(ders=other.ders, leaf_key=level_key(LEAF)))
    yield reject("forged-leaf-exchanged", code, exchanged, "another valid leaf of the same name in the document")
    rightful = forge_document(Forged(ders=other.ders, leaf_key=key("other leaf")))
    yield reject("forged-leaf-put-in-after", code, replace(rightful, signed_edit=lambda _: good.payload()),
                 "signed by another valid leaf than the one in the payload")  # fmt: skip


def _stale() -> Iterator[Vector]:
    good, old = forge_document(), ErrorCode.EVIDENCE_TOO_OLD
    yield reject("stale-300001-ms", old, good, "a millisecond older than 300 s", now_ms=TIMESTAMP_MS + 300_001)
    yield reject("stale-half-an-hour", old, good, "half an hour old", now_ms=TIMESTAMP_MS + 1_800_000)
    yield reject(
        "stale-max-age-0", old, good, "a millisecond old where nothing may be", now_ms=TIMESTAMP_MS + 1, max_age_s=0
    )
    future = ErrorCode.EVIDENCE_FROM_FUTURE
    yield reject(
        "stale-60001-ms-ahead", future, good, "a millisecond more ahead than 60 s", now_ms=TIMESTAMP_MS - 60_001
    )
    yield reject("stale-ahead-no-skew", future, good, "a millisecond ahead where no skew is allowed",
                 now_ms=TIMESTAMP_MS - 1, max_future_skew_s=0)  # fmt: skip
    yield reject("stale-nonce-replayed", ErrorCode.NONCE_REPLAYED, good, "the nonce was seen before",
                 policy=enclave_policy(), seen_nonces=(NONCE.hex(),))  # fmt: skip
    for name, nonce in (("null", cbor.NULL), ("empty", cbor.bstr(b"")), ("15-bytes", cbor.bstr(bytes(range(15))))):
        yield reject(f"policy-nonce-{name}-remembered", ErrorCode.NONCE_MISMATCH, good.with_field("nonce", nonce),
                     "too short a nonce to tell a replay, where nonces are remembered",
                     policy=enclave_policy(nonce="ignored"), seen_nonces=(NONCE.hex(),))  # fmt: skip


def _registers() -> Iterator[Vector]:
    good = forge_document()

    def refused(name: str, code: ErrorCode, what: str, policy: Policy, pcrs: dict[int, bytes] | None = None) -> Vector:
        document = good if pcrs is None else forge_document(pcrs=pcrs)
        return reject(f"policy-{name}", code, document, what, policy=policy)

    mismatch, debug = ErrorCode.PCR_MISMATCH, ErrorCode.DEBUG_EVIDENCE
    yield refused("pcr0", mismatch, "another image", enclave_policy({"0": one_of(measured("other"))}))
    yield refused("pcr0-last-bit", mismatch, "PCR0 differs in its last bit",
                  enclave_policy({"0": one_of(PCR0[:-1] + bytes([PCR0[-1] ^ 1]))}))  # fmt: skip
    yield refused("pcr0-of-three", mismatch, "none of three reference values",
                  enclave_policy({"0": one_of(*(measured(f"other {n}") for n in range(3)))}))  # fmt: skip
    for index in (1, 2, 3, 4, 8):
        yield refused(
            f"pcr{index}", mismatch, f"another PCR{index}", enclave_policy({str(index): one_of(measured("other"))})
        )
    later = {index: value for index, value in ENCLAVE_PCRS.items() if index != 8}
    yield refused("pcr0-absent", ErrorCode.PCR_ABSENT, "no PCR0 in the document", enclave_policy(),
                  {index: value for index, value in ENCLAVE_PCRS.items() if index})  # fmt: skip
    yield refused("pcr8-absent", ErrorCode.PCR_ABSENT, "no PCR8 in the document",
                  enclave_policy({"8": one_of(PCR8)}), later)  # fmt: skip
    yield refused("pcr8-absent-zero", ErrorCode.PCR_ABSENT, "no PCR8 where zero is expected",
                  enclave_policy({"8": "zero"}), later)  # fmt: skip
    yield refused("pcr8-absent-non-zero", ErrorCode.PCR_ABSENT, "no PCR8 where a signed image is expected",
                  enclave_policy({"8": "non-zero"}), later)  # fmt: skip
    yield refused(
        "pcr16-absent", ErrorCode.PCR_ABSENT, "PCR16 is not locked", enclave_policy({"16": one_of(measured("m"))})
    )
    yield refused("pcr8-zero", ErrorCode.PCR_ZERO, "an unsigned image where a signed one is expected",
                  enclave_policy({"8": "non-zero"}))  # fmt: skip
    yield refused(
        "pcr3-not-zero", ErrorCode.PCR_NOT_ZERO, "a role where none is expected", enclave_policy({"3": "zero"})
    )
    yield refused(
        "pcr5-present", ErrorCode.FIELD_PRESENT, "PCR5 where it is expected absent", enclave_policy({"5": "absent"})
    )
    zero_expected = enclave_policy({"0": one_of(PCR0)})
    yield refused("debug", debug, "debug mode: PCR0 to PCR2 zero, PCR3 and PCR4 not", zero_expected, dict(DEBUG_PCRS))
    for index in (0, 1, 2):
        yield refused(f"debug-pcr{index}-only", debug, f"only PCR{index} zero", enclave_policy(),
                      {**ENCLAVE_PCRS, index: ZERO})  # fmt: skip
    yield refused("reference-expired", ErrorCode.REFERENCE_EXPIRED, "the reference value expires this very millisecond",
                  enclave_policy({"0": one_of(PCR0, expires_ms=NOW_MS)}))  # fmt: skip
    yield refused("reference-expired-one-of-two", ErrorCode.REFERENCE_EXPIRED, "the matching reference value has expired, "
                  "another one has not",
                  enclave_policy({"0": [*one_of(PCR0, expires_ms=NOW_MS - 1), *one_of(measured("other"))]}))  # fmt: skip
    yield refused("instance", ErrorCode.INSTANCE_MISMATCH, "PCR4 of another instance",
                  enclave_policy(require_instance_match=True), {**ENCLAVE_PCRS, 4: measured("other")})  # fmt: skip
    yield refused("instance-absent", ErrorCode.INSTANCE_MISMATCH, "no PCR4 where the instance has to match",
                  enclave_policy(require_instance_match=True),
                  {index: value for index, value in ENCLAVE_PCRS.items() if index != 4})  # fmt: skip
    yield refused(
        "region", ErrorCode.REGION_MISMATCH, "another Region", enclave_policy(regions=["eu-west-1", "eu-north-1"])
    )
    yield refused("enclave-for-tpm", ErrorCode.KIND_MISMATCH, "an enclave under a policy for NitroTPM", tpm_policy())


def _bindings() -> Iterator[Vector]:
    codes = {
        "nonce": ErrorCode.NONCE_MISMATCH,
        "user_data": ErrorCode.USER_DATA_MISMATCH,
        "public_key": ErrorCode.PUBLIC_KEY_MISMATCH,
    }
    for field, code in codes.items():
        slug = field.replace("_", "-")
        with_value = forge_document().with_field(field, cbor.bstr(b"value" * 4))
        with_null = forge_document().with_field(field, cbor.NULL)
        with_empty = forge_document().with_field(field, cbor.bstr(b""))
        base: Policy = {"nonce": "ignored", "user_data": "ignored", "public_key": "ignored"}
        for name, refusal, document, expected, what in (
            ("other", code, with_value, {"equal": (b"other" * 4).hex()}, "is another"),
            ("longer", code, with_value, {"equal": (b"value" * 5).hex()}, "is a prefix of the expected one"),
            ("null", code, with_null, {"equal": (b"value" * 4).hex()}, "is null"),
            ("null-for-empty", code, with_null, {"equal": ""}, "is null where an empty byte string is expected"),
            ("empty", code, with_empty, {"equal": (b"value" * 4).hex()}, "is empty"),
            ("present", ErrorCode.FIELD_PRESENT, with_value, "absent", "is there and is expected absent"),
            ("empty-for-absent", ErrorCode.FIELD_PRESENT, with_empty, "absent", "is empty and is expected absent"),
        ):
            policy = enclave_policy(**{**base, field: expected})
            yield reject(f"policy-{slug}-{name}", refusal, document, f"{field} {what}", policy=policy)


def _recipients() -> Iterator[Vector]:
    rsa = rsa_spki(2048)
    policy = enclave_policy(public_key="kms-recipient")
    pem = b"-----BEGIN PUBLIC KEY-----\nMIIBIjAN\n-----END PUBLIC KEY-----\n"
    for name, public_key, what in (
        ("absent", None, "no public key"),
        ("empty", b"", "an empty public key"),
        ("pem", pem, "PEM instead of DER"),
        ("raw", bytes(32), "32 raw bytes"),
        ("trailing-byte", rsa + b"\x00", "a byte after the key"),
        ("rsa-1024", rsa_spki(1024), "RSA of 1024 bits"),
        ("rsa-2040", rsa_spki(2040), "RSA of 2040 bits"),
        ("rsa-exponent-3", rsa_spki(2048, 3), "the exponent 3"),
        ("p384", spki(key("recipient")), "an elliptic curve key"),
        ("x25519", der.sequence(der.sequence(der.oid("1.3.101.110")), der.bits(b"\x09" + bytes(31))), "an X25519 key"),
        ("rsa-pss", rsa.replace(RSA_OID, der.oid("1.2.840.113549.1.1.10")), "RSA for RSASSA-PSS alone"),
        ("noise-after-oid", rsa[:40] + bytes(len(rsa) - 40), "a modulus that is no number"),
        ("pkcs1", rsa[24:], "PKCS#1 without its SubjectPublicKeyInfo"),
    ):
        document = forge_document(public_key=public_key)
        yield reject(
            f"policy-recipient-{name}", ErrorCode.RECIPIENT_KEY, document, f"recipient key: {what}", policy=policy
        )


def _tpm_policies() -> Iterator[Vector]:
    good = forge_tpm_document()

    def refused(name: str, code: ErrorCode, what: str, policy: Policy, pcrs: dict[int, bytes] | None = None) -> Vector:
        document = good if pcrs is None else good.with_field("nitrotpm_pcrs", cbor.registers(pcrs))
        return reject(f"policy-tpm-{name}", code, document, what, policy=policy, kind="nitrotpm")

    yield refused("for-enclave", ErrorCode.KIND_MISMATCH, "a NitroTPM under a policy for enclaves", enclave_policy())
    as_enclave = enclave_policy({"0": one_of(TPM_PCRS[0])})
    yield refused(
        "for-enclave-same-pcr0", ErrorCode.KIND_MISMATCH, "a NitroTPM whose PCR0 an enclave policy expects", as_enclave
    )
    for index in (4, 7):
        yield refused(f"pcr{index}", ErrorCode.PCR_MISMATCH, f"another PCR{index}",
                      tpm_policy({str(index): one_of(measured("other"))}))  # fmt: skip
    yield refused("pcr12", ErrorCode.PCR_NOT_ZERO, "a kernel command line that was changed", tpm_policy(),
                  {**TPM_PCRS, 12: measured("command line")})  # fmt: skip
    yield refused("pcr12-value", ErrorCode.PCR_MISMATCH, "another kernel command line",
                  tpm_policy({"12": one_of(measured("command line"))}))  # fmt: skip
    yield refused("pcr7-absent", ErrorCode.PCR_ABSENT, "no PCR7 in the document", tpm_policy(),
                  {index: value for index, value in TPM_PCRS.items() if index != 7})  # fmt: skip
