"""Cases of certificates that may not do what they are used for, or speak of another place or time."""

from collections.abc import Iterator
from dataclasses import replace

from pcrgate.errors import ErrorCode
from tests.vectors_evidence import der_writer as der
from tests.vectors_evidence.case import reject
from tests.vectors_evidence.certificate_forge import (
    BASIC_CONSTRAINTS,
    INSTANCE,
    KEY_USAGE,
    LEAF,
    LEVEL_NAMES,
    MODULE_ID,
    NOW_MS,
    NOW_S,
    REGIONAL,
    ROOT,
    TIMESTAMP_MS,
    WINDOWS,
    ZONAL,
    CertificateSpec,
    Edit,
    Extension,
    Forged,
    append,
    authority_id,
    changed,
    constraints,
    crl_points,
    forge_chain,
    level_key,
    level_spec,
    put,
    sign_certificate,
    signed_by,
    subject_id,
    usage,
)
from tests.vectors_evidence.document_forge import forge_document
from tests.vectors_evidence.keys import key, spki
from tests.vectors_evidence.vector import Vector

AUTHORITIES = (REGIONAL, ZONAL, INSTANCE)


def vectors() -> Iterator[Vector]:
    yield from _authorities()
    yield from _roots()
    yield from _leaves()
    yield from _extensions()
    yield from _names()
    yield from _whole_chain_names()
    yield from _validity()
    yield from _revocations()


def _edited(name: str, code: ErrorCode, what: str, edits: dict[int, Edit]) -> Vector:
    return reject(name, code, forge_document(forge_chain(edits)), what)


def _authorities() -> Iterator[Vector]:
    lengths = {REGIONAL: 2, ZONAL: 1, INSTANCE: 0}
    for level in AUTHORITIES:
        name, length = LEVEL_NAMES[level], lengths[level]
        not_critical = constraints(ca=True, path_length=length, critical=False)
        yield _edited(f"ca-{name}-constraints-missing", ErrorCode.CERTIFICATE_CA, f"a {name} certificate without BasicConstraints",
                      {level: lambda c: c.without(BASIC_CONSTRAINTS)})  # fmt: skip
        yield _edited(f"ca-{name}-false", ErrorCode.CERTIFICATE_CA, f"a {name} certificate that is no CA",
                      {level: put(constraints(ca=False))})  # fmt: skip
        yield _edited(f"ca-{name}-constraints-not-critical", ErrorCode.CERTIFICATE_CA, f"a {name} certificate whose "
                      "BasicConstraints are not critical",
                      {level: put(not_critical)})  # fmt: skip
        yield _edited(f"ca-{name}-usage-missing", ErrorCode.CERTIFICATE_KEY_USAGE, f"a {name} certificate without KeyUsage",
                      {level: lambda c: c.without(KEY_USAGE)})  # fmt: skip
        yield _edited(f"ca-{name}-no-cert-sign", ErrorCode.CERTIFICATE_KEY_USAGE, f"a {name} certificate without keyCertSign",
                      {level: put(usage(0, 6, critical=True))})  # fmt: skip
    for level, length in ((REGIONAL, 1), (REGIONAL, 0), (ZONAL, 0)):
        tight = constraints(ca=True, path_length=length)
        yield _edited(f"ca-{LEVEL_NAMES[level]}-path-length-{length}", ErrorCode.CERTIFICATE_PATH_LENGTH,
                      f"path length {length} on the {LEVEL_NAMES[level]} certificate", {level: put(tight)})  # fmt: skip
    sub, sub_name = key("sub"), level_spec(INSTANCE).subject
    below = replace(level_spec(INSTANCE), issuer=sub_name, public_key_info=spki(sub), serial=der.unsigned(77))
    below = below.with_extension(subject_id(sub)).with_extension(authority_id(level_key(INSTANCE)))
    lower = sign_certificate(below, signed_by(level_key(INSTANCE)))
    leaf = sign_certificate(level_spec(LEAF), signed_by(sub))
    yield reject("ca-below-instance", ErrorCode.CERTIFICATE_PATH_LENGTH,
                 forge_document(Forged(ders=(*forge_chain().ders[:4], lower, leaf), leaf_key=level_key(LEAF))),
                 "another CA below the instance certificate")  # fmt: skip
    lower_leaf = replace(
        level_spec(LEAF), issuer=level_spec(LEAF).subject, serial=der.unsigned(78), public_key_info=spki(sub)
    )
    signed = sign_certificate(lower_leaf, signed_by(level_key(LEAF)))
    yield reject("ca-leaf-as-issuer", ErrorCode.CERTIFICATE_CA,
                 forge_document(Forged(ders=(*forge_chain().ders, signed), leaf_key=sub)),
                 "a leaf that signed another leaf")  # fmt: skip


