"""The development PKI has the shapes, lifetimes and nesting of the real one, and is the same for the same seed."""

import datetime as dt
import itertools
import stat
from pathlib import Path

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.twin.pki import LEAF_LIFETIME_S, ROOT_FILE, SEED_FILE, SEED_MIN_BYTES, DevPki, LeafChain
from tests.support.recordings import load_index

MODULE = "i-0123456789abcdef0-enc019b8596b1a9dad6"
NOW_MS = 1_767_472_867_402


def chain(pki: DevPki, now_ms: int = NOW_MS, module_id: str = MODULE, region: str = "eu-central-1") -> LeafChain:
    return pki.chain_for(module_id=module_id, region=region, now_ms=now_ms)


def certificates(leaf: LeafChain) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(der) for der in (*leaf.cabundle, leaf.certificate)]


def shape(certificate: x509.Certificate) -> dict[str, object]:
    """Everything about a certificate that does not depend on keys, names' values, or the time."""
    extensions = []
    for extension in certificate.extensions:
        value: object = type(extension.value)
        if isinstance(extension.value, x509.BasicConstraints | x509.KeyUsage):
            value = extension.value
        if isinstance(extension.value, x509.AuthorityKeyIdentifier):
            value = (extension.value.authority_cert_issuer, extension.value.authority_cert_serial_number)
        extensions.append((extension.oid, extension.critical, value))
    return {
        "version": certificate.version,
        "extensions": extensions,
        "subject": [(attribute.oid, attribute._type) for attribute in certificate.subject],
        "fixed names": [a.value for a in certificate.subject if a.oid != x509.NameOID.COMMON_NAME],
        "common name dots": str(certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value).count(
            "."
        ),
        "issuer": [(attribute.oid, attribute._type) for attribute in certificate.issuer],
        "algorithm": certificate.signature_algorithm_oid,
    }


@pytest.mark.parametrize(
    "entry",
    [e for e in load_index("attestations") if e["verdict"] == "accept" and e["timestamp_ms"] > 1_722_000_000_000]
    or [pytest.param(None, marks=pytest.mark.skip(reason="the recordings are not beside this checkout"))],
    ids=lambda e: e["file"] if e else "none",
)
def test_every_level_is_shaped_as_in_a_real_recording(entry: dict[str, object]) -> None:
    payload = cbor2.loads(cbor2.loads(entry["bytes"])[2])  # type: ignore[arg-type]
    real = [x509.load_der_x509_certificate(der) for der in (*payload["cabundle"], payload["certificate"])]
    region = str(entry["region"])
    ours = certificates(chain(DevPki(b"shape" * 8), int(str(entry["timestamp_ms"])), str(entry["module_id"]), region))
    for one, other in zip(real, ours, strict=True):
        assert shape(other) == shape(one)
    for one, other in zip(real[3:], ours[3:], strict=True):
        assert other.subject == one.subject
    leaf, real_leaf = ours[4], real[4]
    assert leaf.serial_number >> 64 == real_leaf.serial_number >> 64
    assert leaf.serial_number % 2**64 == int(leaf.not_valid_before_utc.timestamp()) + 3
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == (
        real_leaf.not_valid_after_utc - real_leaf.not_valid_before_utc
    )
    root, real_root = ours[0], real[0]
    assert (root.not_valid_before_utc, root.not_valid_after_utc) == (
        real_root.not_valid_before_utc,
        real_root.not_valid_after_utc,
    )
    assert max(map(len, (*payload["cabundle"], payload["certificate"]))) <= 815


def test_lifetimes_and_nesting_hold_at_any_time_of_the_grid() -> None:
    pki = DevPki(b"nesting!" * 4)
    hour_ms = 3600 * 1000
    for step in range(0, 24 * 41, 7):
        now_ms = NOW_MS + step * hour_ms
        leaf = chain(pki, now_ms)
        levels = certificates(leaf)
        for parent, child in itertools.pairwise(levels):
            child.verify_directly_issued_by(parent)
            assert parent.not_valid_before_utc <= child.not_valid_before_utc
            assert child.not_valid_after_utc <= parent.not_valid_after_utc
        lifetimes = [c.not_valid_after_utc - c.not_valid_before_utc for c in levels[1:]]
        assert lifetimes == [
            dt.timedelta(days=20, hours=1),
            dt.timedelta(days=5, hours=18),
            dt.timedelta(days=1),
            dt.timedelta(seconds=LEAF_LIFETIME_S),
        ]
        assert leaf.not_before_ms == now_ms // 1000 * 1000 - 3000
        assert leaf.not_after_ms - leaf.not_before_ms == LEAF_LIFETIME_S * 1000


@pytest.mark.parametrize("now_ms", [1_577_836_800_000, 2_514_764_800_999])
def test_the_chain_nests_at_the_first_and_last_moment_of_use(now_ms: int) -> None:
    levels = certificates(chain(DevPki(b"edges" * 8), now_ms))
    for parent, child in itertools.pairwise(levels):
        assert parent.not_valid_before_utc <= child.not_valid_before_utc
        assert child.not_valid_after_utc <= parent.not_valid_after_utc


