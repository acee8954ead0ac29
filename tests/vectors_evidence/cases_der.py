"""Cases of certificates that are not strict DER, at the leaf unless the name says otherwise; all properly signed."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from pcrgate.errors import ErrorCode
from tests.vectors_evidence import der_writer as der
from tests.vectors_evidence.case import reject
from tests.vectors_evidence.certificate_forge import (
    AUTHORITY_KEY_ID,
    BASIC_CONSTRAINTS,
    INSTANCE,
    KEY_USAGE,
    LEAF,
    MODULE_ID,
    REGION,
    REGIONAL,
    SUBJECT_KEY_ID,
    CertificateSpec,
    Edit,
    Extension,
    changed,
    forge_chain,
    key_id,
    level_key,
    level_spec,
    put,
)
from tests.vectors_evidence.document_forge import forge_document
from tests.vectors_evidence.keys import point, sign_der
from tests.vectors_evidence.vector import Vector


def vectors() -> Iterator[Vector]:
    yield from _elements()
    yield from _times()
    yield from _extensions()
    yield from _signatures()


def _edited(name: str, what: str, edit: Edit, level: int = LEAF) -> Vector:
    return reject(
        f"der-{name}", ErrorCode.DER, forge_document(forge_chain({level: edit})), f"a certificate with {what}"
    )


def _rewritten(name: str, what: str, rewrite: Callable[[bytes], bytes], level: int = LEAF) -> Vector:
    chain = forge_chain(rewrite={level: rewrite})
    return reject(f"der-{name}", ErrorCode.DER, forge_document(chain), what)


def _elements() -> Iterator[Vector]:
    for level, where in ((LEAF, "leaf"), (REGIONAL, "regional")):
        yield _rewritten(
            f"{where}-trailing-byte", f"a byte after the {where} certificate", lambda d: d + b"\x00", level
        )
        yield _rewritten(f"{where}-cut", f"the {where} certificate without its last byte", lambda d: d[:-1], level)
    yield _rewritten("noise", "noise instead of a certificate", lambda _: bytes(range(64)))
    yield _rewritten("set-instead-of-sequence", "a SET instead of a SEQUENCE", lambda d: b"\x31" + d[1:])
    yield _rewritten("long-length", "a length in three bytes", lambda d: b"\x30\x83\x00" + d[2:])
    yield _rewritten("indefinite-length", "an indefinite length", lambda d: b"\x30\x80" + d[4:] + b"\x00\x00")
    yield _rewritten("fourth-element", "a fourth element", lambda d: der.sequence(d[4:], der.tlv(der.NULL)))

    yield _edited(
        "key-third-element",
        "a third element in its SubjectPublicKeyInfo",
        lambda c: replace(c, public_key_info=der.sequence(c.public_key_info[2:], der.tlv(der.NULL))),
    )

    null = der.tlv(der.NULL)
    for name, what, kind, value in (
        ("usage-second-element", "an element after its KeyUsage", KEY_USAGE, der.named_bits(0, 1) + null),
        ("issuer-key-id-second-element", "an element after its AuthorityKeyIdentifier", AUTHORITY_KEY_ID,
         der.sequence(der.tlv(0x80, key_id(level_key(INSTANCE)))) + null),
        ("issuer-key-id-serial", "an AuthorityKeyIdentifier with a serial number", AUTHORITY_KEY_ID,
         der.sequence(der.tlv(0x80, key_id(level_key(INSTANCE))), der.tlv(0x82, b"\x01"))),
    ):  # fmt: skip
        yield _edited(name, what, put(Extension(kind=kind, value=value)))
    common, country = der.oid("2.5.4.3"), der.oid("2.5.4.6")
    usual = f"{MODULE_ID}.{REGION}.aws".encode()
    for name, what, parts in (
        ("subject-set-of-two", "two attributes in one set of its subject",
         (der.sequence(common, der.tlv(0x0C, usual)), der.sequence(country, der.tlv(0x13, b"US")))),
        ("subject-third-element", "a third element in an attribute", (der.sequence(common, der.tlv(0x0C, usual), null),)),
        ("subject-foreign-character", "an escape character in its name",
         (der.sequence(common, der.tlv(0x0C, usual + b"\x1b")),)),
    ):  # fmt: skip
        yield _edited(name, what, changed(subject=der.sequence(der.tlv(0x31, *parts))))

    def serial(content: str) -> Edit:
        return changed(serial=der.tlv(der.INTEGER, bytes.fromhex(content)))

    yield _edited("serial-padded", "a serial number with a needless zero byte", serial("000001"))
    yield _edited("serial-negative", "a negative serial number", serial("ff01"))
    yield _edited("serial-length-two-bytes", "a serial number's length in two bytes",
                  changed(serial=b"\x02\x81\x01\x05"))  # fmt: skip
    yield _edited("serial-length-three-bytes", "a serial number's length in three bytes",
                  changed(serial=b"\x02\x82\x00\x80" + b"\x05" * 128))  # fmt: skip
    empty = der.sequence(der.sequence(der.oid("1.2.840.10045.2.1"), der.oid("1.3.132.0.34")), der.tlv(der.BIT_STRING))
    yield _edited("key-bits-empty", "a key in a BIT STRING of no bytes", changed(public_key_info=empty))
    yield _edited("serial-empty", "a serial number of no bytes", serial(""))
    yield _edited("tbs-trailing", "an element after the extensions",
                  changed(after_extensions=der.tlv(der.NULL)))  # fmt: skip
    unused = der.sequence(
        der.sequence(der.oid("1.2.840.10045.2.1"), der.oid("1.3.132.0.34")), der.bits(point(level_key(LEAF)), 1)
    )
    yield _edited("key-unused-bits", "a key in a BIT STRING with unused bits", changed(public_key_info=unused))
    yield _edited("signature-unused-bits", "a signature in a BIT STRING with unused bits",
                  changed(unused_signature_bits=1))  # fmt: skip
    common_name = (der.COMMON_NAME, "x.eu-central-1.aws")
    yield _edited("subject-without-common-name", "no common name", changed(subject=der.name((der.COUNTRY, "US"))))
    yield _edited("subject-two-common-names", "two common names",
                  changed(subject=der.name(common_name, common_name)))  # fmt: skip
    yield _edited("subject-empty", "an empty subject", changed(subject=der.sequence()))
    yield _edited("subject-integer", "a number as subject", changed(subject=der.unsigned(1)))


def _times() -> Iterator[Vector]:
    def not_before(tag: int, text: bytes) -> Edit:
        return changed(not_before=der.tlv(tag, text))

    utc, general = der.UTC_TIME, der.GENERALIZED_TIME
    for name, tag, text, what in (
        ("february-30", utc, b"260230120000Z", "30 February"),
        ("february-29", utc, b"250229120000Z", "29 February in a year without one"),
        ("month-13", utc, b"251301120000Z", "a month 13"),
        ("day-0", utc, b"260300120000Z", "a day 0"),
        ("hour-24", utc, b"260228240000Z", "an hour 24"),
        ("second-60", utc, b"260228115960Z", "a second 60"),
        ("no-seconds", utc, b"2603011130Z", "a time without seconds"),
        ("offset", utc, b"260301123000+0100", "a time with an offset"),
        ("no-zone", utc, b"260301113000", "a time without Z"),
        ("signs", utc, b"+60301113000Z", "a time with a sign"),
        ("general-before-2050", general, b"20260301113000Z", "GeneralizedTime before 2050"),
        ("general-fraction", general, b"20260301113000.5Z", "fractions of a second"),
        ("printable", der.PRINTABLE_STRING, b"260301113000Z", "a time as text"),
    ):
        yield _edited(f"time-{name}", what, not_before(tag, text))
    yield _edited("time-february-30-instance", "30 February as end", changed(not_after=der.tlv(utc, b"260230120000Z")), INSTANCE)  # fmt: skip
    missing = level_spec(LEAF).not_before
    yield _edited("time-third", "a third time", lambda c: replace(c, not_after=c.not_after + missing))


def _extensions() -> Iterator[Vector]:
    def extension(kind: str, value: bytes, level: int, name: str, what: str) -> Vector:
        def edit(spec: CertificateSpec) -> CertificateSpec:
            critical = next((e.critical for e in spec.extensions if e.kind == kind), False)
            return spec.with_extension(Extension(kind=kind, value=value, critical=critical))

        return _edited(f"extension-{name}", what, edit, level)

    one = der.unsigned(1)
    yield extension(BASIC_CONSTRAINTS, der.sequence(der.tlv(der.BOOLEAN, b"\x01")), INSTANCE, "boolean-01",
                    "a BOOLEAN 01 for cA")  # fmt: skip
    yield extension(BASIC_CONSTRAINTS, der.sequence(der.tlv(der.BOOLEAN, b"\xff\xff")), INSTANCE, "boolean-two-bytes",
                    "a BOOLEAN of two bytes")  # fmt: skip
    yield extension(BASIC_CONSTRAINTS, der.sequence(der.boolean(False)), LEAF, "constraints-default",
                    "the default of cA written out")  # fmt: skip
    yield extension(BASIC_CONSTRAINTS, der.sequence(der.boolean(True), der.tlv(der.INTEGER, b"\x00\x01")), INSTANCE,
                    "path-length-padded", "a path length with a needless zero byte")  # fmt: skip
    yield extension(BASIC_CONSTRAINTS, der.sequence(der.boolean(True), der.tlv(der.INTEGER, b"\xff")), INSTANCE,
                    "path-length-negative", "a negative path length")  # fmt: skip
    yield extension(BASIC_CONSTRAINTS, der.sequence(der.boolean(True), one, one), INSTANCE, "constraints-third-element",
                    "a third element in BasicConstraints")  # fmt: skip
    yield extension(BASIC_CONSTRAINTS, der.sequence() + b"\x00", LEAF, "constraints-trailing-byte",
                    "a byte after BasicConstraints")  # fmt: skip
    yield extension(BASIC_CONSTRAINTS, b"", LEAF, "constraints-empty", "an empty BasicConstraints")
    yield extension(KEY_USAGE, der.bits(b"\xc0\x00", 0), LEAF, "usage-trailing-zeros", "trailing zero bits in KeyUsage")
    yield extension(KEY_USAGE, der.bits(b"\xc1", 6), LEAF, "usage-unused-set", "set bits among KeyUsage's unused ones")
    yield extension(KEY_USAGE, der.bits(b"\xc0", 8), LEAF, "usage-eight-unused", "eight unused bits in KeyUsage")
    yield extension(KEY_USAGE, der.tlv(der.BIT_STRING), LEAF, "usage-empty", "a KeyUsage of no bytes")
    yield extension(KEY_USAGE, der.bits(b"", 3), LEAF, "usage-no-bits-unused", "three unused bits of none in KeyUsage")
    yield extension(BASIC_CONSTRAINTS, b"\x30\x06\x01\x01\xff", INSTANCE, "constraints-longer-than-parent",
                    "an element longer than the one around it")  # fmt: skip
    yield extension(KEY_USAGE, der.octets(b"\xc0"), LEAF, "usage-octets", "a KeyUsage that is no BIT STRING")
    yield extension(SUBJECT_KEY_ID, der.octets(b"\x01" * 20) + b"\x00", INSTANCE, "key-id-trailing-byte",
                    "a byte after the key identifier")  # fmt: skip
    flags = (
        ("false", der.boolean(False), "critical FALSE written out"),
        ("01", b"\x01\x01\x01", "critical as BOOLEAN 01"),
    )
    for name, flag, what in flags:
        usage = Extension(kind=KEY_USAGE, value=der.named_bits(0, 1), flag=flag)
        yield _edited(f"extension-critical-{name}", what, put(usage))


def _signatures() -> Iterator[Vector]:
    signer = level_key(INSTANCE)

    def padded(tbs: bytes) -> bytes:
        signature = sign_der(signer, tbs)
        length = signature[3]
        return der.sequence(der.tlv(der.INTEGER, b"\x00", signature[4 : 4 + length]), signature[4 + length :])

    def signed(name: str, what: str, sign: Callable[[bytes], bytes]) -> Vector:
        chain = forge_chain(signers={LEAF: sign})
        return reject(
            f"der-signature-{name}", ErrorCode.DER, forge_document(chain), f"a certificate whose signature {what}"
        )

    yield signed("padded", "pads r with a zero byte", padded)
    yield signed("trailing-byte", "is followed by a byte", lambda tbs: sign_der(signer, tbs) + b"\x00")
    yield signed(
        "third-element", "has a third number", lambda tbs: der.sequence(sign_der(signer, tbs)[2:], der.unsigned(1))
    )
    yield signed("raw", "is 96 raw bytes", lambda _: bytes(96))
    yield signed("empty", "is empty", lambda _: b"")
    yield signed("negative", "has a negative r", lambda _: der.sequence(der.tlv(2, b"\xff"), der.unsigned(1)))