def _roots() -> Iterator[Vector]:
    """A pinned root is held to the same rules as the authorities below it."""
    for name, code, edit, what in (
        (
            "constraints-missing",
            ErrorCode.CERTIFICATE_CA,
            lambda c: c.without(BASIC_CONSTRAINTS),
            "no BasicConstraints",
        ),
        ("false", ErrorCode.CERTIFICATE_CA, put(constraints(ca=False)), "BasicConstraints that say no CA"),
        ("usage-missing", ErrorCode.CERTIFICATE_KEY_USAGE, lambda c: c.without(KEY_USAGE), "no KeyUsage"),
        ("no-cert-sign", ErrorCode.CERTIFICATE_KEY_USAGE, put(usage(0, 6, critical=True)), "no keyCertSign"),
        ("path-length-2", ErrorCode.CERTIFICATE_PATH_LENGTH, put(constraints(ca=True, path_length=2)), "path length 2"),
        ("expired", ErrorCode.CERTIFICATE_EXPIRED, lambda c: c.valid(not_after_s=NOW_S - 1), "an end one second ago"),
        (
            "early",
            ErrorCode.CERTIFICATE_NOT_YET_VALID,
            lambda c: c.valid(not_before_s=NOW_S + 61),
            "a start after the skew",
        ),
    ):
        chain = forge_chain({ROOT: edit})
        yield reject(f"root-{name}", code, forge_document(chain), f"a pinned root with {what}",
                     roots=(chain.root_fingerprint.hex(),))  # fmt: skip


def _leaves() -> Iterator[Vector]:
    code = ErrorCode.CERTIFICATE_LEAF_CA
    yield _edited("leaf-is-ca", code, "a leaf that is a CA", {LEAF: put(constraints(ca=True))})
    yield _edited("leaf-constraints-missing", code, "a leaf without BasicConstraints",
                  {LEAF: lambda c: c.without(BASIC_CONSTRAINTS)})  # fmt: skip
    root, regional, zonal, instance, _ = forge_chain().ders
    chain = Forged(ders=(root, regional, zonal, instance), leaf_key=level_key(INSTANCE))
    yield reject("leaf-is-instance-certificate", code, forge_document(chain), "the instance certificate used as leaf")
    path_length = Extension(kind=BASIC_CONSTRAINTS, value=der.sequence(der.unsigned(0)), critical=True)
    yield _edited("leaf-path-length", ErrorCode.CERTIFICATE_PATH_LENGTH, "a leaf with a path length",
                  {LEAF: put(path_length)})  # fmt: skip
    usage_code = ErrorCode.CERTIFICATE_KEY_USAGE
    yield _edited("leaf-usage-missing", usage_code, "a leaf without KeyUsage", {LEAF: lambda c: c.without(KEY_USAGE)})
    for name, bits in (("non-repudiation-only", (1,)), ("cert-sign-only", (5,)), ("nothing", ())):
        extension = usage(*bits, critical=False)
        yield _edited(f"leaf-usage-{name}", usage_code, f"a leaf whose key usage is {name}",
                      {LEAF: put(extension)})  # fmt: skip


def _extensions() -> Iterator[Vector]:
    code = ErrorCode.CERTIFICATE_EXTENSION
    unknown = Extension(kind="1.3.6.1.4.1.99999.1", value=der.tlv(der.NULL), critical=True)
    for level in (*AUTHORITIES, LEAF):
        yield _edited(f"extension-{LEVEL_NAMES[level]}-unknown-critical", code, "an unknown critical extension",
                      {level: append(unknown)})  # fmt: skip
    names = Extension(kind="2.5.29.30", value=der.sequence(), critical=True)
    yield _edited("extension-name-constraints-critical", code, "critical name constraints, which nobody here reads",
                  {ZONAL: append(names)})  # fmt: skip
    crl = replace(crl_points("http://crl.example.invalid/x.crl"), critical=True)
    yield _edited("extension-crl-points-critical", code, "critical CRL distribution points, which nobody here reads",
                  {REGIONAL: put(crl)})  # fmt: skip
    doubled = lambda c: replace(c, extensions=(*c.extensions, c.extensions[-1]))  # noqa: E731
    yield _edited("extension-leaf-twice", code, "the leaf's KeyUsage twice", {LEAF: doubled})
    more = append(constraints(ca=True))
    yield _edited(
        "extension-constraints-twice", code, "a leaf with a second BasicConstraints that says CA", {LEAF: more}
    )


