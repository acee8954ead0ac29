"""Cases of bytes that are not one strict CBOR item, or not a COSE_Sign1 as specified."""

import base64
from collections.abc import Iterator
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from pcrgate.errors import ErrorCode
from tests.vectors_evidence import cbor_writer as cbor
from tests.vectors_evidence.case import reject
from tests.vectors_evidence.document_forge import PROTECTED, DocumentSpec, forge_document
from tests.vectors_evidence.keys import P384_ORDER
from tests.vectors_evidence.vector import Vector

DOCUMENT_MAX_BYTES = 16_640
PAYLOAD_MAX_BYTES = 16_384


def vectors() -> Iterator[Vector]:
    yield from _input()
    yield from _tags_and_structure()
    yield from _protected()
    yield from _unprotected_and_payload()
    yield from _signature_shape()
    yield from _payload_map()
    yield from _payload_items()


def _input() -> Iterator[Vector]:
    good = forge_document().encode()
    yield reject("input-empty", ErrorCode.INPUT_EMPTY, b"", "no bytes at all")
    yield reject("input-file-empty", ErrorCode.INPUT_EMPTY, b"", "an empty file", input="file")
    yield reject("input-file-line-end", ErrorCode.INPUT_ENCODING, b"\n", "a file of one line end", input="file")
    longer = good + bytes(DOCUMENT_MAX_BYTES + 1 - len(good))
    yield reject(
        "input-too-large", ErrorCode.INPUT_TOO_LARGE, longer, "one byte more than envelope and payload can have"
    )
    text = base64.b64encode(good)
    for name, content, what in (
        ("base64-foreign-character", text[:100] + b"*" + text[101:], "base64 with a character outside of the alphabet"),
        ("base64-url-alphabet", text[:100] + b"-_" + text[102:], "base64 with the alphabet for URLs"),
        ("base64-no-padding", base64.b64encode(good[:4000]).rstrip(b"="), "base64 without its padding"),
        ("base64-spaces", text[:100] + b" " + text[100:], "base64 with a space in it"),
        ("base64-second-form", base64.b64encode(good[:4000])[:-3] + b"B==", "base64 whose unused bits are set"),
        ("hex-odd", good.hex().encode()[:-1] + b"g", "hex whose last character is no digit"),
    ):
        yield reject(f"input-{name}", ErrorCode.INPUT_ENCODING, content, what, input="file")
    yield reject("cbor-first-byte-only", ErrorCode.CBOR_TRUNCATED, good[:1], "the document's first byte alone")
    yield reject("cbor-tag-alone", ErrorCode.CBOR_TRUNCATED, b"\xd2", "tag 18 and nothing after it")
    yield reject("cbor-cut-in-a-head", ErrorCode.CBOR_TRUNCATED, good[:9], "the payload's length cut in two")
    yield reject("cbor-cut-in-half", ErrorCode.CBOR_TRUNCATED, good[: len(good) // 2], "the first half of a document")
    yield reject("cbor-last-byte-missing", ErrorCode.CBOR_TRUNCATED, good[:-1], "a document without its last byte")
    yield reject("cbor-trailing-byte", ErrorCode.CBOR_TRAILING_BYTES, good + b"\x00", "a byte after the document")
    yield reject("cbor-document-twice", ErrorCode.CBOR_TRAILING_BYTES, good + good, "a document after the document")


def _tags_and_structure() -> Iterator[Vector]:
    good = forge_document().encode()
    body = good[1:]
    for name, prefix, what in (
        ("17", b"\xd1", "tag 17 (COSE_Mac0)"),
        ("19", b"\xd3", "tag 19"),
        ("98", b"\xd8\x62", "tag 98 (COSE_Sign)"),
        ("18-twice", b"\xd2\xd2", "tag 18 twice"),
        ("61-then-18", b"\xd8\x3d\xd2", "tag 61 (CWT), then tag 18"),
        ("18-in-long-form", b"\xd8\x12", "tag 18 in two bytes"),
    ):
        yield reject(f"cose-tag-{name}", ErrorCode.COSE_TAG, prefix + good, what)
    structure = ErrorCode.COSE_STRUCTURE
    yield reject("cose-array-of-three", structure, b"\x83" + body[: -2 - 96], "no signature at all")
    yield reject("cose-array-of-five", structure, b"\x85" + body + b"\xf6", "a fifth element, null")
    named = cbor.mapping([(cbor.tstr("protected"), cbor.bstr(PROTECTED)), (cbor.tstr("payload"), cbor.bstr(b"\xa0"))])
    yield reject("cose-map", structure, named, "a map instead of an array")
    yield reject("cose-byte-string", structure, cbor.bstr(good), "the document in a byte string")
    yield reject("cose-text", structure, cbor.tstr("COSE"), "a text string of four characters")
    labels = [(cbor.uint(number), cbor.bstr(b"")) for number in range(4)]
    yield reject("cose-map-of-four", structure, cbor.mapping(labels), "a map of four entries")
    yield reject("cose-array-empty", structure, b"\x80", "an empty array")
    yield reject(
        "cose-array-indefinite", ErrorCode.CBOR_BREAK, b"\x9f" + body + b"\xff", "an array of indefinite length"
    )
    yield reject("cose-array-long-head", ErrorCode.CBOR_NOT_SHORTEST, b"\x98\x04" + body, "array length 4 in two bytes")
    yield reject("cose-array-reserved-head", ErrorCode.CBOR_RESERVED, b"\x9c" + body, "additional information 28")
    huge = b"\x9b" + b"\xff" * 8 + body
    yield reject("cose-array-huge", ErrorCode.CBOR_TOO_MANY_ITEMS, huge, "an array that claims 2**64-1 elements")


def _protected() -> Iterator[Vector]:
    good = forge_document()
    for name, protected, what in (
        ("es256", "a10126", "algorithm -7 (ES256)"),
        ("es512", "a1013823", "algorithm -36 (ES512)"),
        ("algorithm-text", "a1016545533338 34", "the algorithm as text"),
        ("algorithm-positive", "a1011823", "algorithm 35"),
        ("extra-entry", "a201382204 4100", "a key id beside the algorithm"),
        ("entry-twice", "a2013822013822", "the algorithm twice"),
        ("content-type-only", "a1033822", "no algorithm, a content type"),
        ("empty-map", "a0", "no algorithm"),
        ("empty", "", "an empty byte string, which RFC 9052 takes for an empty map"),
        ("trailing-byte", "a101382200", "a byte after the map"),
        ("long-form", "a101390022", "algorithm -35 in three bytes"),
        ("indefinite-map", "bf013822ff", "a map of indefinite length"),
        ("text-key", "a1613138 22", "the label 1 as text"),
    ):
        spec = replace(good, protected=bytes.fromhex(protected))
        yield reject(f"cose-protected-{name}", ErrorCode.COSE_PROTECTED, spec, f"protected header: {what}")
    for name, item, what in (
        ("map", PROTECTED, "the map itself instead of a byte string"),
        ("null", cbor.NULL, "null"),
        ("text", cbor.head(cbor.TEXT, 4) + PROTECTED[:1].replace(b"\xa1", b"a") + b"abc", "a text string"),
    ):
        spec = replace(good, protected_item=item)
        yield reject(f"cose-protected-{name}", ErrorCode.COSE_PROTECTED, spec, f"protected header: {what}")


def _unprotected_and_payload() -> Iterator[Vector]:
    good = forge_document()
    for name, item, what in (
        ("key-id", bytes.fromhex("a1044100"), "a key id"),
        ("algorithm", PROTECTED, "the algorithm once more"),
        ("null", cbor.NULL, "null"),
        ("byte-string", b"\x40", "an empty byte string"),
        ("array", b"\x80", "an empty array"),
    ):
        spec = replace(good, unprotected_item=item)
        yield reject(f"cose-unprotected-{name}", ErrorCode.COSE_UNPROTECTED, spec, f"unprotected header: {what}")
    payload = good.payload()
    code = ErrorCode.COSE_PAYLOAD
    for name, item, what in (
        ("null", cbor.NULL, "null (a detached payload)"),
        ("empty", b"\x40", "an empty byte string"),
        ("map", payload.replace(cbor.INDEFINITE_MAP, b"\xa9", 1)[:-1], "the map itself instead of a byte string"),
        ("text", cbor.tstr("payload"), "a text string"),
        ("number", b"\x01", "a number"),
    ):
        yield reject(f"cose-payload-{name}", code, replace(good, payload_item=item), f"payload: {what}")
    padding = PAYLOAD_MAX_BYTES + 1 - len(good.with_field("padding", cbor.bstr(bytes(10_000))).payload())
    longer = good.with_field("padding", cbor.bstr(bytes(10_000 + padding)))
    yield reject("cose-payload-too-long", code, longer, f"a payload of {PAYLOAD_MAX_BYTES + 1} bytes, otherwise right")
    wide = cbor.head(cbor.BYTES, len(payload), width=4) + payload
    yield reject(
        "cose-payload-long-head", ErrorCode.CBOR_NOT_SHORTEST, replace(good, payload_item=wide), "length in four bytes"
    )
    pieces = b"\x5f" + cbor.bstr(payload[:2000]) + cbor.bstr(payload[2000:]) + b"\xff"
    yield reject(
        "cose-payload-in-pieces",
        ErrorCode.CBOR_INDEFINITE_STRING,
        replace(good, payload_item=pieces),
        "indefinite length",
    )
    tagged = b"\xd8\x18" + cbor.bstr(payload)
    yield reject(
        "cose-payload-tagged", ErrorCode.CBOR_TYPE, replace(good, payload_item=tagged), "tag 24 on the payload"
    )


def _signature_shape() -> Iterator[Vector]:
    good = forge_document()
    order, low = P384_ORDER.to_bytes(48, "big"), bytes(47) + b"\x01"
    code = ErrorCode.COSE_SIGNATURE

    def as_der(raw: bytes) -> bytes:
        return encode_dss_signature(int.from_bytes(raw[:48], "big"), int.from_bytes(raw[48:], "big"))

    for name, edit, what in (
        ("empty", lambda _: b"", "no bytes"),
        ("95-bytes", lambda s: s[:-1], "a byte too short"),
        ("97-bytes", lambda s: s + b"\x00", "a byte too long"),
        ("64-bytes", lambda s: s[:64], "the length of ES256"),
        ("der", as_der, "DER instead of r and s"),
        ("all-zero", lambda _: bytes(96), "all zero"),
        ("all-ff", lambda _: b"\xff" * 96, "all FF"),
        ("r-zero", lambda s: bytes(48) + s[48:], "r is 0"),
        ("s-zero", lambda s: s[:48] + bytes(48), "s is 0"),
        ("r-order", lambda s: order + s[48:], "r is the group's order"),
        ("s-order", lambda s: s[:48] + order, "s is the group's order"),
        ("r-order-s-one", lambda _: order + low, "r is the group's order, s is 1"),
    ):
        yield reject(f"cose-signature-{name}", code, replace(good, signature_edit=edit), f"signature: {what}")
    yield reject("cose-signature-null", code, replace(good, signature_item=cbor.NULL), "signature: null")
    text = cbor.head(cbor.TEXT, 96) + b"s" * 96
    yield reject("cose-signature-text", code, replace(good, signature_item=text), "signature: 96 characters of text")


def _payload_map() -> Iterator[Vector]:
    good = forge_document()
    definite = replace(good, indefinite=False)

    def edited(
        name: str, code: ErrorCode, what: str, *entries: tuple[bytes, bytes], base: DocumentSpec = good
    ) -> Vector:
        return reject(f"payload-{name}", code, replace(base, fields=(*base.fields, *entries)), f"payload: {what}")

    def rewritten(name: str, code: ErrorCode, what: str, payload: bytes) -> Vector:
        return reject(f"payload-{name}", code, replace(good, payload_edit=lambda _: payload), f"payload: {what}")

    body = b"".join(key + value for key, value in good.fields)
    count = len(good.fields)
    yield rewritten("trailing-byte", ErrorCode.CBOR_TRAILING_BYTES, "a byte after the map", good.payload() + b"\x00")
    yield rewritten("twice", ErrorCode.CBOR_TRAILING_BYTES, "the map twice", good.payload() * 2)
    yield rewritten("break-missing", ErrorCode.CBOR_TRUNCATED, "no break marker", good.payload()[:-1])
    yield rewritten("odd", ErrorCode.CBOR_BREAK, "a key without value before the break marker",
                    b"\xbf" + body + cbor.tstr("odd") + b"\xff")  # fmt: skip
    yield rewritten("break-in-definite-map", ErrorCode.CBOR_BREAK, "a break marker inside a definite map",
                    cbor.head(cbor.MAP, count + 1) + body + b"\xff")  # fmt: skip
    yield rewritten("two-breaks", ErrorCode.CBOR_TRAILING_BYTES, "two break markers", good.payload() + b"\xff")
    yield rewritten("count-too-high", ErrorCode.CBOR_TRUNCATED, "a definite map that claims one entry more",
                    cbor.head(cbor.MAP, count + 1) + body)  # fmt: skip
    yield rewritten("count-too-low", ErrorCode.CBOR_TRAILING_BYTES, "a definite map that claims one entry less",
                    cbor.head(cbor.MAP, count - 1) + body)  # fmt: skip
    yield rewritten("count-long-form", ErrorCode.CBOR_NOT_SHORTEST, "a definite map with its count in two bytes",
                    cbor.head(cbor.MAP, count, width=1) + body)  # fmt: skip
    yield rewritten("array", ErrorCode.FIELD_TYPE, "an array", cbor.array([cbor.tstr("module_id")]))
    yield rewritten("array-indefinite", ErrorCode.FIELD_TYPE, "an array of indefinite length", b"\x9f\x01\xff")
    yield rewritten("number", ErrorCode.FIELD_TYPE, "a number", b"\x01")
    yield rewritten("tagged", ErrorCode.CBOR_TYPE, "a tagged map", b"\xd9\xd9\xf7" + definite.payload())
    yield rewritten("empty-map", ErrorCode.PCR_KIND, "no fields at all", b"\xa0")
    nonce = good.fields[-1]
    for base, form in ((good, "indefinite"), (definite, "definite")):
        yield edited(
            f"nonce-twice-{form}", ErrorCode.CBOR_DUPLICATE_KEY, f"the same nonce twice, {form}", nonce, base=base
        )
    other = cbor.tstr("module_id"), cbor.tstr("i-0fedcba9876543210-enc019ca9256a80c0de")
    yield edited("module-id-twice", ErrorCode.CBOR_DUPLICATE_KEY, "two module ids", other)
    unknown = cbor.tstr("unknown"), cbor.NULL
    yield edited("unknown-twice", ErrorCode.CBOR_DUPLICATE_KEY, "an unknown field twice", unknown, unknown)
    yield edited("key-number", ErrorCode.CBOR_KEY_TYPE, "a number as key", (b"\x01", cbor.NULL))
    yield edited("key-bytes", ErrorCode.CBOR_KEY_TYPE, "a byte string as key", (cbor.bstr(b"nonce"), cbor.NULL))
    yield edited("key-null", ErrorCode.CBOR_KEY_TYPE, "null as key", (cbor.NULL, cbor.NULL))
    yield edited("key-bool", ErrorCode.CBOR_KEY_TYPE, "true as key", (cbor.TRUE, cbor.NULL))
    yield edited("key-long-form", ErrorCode.CBOR_NOT_SHORTEST, "a key with its length in two bytes",
                 (cbor.head(cbor.TEXT, 5, width=1) + b"extra", cbor.NULL))  # fmt: skip
    yield edited("key-in-pieces", ErrorCode.CBOR_INDEFINITE_STRING, "a key in pieces",
                 (b"\x7f" + cbor.tstr("ex") + cbor.tstr("tra") + b"\xff", cbor.NULL))  # fmt: skip
    yield edited("key-not-utf8", ErrorCode.CBOR_UTF8, "a key that is not UTF-8",
                 (cbor.head(cbor.TEXT, 2) + b"\xc3\x28", cbor.NULL))  # fmt: skip


def _payload_items() -> Iterator[Vector]:
    good = forge_document()

    def field(name: str, code: ErrorCode, what: str, field_name: str, value: bytes) -> Vector:
        return reject(f"payload-{name}", code, good.with_field(field_name, value), f"payload: {what}")

    pcrs = good.fields[3][1]
    cabundle = good.fields[5][1]
    break_ = ErrorCode.CBOR_BREAK
    yield field("pcrs-indefinite", break_, "a nested map of indefinite length", "pcrs", b"\xbf" + pcrs[1:] + b"\xff")
    yield field("cabundle-indefinite", break_, "a nested array of indefinite length", "cabundle",
                b"\x9f" + cabundle[1:] + b"\xff")  # fmt: skip
    yield field("value-break", break_, "a break marker as value", "user_data", b"\xff")
    yield field("pcr-index-long-form", ErrorCode.CBOR_NOT_SHORTEST, "a PCR index in two bytes", "pcrs",
                b"\xa1\x18\x00" + cbor.bstr(bytes(48)))  # fmt: skip
    yield field("timestamp-long-form", ErrorCode.CBOR_NOT_SHORTEST, "a small timestamp in eight bytes", "timestamp",
                cbor.head(cbor.UNSIGNED, 1_000_000, width=8))  # fmt: skip
    yield field("nonce-long-form", ErrorCode.CBOR_NOT_SHORTEST, "a nonce with its length in four bytes", "nonce",
                cbor.head(cbor.BYTES, 20, width=4) + bytes(20))  # fmt: skip
    yield field("nonce-in-pieces", ErrorCode.CBOR_INDEFINITE_STRING, "a nonce in pieces", "nonce",
                b"\x5f" + cbor.bstr(b"one") + cbor.bstr(b"two") + b"\xff")  # fmt: skip
    yield field("module-id-in-pieces", ErrorCode.CBOR_INDEFINITE_STRING, "a module id in pieces", "module_id",
                b"\x7f" + cbor.tstr("i-") + b"\xff")  # fmt: skip
    for info in (28, 29, 30):
        yield field(f"reserved-{info}", ErrorCode.CBOR_RESERVED, f"additional information {info}", "user_data",
                    bytes([cbor.BYTES << 5 | info]) + b"\x00")  # fmt: skip
    for name, value, what in (
        ("undefined", cbor.UNDEFINED, "undefined"),
        ("simple-0", b"\xe0", "simple value 0"),
        ("simple-32", b"\xf8\x20", "simple value 32"),
        ("half-float", cbor.HALF_FLOAT_ONE, "a half-precision float"),
        ("double", b"\xfb\x3f\xf0" + bytes(6), "a double"),
        ("tagged", b"\xc1" + cbor.bstr(b"nonce"), "a tagged byte string"),
    ):
        yield field(f"nonce-{name}", ErrorCode.CBOR_TYPE, f"the nonce is {what}", "nonce", value)
    yield field("timestamp-bignum", ErrorCode.CBOR_TYPE, "the timestamp is a bignum", "timestamp",
                b"\xc2" + cbor.bstr(bytes.fromhex("019caa0e1000")))  # fmt: skip
    yield field(
        "deep", ErrorCode.CBOR_DEPTH, "an unknown field of 200 nested arrays", "unknown", b"\x81" * 200 + b"\x00"
    )
    yield field("deep-maps", ErrorCode.CBOR_DEPTH, "an unknown field of 200 nested maps", "unknown",
                b"\xa1\x00" * 200 + b"\x00")  # fmt: skip
    yield field("huge-array", ErrorCode.CBOR_TOO_MANY_ITEMS, "an array that claims 2**32 elements", "unknown",
                cbor.head(cbor.ARRAY, 1 << 32))  # fmt: skip
    yield field("huge-string", ErrorCode.CBOR_TRUNCATED, "a byte string that claims 2**63 bytes", "unknown",
                cbor.head(cbor.BYTES, 1 << 63))  # fmt: skip
    for name, text, what in (
        ("continuation", b"i-\x80", "a lone continuation byte"),
        ("overlong", b"i-\xc0\xaf", "an overlong form"),
        ("surrogate", b"i-\xed\xa0\x80", "a surrogate"),
    ):
        yield field(f"utf8-{name}", ErrorCode.CBOR_UTF8, f"a module id that is not UTF-8: {what}", "module_id",
                    cbor.head(cbor.TEXT, len(text)) + text)  # fmt: skip
