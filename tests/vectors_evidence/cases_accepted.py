"""Cases that have to be accepted: what real documents do, and what lies exactly on a bound."""

import base64
import itertools
from collections.abc import Iterator
from dataclasses import replace

from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import Sha384
from tests.vectors_evidence import cbor_writer as cbor
from tests.vectors_evidence import der_writer as der
from tests.vectors_evidence.case import accept, hex_registers
from tests.vectors_evidence.cases_judgement import enclave_policy, one_of, rsa_spki, tpm_policy
from tests.vectors_evidence.certificate_forge import (
    AUTHORITY_KEY_ID,
    INSTANCE,
    LEAF,
    LEVEL_NAMES,
    MODULE_ID,
    NOW_MS,
    NOW_S,
    REGION,
    REGIONAL,
    ROOT,
    SUBJECT_KEY_ID,
    TIMESTAMP_MS,
    TPM_MODULE_ID,
    WINDOWS,
    ZONAL,
    Extension,
    Forged,
    append,
    changed,
    constraints,
    forge_chain,
    level_key,
    level_spec,
    put,
    usage,
)
from tests.vectors_evidence.document_forge import (
    DEBUG_PCRS,
    ENCLAVE_PCRS,
    NONCE,
    ONES,
    PCR0,
    PCR3,
    PCR8,
    TPM_PCRS,
    ZERO,
    DocumentSpec,
    forge_document,
    forge_tpm_document,
    measured,
)
from tests.vectors_evidence.keys import key, sign_der, spki
from tests.vectors_evidence.vector import Vector

PAYLOAD_MAX_BYTES = 16_384
UNKNOWN_FIELDS_MAX = 8
TPM_FIELDS = {"kind": "nitrotpm", "module_id": TPM_MODULE_ID, "pcrs": hex_registers(TPM_PCRS)}


def vectors() -> Iterator[Vector]:
    yield from _encodings()
    yield from _fields()
    yield from _registers()
    yield from _chains()
    yield from _times()
    yield from _policies()
    yield from _software_nsm()


def _encodings() -> Iterator[Vector]:
    good = forge_document()
    yield accept("indefinite", good, "a document as AWS writes them since June 2025")
    yield accept("definite", replace(good, indefinite=False), "a document as AWS wrote them until April 2025")
    yield accept("tag-18", replace(good, document_edit=lambda d: b"\xd2" + d), "tagged as COSE_Sign1")
    yield accept("signature-high-s", replace(good, high_s=True), "s in the upper half of its range")
    yield accept("signature-low-s", replace(good, high_s=False), "s in the lower half of its range")
    raw = good.encode()
    text = base64.b64encode(raw)
    lines = b"\n".join(text[at : at + 76] for at in range(0, len(text), 76)) + b"\n"
    for name, content, what in (
        ("raw", raw, "raw bytes in a file"),
        ("base64", text, "base64 in a file"),
        ("base64-lines", lines, "base64 in lines of 76, as tools write it"),
        ("hex", raw.hex().encode() + b"\n", "hex in a file"),
        ("hex-upper-case", raw.hex().upper().encode(), "hex in upper case"),
    ):
        yield replace(accept(f"file-{name}", good, what, input="file"), document=base64.b64encode(content).decode())
    padding = PAYLOAD_MAX_BYTES - len(good.with_field("padding", cbor.bstr(bytes(10_000))).payload())
    longest = good.with_field("padding", cbor.bstr(bytes(10_000 + padding)))
    yield accept("payload-16384-bytes", longest, "a payload of the greatest length", {"unknown_fields": ["padding"]})