def _renamed(level: int, **names: str) -> Edit:
    def edit(spec: CertificateSpec) -> CertificateSpec:
        told = {"module_id": MODULE_ID, "region": "eu-central-1", **names}
        return replace(spec, subject=level_spec(level, **told).subject)

    return edit


def _issued_by(level: int, **names: str) -> Edit:
    def edit(spec: CertificateSpec) -> CertificateSpec:
        told = {"module_id": MODULE_ID, "region": "eu-central-1", **names}
        return replace(spec, issuer=level_spec(level, **told).subject)

    return edit


def _names() -> Iterator[Vector]:
    code = ErrorCode.NAMES_MISMATCH
    other_module, other_instance = MODULE_ID[:-1] + "f", "i-0fedcba9876543210" + MODULE_ID[19:]
    yield reject("names-other-enclave", code, forge_document(module_id=other_module), "a leaf of another enclave")
    yield reject("names-other-instance-and-enclave", code, forge_document(module_id=other_instance),
                 "the chain of another instance")  # fmt: skip
    yield _edited("names-leaf-region", code, "a leaf of another Region", {LEAF: _renamed(LEAF, region="eu-west-1")})
    yield _edited(
        "names-leaf-partition", code, "a leaf of another partition", {LEAF: _renamed(LEAF, partition="aws-cn")}
    )

    def renamed(name: str, level: int, what: str, **names: str) -> Vector:
        return _edited(
            f"names-{name}", code, what, {level: _renamed(level, **names), level + 1: _issued_by(level, **names)}
        )

    yield renamed("instance", INSTANCE, "an instance certificate of another instance", module_id=other_instance)
    for level in AUTHORITIES:
        name = LEVEL_NAMES[level]
        yield renamed(f"{name}-region", level, f"a {name} certificate of another Region", region="eu-west-1")
        yield renamed(f"{name}-partition", level, f"a {name} certificate of another partition", partition="aws-cn")
    for name, level, common_name, what in (
        ("leaf-not-aws", LEAF, "localhost", "a leaf named otherwise"),
        ("leaf-without-module-id", LEAF, "eu-central-1.aws", "a leaf named by its Region alone"),
        ("leaf-without-partition", LEAF, f"{MODULE_ID}.eu-central-1", "a leaf without partition"),
        ("leaf-suffix", LEAF, f"{MODULE_ID}.eu-central-1.aws.example.com", "a leaf whose name goes on"),
        ("leaf-region-empty", LEAF, f"{MODULE_ID}..aws", "a leaf without Region"),
        ("leaf-upper-case", LEAF, f"{MODULE_ID}.EU-CENTRAL-1.aws", "a leaf with its Region in upper case"),
        (
            "zonal-without-hex",
            ZONAL,
            "zonal.eu-central-1.aws.nitro-enclaves",
            "a zonal certificate without its hex label",
        ),
        ("regional-without-domain", REGIONAL, "4c6f72656d206970", "a regional certificate named by its label alone"),
        ("zonal-without-domain", ZONAL, "73756d20646f6c6f.zonal", "a zonal certificate without its domain"),
        ("regional-dot-only", REGIONAL, "4c6f72656d206970.", "a regional certificate whose domain is a dot"),
        ("zonal-dot-only", ZONAL, "73756d20646f6c6f.zonal.", "a zonal certificate whose domain is a dot"),
        (
            "regional-called-zonal",
            REGIONAL,
            "4c6f.zonal.eu-central-1.aws.nitro-enclaves",
            "a zonal name one level too high",
        ),
        ("zonal-called-regional", ZONAL, "73756d.eu-central-1.aws.nitro-enclaves", "a regional name one level too low"),
        (
            "regional-not-hex",
            REGIONAL,
            "xyz.eu-central-1.aws.nitro-enclaves",
            "a regional certificate with another label",
        ),
    ):
        subject = der.name((der.COMMON_NAME, common_name))
        edits: dict[int, Edit] = {level: changed(subject=subject)}
        if level != LEAF:
            edits[level + 1] = changed(issuer=subject)
        yield _edited(f"names-{name}", code, what, edits)


