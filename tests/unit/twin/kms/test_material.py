import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed448, rsa

from pcrgate.twin.kms.ciphertext import Ciphertext
from pcrgate.twin.kms.key_specs import KEY_SPECS
from pcrgate.twin.kms.key_use import Opened
from pcrgate.twin.kms.material import (
    Secret,
    is_of_spec,
    load_private_key,
    make_private_key,
    make_secret,
    material_id,
    public_key_der,
)
from pcrgate.twin.kms.randomness import (
    SEED_MAX_BYTES,
    SeededRandomness,
    SystemRandomness,
    integer_below,
    uuid_text,
)
from tests.unit.twin.kms.kit import Twin

REPEATED = ("SYMMETRIC_DEFAULT", "HMAC_384", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519")


@pytest.mark.parametrize("name", REPEATED)
def test_a_seed_repeats_a_key_and_the_system_does_not(name: str) -> None:
    spec = KEY_SPECS[name]
    first, second = (make_secret(spec, SeededRandomness(b"seed")) for _ in range(2))
    assert first == second != make_secret(spec, SeededRandomness(b"other"))
    assert make_secret(spec, SystemRandomness()) != make_secret(spec, SystemRandomness())
    assert is_of_spec(first, spec)


def test_a_seed_repeats_an_rsa_key() -> None:
    spec = KEY_SPECS["RSA_2048"]
    first, second = (make_private_key(spec, SeededRandomness(b"seed")) for _ in range(2))
    assert isinstance(first, rsa.RSAPrivateKey)
    assert public_key_der(first) == public_key_der(second)
    numbers = first.private_numbers()
    assert first.key_size == 2048
    assert numbers.public_numbers.e == 65537
    for prime in (numbers.p, numbers.q):
        assert prime.bit_length() == 1024
        assert pow(3, prime - 1, prime) == 1
    assert is_of_spec(make_secret(spec, SystemRandomness()), spec)


def test_a_seed_repeats_a_whole_twin() -> None:
    def answers() -> list[object]:
        twin = Twin(seed=b"seed")
        arn = twin.key()
        made = twin.call("GenerateDataKey", KeyId=arn, KeySpec="AES_256", EncryptionContext={"a": "b"})
        return [arn, made, twin.key(MultiRegion=True), twin.call("GenerateRandom", NumberOfBytes=9)]

    assert answers() == answers()


def test_randomness() -> None:
    seeded = SeededRandomness(b"seed")
    assert seeded.repeats
    assert not SystemRandomness().repeats
    assert seeded.read(5) != seeded.read(5)
    assert len(seeded.read(0)) == 0
    for bad in (b"", bytes(SEED_MAX_BYTES + 1)):
        with pytest.raises(ValueError, match="1024"):
            SeededRandomness(bad)
    SeededRandomness(bytes(SEED_MAX_BYTES))
    assert {integer_below(seeded, 3) for _ in range(200)} == {0, 1, 2}
    assert uuid_text(seeded)[14] == "4"


def test_material_ids_name_the_material_of_one_key() -> None:
    one = material_id("key", Secret(b"a"))
    assert len(one) == 64
    assert one == material_id("key", Secret(b"a"))
    assert one not in {material_id("key", Secret(b"b")), material_id("ke", Secret(b"ya"))}


def test_no_repr_shows_a_secret() -> None:
    secret = Secret(b"visible")
    assert repr(secret) == "Secret(7 bytes)"
    assert "visible" not in repr(Opened(plaintext=b"visible", material_id=None))
    twin = Twin()
    arn = twin.key()
    record = twin.service._resources.keyring.require(arn)
    assert record.current is not None
    stored = record.current.secret
    assert stored is not None
    assert repr(stored.reveal)[2:-1] not in repr(record)
    assert stored.reveal.hex() not in repr(record)


def test_material_that_is_none() -> None:
    ed448_der = ed448.Ed448PrivateKey.generate().private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    encrypted = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    for der in (b"", b"garbage", ed448_der, encrypted):
        with pytest.raises(ValueError):
            load_private_key(Secret(der))
        assert not is_of_spec(Secret(der), KEY_SPECS["RSA_2048"])
    with pytest.raises(ValueError, match="no key pair"):
        make_private_key(KEY_SPECS["HMAC_256"], SystemRandomness())


def test_the_header_has_room_for_forty_characters() -> None:
    parts = Ciphertext(key_id="x" * 40, material_id="00" * 32, iv=bytes(12), body=b"")
    assert len(parts.header) == 4 + 40 + 32