def _fields() -> Iterator[Vector]:
    for length in (0, 1, 512, 513, 1024):
        value = (b"f" * length).hex()
        document = forge_document(public_key=b"f" * length, user_data=b"f" * length, nonce=b"f" * length)
        yield accept(f"optional-{length}-bytes", document, f"public_key, user_data and nonce of {length} bytes each",
                     {"public_key": value, "user_data": value, "nonce": value})  # fmt: skip
    yield accept("optional-null", forge_document(nonce=None), "all optional fields null", {"nonce": None})
    bare = forge_document().without("public_key").without("user_data").without("nonce")
    yield accept("optional-left-out", bare, "all optional fields left out", {"nonce": None})
    unknown = forge_document().with_field("annotations", cbor.mapping([(cbor.tstr("new"), cbor.array([cbor.TRUE]))]))
    yield accept(
        "unknown-field", unknown, "a field that the specification does not name", {"unknown_fields": ["annotations"]}
    )
    yield accept("strict", forge_document(), "no unknown field, in strict mode", refuse_unknown_fields=True)
    names = [f"unknown-{number}" for number in range(UNKNOWN_FIELDS_MAX)]
    many = forge_document()
    for name in names:
        many = many.with_field(name, cbor.NULL)
    yield accept("unknown-fields-eight", many, "as many unknown fields as are reported", {"unknown_fields": names})
    other_kind = forge_document().with_field("nitrotpm_pcrs", cbor.NULL)
    yield accept("other-kind-null", other_kind, "nitrotpm_pcrs null beside pcrs: null and absent are equal")


def _registers() -> Iterator[Vector]:
    for name, pcrs, what in (
        ("one", {0: PCR0}, "PCR0 alone"),
        (
            "sparse",
            {index: ENCLAVE_PCRS[index] for index in (0, 1, 2, 3, 4, 8)},
            "only the registers that mean something",
        ),
        ("17", {**ENCLAVE_PCRS, 16: measured("manifest")}, "PCR16 locked by the application"),
        ("32", {**ENCLAVE_PCRS, **dict.fromkeys(range(16, 32), ZERO)}, "all registers locked"),
        ("ones", {**ENCLAVE_PCRS, 15: ONES}, "a register of all ones"),
    ):
        yield accept(f"pcrs-{name}", forge_document(pcrs=pcrs), what, {"pcrs": hex_registers(pcrs)})
    yield accept("debug-unappraised", forge_document(pcrs=DEBUG_PCRS), "a debug enclave's document is authentic",
                 {"pcrs": hex_registers(DEBUG_PCRS)})  # fmt: skip
    yield accept("tpm", forge_tpm_document(), "a NitroTPM's document", TPM_FIELDS, kind="nitrotpm")