def _whole_chain_names() -> Iterator[Vector]:
    code = ErrorCode.NAMES_MISMATCH
    abroad = forge_chain({LEAF: _renamed(LEAF, region="us-gov-west-1", partition="aws-cn")},
                         region="us-gov-west-1", partition="aws-us-gov")  # fmt: skip
    yield reject("names-leaf-third-partition", code, forge_document(abroad), "a leaf of neither the root's partition nor aws",
                 roots=(abroad.root_fingerprint.hex(),))  # fmt: skip
    moon = forge_chain(region="moon")
    yield reject("names-region-moon", code, forge_document(moon), "a whole chain of a Region that cannot be")
    named = der.name((der.COMMON_NAME, "nitro-enclaves.example"))
    other = forge_chain({ROOT: changed(subject=named, issuer=named), REGIONAL: changed(issuer=named)})
    yield reject("names-root", code, forge_document(other), "a pinned root of another name",
                 roots=(other.root_fingerprint.hex(),))  # fmt: skip


def _validity() -> Iterator[Vector]:
    expired, early = ErrorCode.CERTIFICATE_EXPIRED, ErrorCode.CERTIFICATE_NOT_YET_VALID
    for level in (*AUTHORITIES, LEAF):
        name = LEVEL_NAMES[level]
        ended: Edit = lambda c: c.valid(not_after_s=NOW_S - 1)  # noqa: E731
        begins: Edit = lambda c: c.valid(not_before_s=NOW_S + 61)  # noqa: E731
        begins_recorded: Edit = lambda c: c.valid(not_before_s=TIMESTAMP_MS // 1000 + 1)  # noqa: E731
        ended_recorded: Edit = lambda c: c.valid(not_after_s=TIMESTAMP_MS // 1000 - 1)  # noqa: E731
        yield _edited(
            f"validity-{name}-expired", expired, f"a {name} certificate that ended one second ago", {level: ended}
        )
        yield _edited(f"validity-{name}-early", early, f"a {name} certificate that begins one second after the skew",
                      {level: begins})  # fmt: skip
        for slug, code, edit in (("early", early, begins_recorded), ("expired", expired, ended_recorded)):
            document = forge_document(forge_chain({level: edit}))
            yield reject(f"validity-{name}-{slug}-recorded", code, document, "one second outside, at the document's own time",
                         time="recorded")  # fmt: skip
    outside = ErrorCode.TIMESTAMP_OUTSIDE_CHAIN
    for level in (INSTANCE, LEAF):
        late: Edit = lambda c: c.valid(not_before_s=NOW_S - 9)  # noqa: E731
        yield _edited(f"validity-{LEVEL_NAMES[level]}-after-document", outside, "a certificate that began one second after "
                      "the document's time", {level: late})  # fmt: skip
    ending = forge_chain({LEAF: lambda c: c.valid(not_after_s=NOW_S + 5)})
    yield reject("validity-leaf-before-document", outside, forge_document(ending, timestamp_ms=NOW_MS + 6000),
                 "a leaf that ends one second before the document's time, which is ahead of the clock")  # fmt: skip
    day = forge_document(timestamp_ms=TIMESTAMP_MS + 86_400_000)
    yield reject("validity-document-a-day-later", outside, day, "a timestamp a day later, signed again")
    yield reject("validity-document-a-day-later-recorded", expired, day, "a timestamp a day later, signed again, judged at "
                 "its own time", time="recorded")  # fmt: skip
    yield reject("validity-years-later", expired, forge_document(), "a right document, four years later",
                 now_ms=NOW_MS + 4 * 366 * 86_400_000)  # fmt: skip
    yield reject("validity-clock-before-chain", early, forge_document(), "a clock of 2020", now_ms=1_577_836_800_000)
    seconds = WINDOWS[LEAF][1] * 1000
    yield reject("validity-leaf-boundary-passed", expired, forge_document(timestamp_ms=seconds - 1000),
                 "the clock one second after the leaf's last", now_ms=seconds + 1000)  # fmt: skip


def _revocations() -> Iterator[Vector]:
    for level in (REGIONAL, INSTANCE, LEAF):
        spec = level_spec(level)
        serial = int.from_bytes(spec.serial[2:], "big")
        revoked = ({"issuer": spec.issuer.hex(), "serial": f"{serial:x}"},)
        yield reject(f"revoked-{LEVEL_NAMES[level]}", ErrorCode.CERTIFICATE_REVOKED, forge_document(),
                     f"the {LEVEL_NAMES[level]} certificate is on the revocation set", revocations=revoked)  # fmt: skip
