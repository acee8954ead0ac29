"""Cases of certificates that are right DER but do not make a trusted chain."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cryptography.hazmat.primitives import hashes

from pcrgate.attestation.anchors import AWS_COMMERCIAL_G1, AWS_GOVCLOUD
from pcrgate.errors import ErrorCode
from tests.vectors_evidence import der_writer as der
from tests.vectors_evidence.case import reject
from tests.vectors_evidence.certificate_forge import (
    ECDSA_SHA256,
    ECDSA_SHA384,
    INSTANCE,
    LEAF,
    LEVEL_NAMES,
    REGIONAL,
    ROOT,
    SIGNERS,
    ZONAL,
    Edit,
    Forged,
    authority_id,
    changed,
    forge_chain,
    level_key,
    level_spec,
    put,
    sign_certificate,
    signed_by,
    subject_id,
)
from tests.vectors_evidence.document_forge import forge_document
from tests.vectors_evidence.keys import key, p256_key, point, sign_der, spki
from tests.vectors_evidence.vector import Vector

RSA_KEY = der.sequence(
    der.sequence(der.oid("1.2.840.113549.1.1.1"), der.tlv(der.NULL)),
    der.bits(der.sequence(der.unsigned((1 << 2047) | 0xDEADBEEF | 1), der.unsigned(65_537))),
)
RSA_SHA384 = der.sequence(der.oid("1.2.840.113549.1.1.12"), der.tlv(der.NULL))
EC_P384 = der.sequence(der.oid("1.2.840.10045.2.1"), der.oid("1.3.132.0.34"))


def vectors() -> Iterator[Vector]:
    yield from _anchors()
    yield from _order()
    yield from _versions_and_algorithms()
    yield from _keys()
    yield from _signatures()


def _chained(name: str, code: ErrorCode, what: str, ders: Sequence[bytes], leaf: Forged | None = None) -> Vector:
    """A document with these certificates, leaf last; by default signed by the usual leaf key."""
    chain = Forged(ders=tuple(ders), leaf_key=(leaf or forge_chain()).leaf_key)
    return reject(f"chain-{name}", code, forge_document(chain), what)


def _edited(name: str, code: ErrorCode, what: str, edits: dict[int, Edit]) -> Vector:
    return reject(f"chain-{name}", code, forge_document(forge_chain(edits)), what)


def _anchors() -> Iterator[Vector]:
    code = ErrorCode.ROOT_UNPINNED
    root, regional, zonal, instance, leaf = forge_chain().ders
    other_root = key("other root")

    def other_sign(tbs: bytes) -> bytes:
        return sign_der(other_root, tbs)

    spec = replace(level_spec(ROOT), public_key_info=spki(other_root)).with_extension(subject_id(other_root))
    regional_spec = level_spec(REGIONAL).with_extension(authority_id(other_root))
    forged_root = sign_certificate(spec, other_sign)
    forged_regional = sign_certificate(regional_spec, other_sign)
    yield _chained("root-of-the-same-name", code, "a whole chain under another root of the same name",
                   (forged_root, forged_regional, zonal, instance, leaf))  # fmt: skip
    for name, pinned in (("aws", AWS_COMMERCIAL_G1), ("govcloud", AWS_GOVCLOUD)):
        yield reject(f"chain-development-root-{name}", code, forge_document(), f"only the root of {name} is pinned",
                     roots=(pinned.hex(),))  # fmt: skip
    mirrored = sign_certificate(level_spec(ROOT), lambda tbs: sign_der(level_key(ROOT), tbs, mirrored=True))
    yield _chained("root-signed-again", code, "the root with its signature mirrored, valid as well",
                   (mirrored, regional, zonal, instance, leaf))  # fmt: skip
    renewed = sign_certificate(replace(level_spec(ROOT), serial=der.unsigned(2)), SIGNERS[ROOT])
    yield _chained("root-renewed", code, "the root's key under another serial number",
                   (renewed, regional, zonal, instance, leaf))  # fmt: skip
    yield _chained("root-missing", code, "no root in the bundle", (regional, zonal, instance, leaf))
    yield _chained("reversed", code, "the bundle in reverse order", (instance, zonal, regional, root, leaf))
    yield _chained("root-last", code, "the root at the end of the bundle", (regional, zonal, instance, root, leaf))
    yield _chained("leaf-only", code, "the leaf alone in the bundle", (leaf, leaf))
    signed_itself = sign_certificate(
        replace(level_spec(LEAF), issuer=level_spec(LEAF).subject), signed_by(level_key(LEAF))
    )
    yield _chained(
        "leaf-signed-itself", code, "a leaf that signed itself, as its own root", (signed_itself, signed_itself)
    )


def _order() -> Iterator[Vector]:
    code = ErrorCode.CERTIFICATE_ISSUER
    root, regional, zonal, instance, leaf = forge_chain().ders
    for level, name in ((REGIONAL, "regional"), (ZONAL, "zonal"), (INSTANCE, "instance")):
        left = [one for number, one in enumerate((root, regional, zonal, instance, leaf)) if number != level]
        yield _chained(f"{name}-missing", code, f"no {name} certificate", left)
    yield _chained("root-only", code, "only the root in the bundle", (root, leaf))
    yield _chained("swapped", code, "regional and zonal certificate swapped", (root, zonal, regional, instance, leaf))
    yield _chained(
        "swapped-low", code, "zonal and instance certificate swapped", (root, regional, instance, zonal, leaf)
    )
    stranger = sign_certificate(
        replace(level_spec(REGIONAL), subject=der.name((der.COMMON_NAME, "00.eu-west-1.aws.nitro-enclaves"))),
        SIGNERS[REGIONAL],
    )
    yield _chained("extra-last", code, "an unrelated certificate of the same root at the end",
                   (root, regional, zonal, instance, stranger, leaf))  # fmt: skip
    yield _chained("extra-second", code, "an unrelated certificate of the same root after the root",
                   (root, stranger, regional, zonal, instance, leaf))  # fmt: skip
    repeated = ErrorCode.CERTIFICATE_REPEATED
    yield _chained(
        "repeated", repeated, "the regional certificate twice", (root, regional, regional, zonal, instance, leaf)
    )
    yield _chained("root-repeated", repeated, "the root twice", (root, root, regional, zonal, instance, leaf))
    yield _chained(
        "leaf-in-bundle", repeated, "the leaf at the end of the bundle", (root, regional, zonal, instance, leaf, leaf)
    )
    one, other = level_spec(REGIONAL), level_spec(ZONAL)
    loop = sign_certificate(replace(one, issuer=other.subject), SIGNERS[INSTANCE])
    yield _chained("loop", code, "two authorities that name each other as issuer", (root, loop, zonal, instance, leaf))
    yield _edited("leaf-issuer-other", code, "a leaf that names the zonal certificate as issuer",
                  {LEAF: changed(issuer=level_spec(ZONAL).subject)})  # fmt: skip
    names = {der.COUNTRY: "US", der.ORGANIZATION: "Amazon", der.UNIT: "AWS"}
    printable = der.sequence(
        *(
            der.tlv(der.SET, der.sequence(der.oid(kind), der.tlv(der.PRINTABLE_STRING, text.encode())))
            for kind, text in (*names.items(), (der.COMMON_NAME, "aws.nitro-enclaves"))
        )
    )
    yield _edited("issuer-encoded-otherwise", code, "the issuer's name in another string type",
                  {REGIONAL: changed(issuer=printable)})  # fmt: skip
    for level in (REGIONAL, ZONAL, INSTANCE):
        stray = authority_id(key("stranger"))
        yield _edited(f"{LEVEL_NAMES[level]}-key-id", ErrorCode.CERTIFICATE_KEY_ID, "another's authority key identifier",
                      {level: put(stray)})  # fmt: skip
    yield _edited("subject-key-id", ErrorCode.CERTIFICATE_KEY_ID, "another subject key identifier on the issuer",
                  {ZONAL: put(subject_id(key("stranger")))})  # fmt: skip


def _versions_and_algorithms() -> Iterator[Vector]:
    version = ErrorCode.CERTIFICATE_VERSION
    yield _edited("version-1", version, "an X.509 v1 leaf", {LEAF: changed(version=b"", extensions=())})
    yield _edited("version-1-extended", version, "a v1 leaf with extensions", {LEAF: changed(version=b"")})
    for number in (1, 3):
        wrong = der.tlv(0xA0, der.unsigned(number))
        yield _edited(f"version-{number + 1}", version, f"X.509 v{number + 1}",
                      {ZONAL: changed(version=wrong)})  # fmt: skip
    code = ErrorCode.CERTIFICATE_ALGORITHM
    for level, signer in ((LEAF, INSTANCE), (REGIONAL, ROOT)):
        edit: Edit = changed(inner_algorithm=ECDSA_SHA256, outer_algorithm=ECDSA_SHA256)
        chain = forge_chain({level: edit}, signers={level: signed_by(level_key(signer), hashes.SHA256)})
        yield reject(f"chain-{LEVEL_NAMES[level]}-sha256", code, forge_document(chain), "a link signed over SHA-256")
    yield _edited("algorithms-differ", code, "ecdsa-with-SHA256 outside, SHA384 inside",
                  {LEAF: changed(outer_algorithm=ECDSA_SHA256)})  # fmt: skip
    yield _edited("algorithms-differ-inside", code, "ecdsa-with-SHA256 inside, SHA384 outside",
                  {LEAF: changed(inner_algorithm=ECDSA_SHA256)})  # fmt: skip
    with_null = der.sequence(ECDSA_SHA384[2:], der.tlv(der.NULL))
    yield _edited("algorithm-parameters", code, "parameters NULL beside the algorithm",
                  {LEAF: changed(inner_algorithm=with_null, outer_algorithm=with_null)})  # fmt: skip
    edit = changed(inner_algorithm=RSA_SHA384, outer_algorithm=RSA_SHA384)
    chain = forge_chain({INSTANCE: edit}, signers={INSTANCE: lambda _: bytes(256)})
    yield reject("chain-rsa-signature", code, forge_document(chain), "a link that claims an RSA signature")


def _keys() -> Iterator[Vector]:
    code = ErrorCode.CERTIFICATE_KEY
    leaf = level_key(LEAF)
    off_curve = bytearray(point(leaf))
    off_curve[-1] ^= 1
    hybrid = bytes([6 | point(leaf)[-1] & 1]) + point(leaf)[1:]
    for name, info, what in (
        ("p256", spki(p256_key("leaf")), "a P-256 key"),
        ("rsa", RSA_KEY, "an RSA key"),
        ("compressed", der.sequence(EC_P384, der.bits(point(leaf, compressed=True))), "a compressed point"),
        ("hybrid", der.sequence(EC_P384, der.bits(hybrid)), "a hybrid point"),
        ("off-curve", der.sequence(EC_P384, der.bits(bytes(off_curve))), "a point that is not on the curve"),
        ("infinity", der.sequence(EC_P384, der.bits(b"\x00")), "the point at infinity"),
        ("beyond-field", der.sequence(EC_P384, der.bits(b"\x04" + b"\xff" * 96)), "coordinates beyond the field"),
        ("no-curve", der.sequence(der.sequence(der.oid("1.2.840.10045.2.1")), der.bits(point(leaf))), "no curve named"),
    ):
        yield _edited(f"leaf-key-{name}", code, f"a leaf with {what}",
                      {LEAF: changed(public_key_info=info)})  # fmt: skip
    yield _edited("instance-key-p256", code, "an instance certificate with a P-256 key",
                  {INSTANCE: changed(public_key_info=spki(p256_key("instance")))})  # fmt: skip
    yield _edited("regional-key-rsa", code, "a regional certificate with an RSA key",
                  {REGIONAL: changed(public_key_info=RSA_KEY)})  # fmt: skip


def _signatures() -> Iterator[Vector]:
    code = ErrorCode.CERTIFICATE_SIGNATURE
    for level in (REGIONAL, ZONAL, INSTANCE, LEAF):
        name = LEVEL_NAMES[level]
        chain = forge_chain(signers={level: signed_by(key("stranger"))})
        yield reject(
            f"chain-{name}-signed-by-stranger", code, forge_document(chain), f"a {name} certificate of a stranger"
        )
    chain = forge_chain(signers={LEAF: signed_by(level_key(LEAF))})
    yield reject("chain-leaf-signed-by-itself", code, forge_document(chain), "a leaf signed with its own key")
    chain = forge_chain(signers={LEAF: signed_by(level_key(ZONAL))})
    yield reject("chain-leaf-signed-by-zonal", code, forge_document(chain), "a leaf signed one level too high")
    chain = forge_chain(signers={LEAF: lambda tbs: sign_der(level_key(INSTANCE), tbs[:-1] + b"\x00")})
    yield reject("chain-leaf-changed", code, forge_document(chain), "a leaf changed after it was signed")
    chain = forge_chain(signers={INSTANCE: lambda _: der.sequence(der.unsigned(1), der.unsigned(1))})
    yield reject("chain-signature-one-one", code, forge_document(chain), "a certificate whose r and s are 1")
    chain = forge_chain(signers={INSTANCE: lambda _: der.sequence(der.unsigned(0), der.unsigned(0))})
    yield reject("chain-signature-zero", code, forge_document(chain), "a certificate whose r and s are 0")
    other_key = forge_chain({INSTANCE: changed(public_key_info=spki(key("stranger")))})
    yield reject(
        "chain-instance-key-exchanged", code, forge_document(other_key), "an instance with another key above a leaf"
    )