def _chains() -> Iterator[Vector]:
    def without_key_ids(*levels: int) -> DocumentSpec:
        return forge_document(
            forge_chain({level: lambda c: c.without(SUBJECT_KEY_ID).without(AUTHORITY_KEY_ID) for level in levels})
        )

    yield accept(
        "chain-instance-without-key-ids", without_key_ids(INSTANCE), "an instance certificate as until mid 2024"
    )
    yield accept(
        "chain-without-key-ids", without_key_ids(REGIONAL, ZONAL, INSTANCE), "no key identifiers below the root"
    )
    nameless = forge_chain({ZONAL: lambda c: c.without(SUBJECT_KEY_ID)})
    yield accept(
        "chain-issuer-without-key-id",
        forge_document(nameless),
        "an authority key identifier, and an issuer without one",
    )
    limited = forge_chain({ROOT: put(constraints(ca=True, path_length=3))})
    fingerprint = limited.root_fingerprint.hex()
    yield accept("chain-root-path-length-3", forge_document(limited), "a root whose path length is just enough",
                 {"root": fingerprint}, roots=(fingerprint,))  # fmt: skip
    critical = forge_chain({LEAF: put(usage(0, 1, critical=True))})
    yield accept("chain-leaf-usage-critical", forge_document(critical), "a leaf whose KeyUsage is critical")
    digital = forge_chain({LEAF: put(usage(0, critical=False))})
    yield accept("chain-leaf-digital-signature-only", forge_document(digital), "a leaf with digitalSignature alone")
    unknown = Extension(kind="1.3.6.1.4.1.99999.1", value=der.tlv(der.NULL))
    other = forge_chain({LEAF: append(unknown)})
    yield accept("chain-unknown-extension", forge_document(other), "an unknown extension that is not critical")
    for level, place in ((LEAF, 4), (INSTANCE, 3)):
        yield accept(f"chain-{LEVEL_NAMES[level]}-1024-bytes", forge_document(_filled(level, place)),
                     f"the longest {LEVEL_NAMES[level]} certificate")  # fmt: skip
    mirrored = forge_chain(signers={LEAF: lambda t: sign_der(level_key(INSTANCE), t, mirrored=True)})
    yield accept(
        "chain-signature-mirrored", forge_document(mirrored), "n - s in a certificate's signature, valid as well"
    )
    late = forge_chain({ZONAL: changed(not_after=der.tlv(der.GENERALIZED_TIME, b"20500101000000Z"))})
    yield accept("chain-generalized-time", forge_document(late), "a certificate that ends in 2050, as GeneralizedTime")
    odd = forge_chain({LEAF: changed(serial=der.unsigned(5))})
    yield accept(
        "chain-leaf-serial", forge_document(odd), "a leaf serial that is not made of the module id: a caution only"
    )
    other_root = forge_chain(partition="aws-us-gov", region="us-gov-west-1")
    yield accept("chain-other-partition", forge_document(other_root), "a whole chain of another partition",
                 {"region": "us-gov-west-1", "root": other_root.root_fingerprint.hex()}, roots=(other_root.root_fingerprint.hex(),))  # fmt: skip
    for name, partition, region, domain, what in (
        ("leaf-domain-aws", "aws-us-gov", "us-gov-east-1", "aws", "a leaf whose name ends in aws in another partition"),
        ("long-region-area", "aws-eusc", "eusc-de-east-1", "aws-eusc", "a Region whose name starts with four letters"),
    ):
        leaf = der.name((der.COMMON_NAME, f"{MODULE_ID}.{region}.{domain}"))
        chain = forge_chain({LEAF: changed(subject=leaf)}, partition=partition, region=region)
        fingerprint = chain.root_fingerprint.hex()
        yield accept(f"chain-{name}", forge_document(chain), what, {"region": region, "root": fingerprint},
                     roots=(fingerprint,))  # fmt: skip
    yield accept(
        "chain-two-roots", forge_document(), "two roots pinned", roots=(forge_chain().root_fingerprint.hex(), "00" * 32)
    )
    spec = level_spec(LEAF)
    revoked = (
        {"issuer": spec.subject.hex(), "serial": spec.serial[2:].hex()},
        {"issuer": spec.issuer.hex(), "serial": "1"},
    )
    yield accept("chain-others-revoked", forge_document(), "revoked: the leaf's serial of another issuer, another serial of its own",
                 revocations=revoked)  # fmt: skip