@pytest.mark.parametrize("now_ms", [1_577_836_799_999, 2_514_764_801_000, -1])
def test_a_clock_outside_of_the_root_is_refused(now_ms: int) -> None:
    with pytest.raises(UsageError) as caught:
        chain(DevPki(b"edges" * 8), now_ms)
    assert caught.value.code is ErrorCode.USAGE_TIME


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    one, same, other = (chain(DevPki(seed)) for seed in (b"a" * 48, b"a" * 48, b"b" * 48))
    assert (one.certificate, one.cabundle) == (same.certificate, same.cabundle)
    assert one.key.private_numbers() == same.key.private_numbers()
    assert not {one.certificate, *one.cabundle} & {other.certificate, *other.cabundle}
    assert DevPki.ephemeral().root_fingerprint != DevPki.ephemeral().root_fingerprint


def test_what_was_asked_before_changes_nothing() -> None:
    worn, fresh = DevPki(b"order" * 8), DevPki(b"order" * 8)
    for number in range(80):  # more than the cache of authorities holds
        chain(worn, module_id=f"i-{number:017x}-enc019b8596b1a9dad6")
    assert chain(worn).certificate == chain(fresh).certificate
    assert chain(worn).cabundle == chain(fresh).cabundle


def test_every_key_is_on_p384_and_used_once() -> None:
    keys = [c.public_key() for c in certificates(chain(DevPki(b"keys" * 8)))]
    points = set()
    for key in keys:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP384R1)
        points.add(key.public_numbers())
    assert len(points) == 5


def test_seed_bound() -> None:
    assert DevPki(bytes(SEED_MIN_BYTES)).root_der
    with pytest.raises(UsageError) as caught:
        DevPki(bytes(SEED_MIN_BYTES - 1))
    assert caught.value.code is ErrorCode.USAGE_NSM


@pytest.mark.parametrize(
    ("module_id", "region"),
    [
        ("i-0123456789abcdef0", "eu-central-1"),
        (MODULE + "0", "eu-central-1"),
        (MODULE.upper(), "eu-central-1"),
        (MODULE, "eu"),
        (MODULE, "eu-central-1.aws"),
        (MODULE, "eu-" + "a" * 16 + "-1"),
        (MODULE, "eu-central-1\n"),
    ],
)
def test_names_of_another_shape_are_refused(module_id: str, region: str) -> None:
    with pytest.raises(UsageError) as caught:
        chain(DevPki(b"names" * 8), module_id=module_id, region=region)
    assert caught.value.code is ErrorCode.USAGE_NSM


def test_the_longest_region_fits() -> None:
    region = "eu-" + "a" * 15 + "-1"
    assert len(region) == 20
    assert chain(DevPki(b"names" * 8), region=region).certificate


def test_saving_and_loading_gives_the_same_pki(tmp_path: Path) -> None:
    pki = DevPki.ephemeral()
    pki.save(tmp_path / "pki")
    pki.save(tmp_path / "pki")
    loaded = DevPki.load(tmp_path / "pki")
    assert loaded.root_fingerprint == pki.root_fingerprint
    assert chain(loaded).certificate == chain(pki).certificate
    assert stat.S_IMODE((tmp_path / "pki" / SEED_FILE).stat().st_mode) == 0o600
    root = x509.load_pem_x509_certificate((tmp_path / "pki" / ROOT_FILE).read_bytes())
    assert root.fingerprint(hashes.SHA256()) == pki.root_fingerprint


def test_saving_closes_a_seed_file_that_others_could_read(tmp_path: Path) -> None:
    (tmp_path / SEED_FILE).write_text("old")
    (tmp_path / SEED_FILE).chmod(0o644)
    DevPki.ephemeral().save(tmp_path)
    assert stat.S_IMODE((tmp_path / SEED_FILE).stat().st_mode) == 0o600


def test_saving_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / SEED_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError) as caught:
        DevPki.ephemeral().save(tmp_path)
    assert caught.value.code is ErrorCode.USAGE_FILE
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("broken", ["missing", "not hex", "short", "foreign root"])
def test_loading_refuses_what_was_not_saved(tmp_path: Path, broken: str) -> None:
    DevPki.ephemeral().save(tmp_path)
    if broken == "missing":
        (tmp_path / ROOT_FILE).unlink()
    elif broken == "not hex":
        (tmp_path / SEED_FILE).write_text("zz" * 48)
    elif broken == "short":
        (tmp_path / SEED_FILE).write_text("00")
    else:
        (tmp_path / ROOT_FILE).write_bytes(DevPki.ephemeral().root_pem())
    with pytest.raises(UsageError) as caught:
        DevPki.load(tmp_path)
    assert caught.value.code is ErrorCode.USAGE_FILE