def _times() -> Iterator[Vector]:
    good = forge_document()
    yield accept("age-300-s", good, "exactly 300 s old", now_ms=TIMESTAMP_MS + 300_000)
    yield accept("ahead-60-s", good, "exactly 60 s ahead of the clock", now_ms=TIMESTAMP_MS - 60_000)
    yield accept(
        "age-0-of-0", good, "no age where none is allowed", now_ms=TIMESTAMP_MS, max_age_s=0, max_future_skew_s=0
    )
    yield accept("recorded-years-later", good, "judged at its own time", time="recorded", now_ms=NOW_MS + 10**11)
    first_ms, last_ms = (second * 1000 for second in WINDOWS[LEAF])
    for name, timestamp_ms, now_ms, what in (
        ("first", first_ms, first_ms, "the leaf's first second"),
        ("last", last_ms, last_ms, "the leaf's last second"),
        ("last-older", last_ms - 5000, last_ms, "the clock at the leaf's last second, the document older"),
    ):
        document = forge_document(timestamp_ms=timestamp_ms)
        yield accept(f"leaf-{name}-second", document, what, {"timestamp_ms": timestamp_ms}, now_ms=now_ms)
        if name != "last-older":
            yield accept(f"leaf-{name}-second-recorded", document, f"{what}, at the document's own time",
                         {"timestamp_ms": timestamp_ms}, now_ms=now_ms, time="recorded")  # fmt: skip
    for level, name in ((REGIONAL, "regional"), (ZONAL, "zonal"), (INSTANCE, "instance")):
        tight = forge_chain({level: lambda c: c.valid(TIMESTAMP_MS // 1000, NOW_S)})
        yield accept(f"{name}-exactly-valid", forge_document(tight), f"a {name} certificate valid from the document's second "
                     "to the clock's")  # fmt: skip
    slow = forge_chain({LEAF: lambda c: c.valid(not_before_s=NOW_S + 60)})
    yield accept("leaf-start-within-skew", forge_document(slow, timestamp_ms=NOW_MS + 60_000), "a clock 60 s slow",
                 {"timestamp_ms": NOW_MS + 60_000})  # fmt: skip


def _policies() -> Iterator[Vector]:
    good = forge_document()
    yield accept("policy-pcr0", good, "PCR0 and nonce as expected", policy=enclave_policy())
    yield accept("policy-upper-case", good, "the reference value in upper case",
                 policy=enclave_policy({"0": [{"name": "build", "value": PCR0.hex().upper(), "expires_ms": None}]}))  # fmt: skip
    yield accept("policy-second-of-two", good, "the second of two reference values",
                 policy=enclave_policy({"0": one_of(measured("other"), PCR0)}))  # fmt: skip
    yield accept("policy-not-expired", good, "a reference value in its last millisecond",
                 policy=enclave_policy({"0": one_of(PCR0, expires_ms=NOW_MS + 1)}))  # fmt: skip
    yield accept("policy-expired-and-renewed", good, "the same value twice, once expired",
                 policy=enclave_policy({"0": [*one_of(PCR0, expires_ms=1), *one_of(PCR0)]}))  # fmt: skip
    everything = {str(index): one_of(ENCLAVE_PCRS[index]) for index in (1, 2, 3, 4)}
    yield accept("policy-everything", forge_document(user_data=b"data", public_key=rsa_spki(2048)), "every field stated",
                 {"user_data": b"data".hex(), "public_key": rsa_spki(2048).hex()},
                 policy=enclave_policy({**everything, "8": "zero", "16": "absent"}, user_data={"equal": b"data".hex()},
                                       public_key={"equal": rsa_spki(2048).hex()}, regions=["eu-west-1", REGION],
                                       require_instance_match=True))  # fmt: skip
    signed = {**ENCLAVE_PCRS, 8: PCR8}
    yield accept("policy-signed-image", forge_document(pcrs=signed), "PCR8 of a signed image", {"pcrs": hex_registers(signed)},
                 policy=enclave_policy({"8": "non-zero", "3": one_of(PCR3), "5": "ignored"}))  # fmt: skip
    yield accept("policy-all-absent", forge_document(nonce=None), "no optional fields, none expected", {"nonce": None},
                 policy=enclave_policy(nonce="absent", user_data="absent", public_key="absent"))  # fmt: skip
    yield accept("policy-empty-equal", forge_document(user_data=b""), "an empty field where empty is expected",
                 {"user_data": ""}, policy=enclave_policy(user_data={"equal": ""}))  # fmt: skip
    for bits in (2048, 3072, 4096):
        public_key = rsa_spki(bits)
        yield accept(f"policy-recipient-{bits}", forge_document(public_key=public_key), f"a recipient key of {bits} bits",
                     {"public_key": public_key.hex()}, policy=enclave_policy(public_key="kms-recipient"))  # fmt: skip
    debug = enclave_policy({"0": one_of(ZERO)}, allow_debug=True)
    yield accept("policy-debug-allowed", forge_document(pcrs=DEBUG_PCRS), "a debug enclave where that is allowed",
                 {"pcrs": hex_registers(DEBUG_PCRS)}, policy=debug)  # fmt: skip
    yield accept("policy-nonce-new", good, "another nonce was seen before", policy=enclave_policy(),
                 seen_nonces=(bytes(32).hex(),))  # fmt: skip
    short = bytes(range(16))
    yield accept("policy-nonce-16-bytes", good.with_field("nonce", cbor.bstr(short)), "the shortest nonce that is remembered",
                 {"nonce": short.hex()}, policy=enclave_policy(nonce="ignored"), seen_nonces=(NONCE.hex(),))  # fmt: skip
    yield accept("policy-tpm", forge_tpm_document(), "PCR4, PCR7 and PCR12 of a NitroTPM", TPM_FIELDS, kind="nitrotpm",
                 policy=tpm_policy())  # fmt: skip
    public_key = spki(key("vaportpm"))
    yield accept("policy-tpm-all", forge_tpm_document(public_key=public_key), "a NitroTPM with every field stated",
                 {**TPM_FIELDS, "public_key": public_key.hex()}, kind="nitrotpm",
                 policy=tpm_policy({"12": "zero", "11": "zero", "24": "absent", "17": one_of(ONES)},
                                   public_key={"equal": public_key.hex()}, regions=[REGION]))  # fmt: skip


def _software_nsm() -> Iterator[Vector]:
    """Documents of the software NSM, so that its seed gives the same bytes for ever."""
    pki = DevPki(b"pcrgate evidence vectors")
    request = cbor.mapping([(cbor.tstr("Attestation"), cbor.mapping(
        [(cbor.tstr("user_data"), cbor.NULL), (cbor.tstr("nonce"), cbor.bstr(NONCE)), (cbor.tstr("public_key"), cbor.NULL)]
    ))])  # fmt: skip
    for name, kind, module_id, definite in (
        ("enclave", "enclave", MODULE_ID, False),
        ("enclave-definite", "enclave", MODULE_ID, True),
        ("tpm", "nitrotpm", TPM_MODULE_ID, False),
    ):
        pcrs = {index: Sha384(value) for index, value in ENCLAVE_PCRS.items()} if kind == "enclave" else {}
        nsm = SoftwareNsm(pki=pki, pcrs=pcrs, module_id=module_id, region=REGION, kind="nitrotpm" if kind == "nitrotpm" else
                          "enclave", clock=lambda: TIMESTAMP_MS, definite_map=definite)  # fmt: skip
        answer = nsm.request(request)
        document = answer[answer.index(b"document") + 11 :]
        count = 16 if kind == "enclave" else 24
        fields = {"kind": kind, "module_id": module_id, "root": pki.root_fingerprint.hex(),
                  "pcrs": {str(index): nsm.pcr(index).hex() for index in range(count)}}  # fmt: skip
        yield accept(f"software-nsm-{name}", document, f"a document of the software NSM, {kind}", fields, kind=kind,
                     roots=(pki.root_fingerprint.hex(),))  # fmt: skip


def _filled(level: int, place: int) -> Forged:
    """A chain with one certificate of exactly 1024 bytes; signatures differ in length, so the filling is searched."""
    room = 1024 - len(forge_chain().ders[place])
    for filling, arc in itertools.product(range(room - 40, room), range(4)):
        note = Extension(kind=f"1.3.6.1.4.1.99999.{arc}", value=der.octets(bytes(filling)))
        chain = forge_chain({level: append(note)})
        if len(chain.ders[place]) == 1024:
            return chain
    raise AssertionError("no filling gives 1024 bytes")
