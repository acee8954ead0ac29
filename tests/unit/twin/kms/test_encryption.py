import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pcrgate.twin.kms.ciphertext import CIPHERTEXT_MAX_BYTES, KEY_ID_BYTES, MAGIC, OVERHEAD_BYTES
from pcrgate.twin.kms.service_errors import AwsCode, AwsError
from tests.unit.twin.kms.kit import ACCOUNT, OTHER_ACCOUNT, OTHER_REGION, Twin, flipped


def test_what_was_encrypted_decrypts_with_and_without_the_key_named() -> None:
    twin = Twin()
    arn = twin.key()
    sealed = twin.call("Encrypt", KeyId=arn, Plaintext=b"secret", EncryptionContext={"class": "weights"})
    assert sealed["KeyId"] == arn
    assert sealed["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
    material = twin.call("DescribeKey", KeyId=arn)["KeyMetadata"]["CurrentKeyMaterialId"]
    blob = sealed["CiphertextBlob"]
    for named in ({}, {"KeyId": arn}, {"KeyId": arn.split("/")[1]}):
        opened = twin.call("Decrypt", CiphertextBlob=blob, EncryptionContext={"class": "weights"}, **named)
        assert opened == {
            "KeyId": arn,
            "Plaintext": b"secret",
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "KeyMaterialId": material,
        }


def test_the_same_plaintext_never_gives_the_same_ciphertext() -> None:
    twin = Twin()
    arn = twin.key()
    assert twin.call("Encrypt", KeyId=arn, Plaintext=b"a") != twin.call("Encrypt", KeyId=arn, Plaintext=b"a")


@pytest.mark.parametrize(
    "context", [{}, {"a": "bc"}, {"ab": "c", "": ""}, {"ab": "C"}, {"AB": "c"}, {"ab": "c", "x": "y"}]
)
def test_another_context_is_an_invalid_ciphertext(context: dict[str, str]) -> None:
    twin = Twin()
    blob = twin.call("Encrypt", KeyId=twin.key(), Plaintext=b"a", EncryptionContext={"ab": "c"})["CiphertextBlob"]
    twin.refused(AwsCode.INVALID_CIPHERTEXT, "Decrypt", CiphertextBlob=blob, EncryptionContext=context)


def test_the_order_of_the_context_does_not_matter() -> None:
    twin = Twin()
    blob = twin.call("Encrypt", KeyId=twin.key(), Plaintext=b"a", EncryptionContext={"a": "1", "b": "2"})
    opened = twin.call("Decrypt", CiphertextBlob=blob["CiphertextBlob"], EncryptionContext={"b": "2", "a": "1"})
    assert opened["Plaintext"] == b"a"


def test_every_flipped_byte_is_refused() -> None:
    twin = Twin()
    arn = twin.key()
    blob = twin.call("Encrypt", KeyId=arn, Plaintext=b"abc")["CiphertextBlob"]
    for at in range(len(blob)):
        with pytest.raises(AwsError) as caught:
            twin.call("Decrypt", CiphertextBlob=flipped(blob, at), KeyId=arn)
        # A flipped id can still be an id, of a key that is not the one named.
        in_key_id = len(MAGIC) <= at < len(MAGIC) + KEY_ID_BYTES
        allowed = {AwsCode.INVALID_CIPHERTEXT, *([AwsCode.INCORRECT_KEY] if in_key_id else [])}
        assert caught.value.code in allowed, at


def test_a_key_that_is_not_the_ciphertexts_is_named() -> None:
    twin = Twin()
    first, second = twin.key(), twin.key()
    blob = twin.call("Encrypt", KeyId=first, Plaintext=b"a")["CiphertextBlob"]
    twin.refused(AwsCode.INCORRECT_KEY, "Decrypt", CiphertextBlob=blob, KeyId=second)
    twin.refused(AwsCode.INCORRECT_KEY, "ReEncrypt", CiphertextBlob=blob, SourceKeyId=second, DestinationKeyId=first)


def test_swapping_the_header_for_another_keys_does_not_open() -> None:
    twin = Twin()
    first, second = twin.key(), twin.key()
    blob = twin.call("Encrypt", KeyId=first, Plaintext=b"a")["CiphertextBlob"]
    other = twin.call("Encrypt", KeyId=second, Plaintext=b"a")["CiphertextBlob"]
    twin.refused(AwsCode.INVALID_CIPHERTEXT, "Decrypt", CiphertextBlob=other[:76] + blob[76:])


@pytest.mark.parametrize("length", [1, 4096])
def test_plaintext_up_to_the_bound(length: int) -> None:
    twin = Twin()
    blob = twin.call("Encrypt", KeyId=twin.key(), Plaintext=bytes(length))["CiphertextBlob"]
    assert len(blob) == length + OVERHEAD_BYTES
    assert twin.call("Decrypt", CiphertextBlob=blob)["Plaintext"] == bytes(length)


def test_plaintext_past_the_bounds() -> None:
    twin = Twin()
    arn = twin.key()
    assert "less than or equal to 4096" in twin.refused(AwsCode.VALIDATION, "Encrypt", KeyId=arn, Plaintext=bytes(4097))
    assert "at 'plaintext'" in twin.refused(AwsCode.VALIDATION, "Encrypt", KeyId=arn, Plaintext=b"")
    twin.refused(AwsCode.VALIDATION, "Decrypt", CiphertextBlob=bytes(CIPHERTEXT_MAX_BYTES + 1))


def test_garbage_and_missing_ciphertexts() -> None:
    twin = Twin()
    arn = twin.key()
    twin.refused(AwsCode.INVALID_CIPHERTEXT, "Decrypt", CiphertextBlob=b"garbage")
    twin.refused(AwsCode.INVALID_CIPHERTEXT, "Decrypt", CiphertextBlob=b"garbage", KeyId=arn)
    assert "ciphertextBlob" in twin.refused(AwsCode.VALIDATION, "Decrypt")


def test_a_ciphertext_of_another_region_names_no_key_here() -> None:
    twin = Twin()
    blob = twin.call("Encrypt", KeyId=twin.key(), Plaintext=b"a")["CiphertextBlob"]
    message = twin.refused(AwsCode.ACCESS_DENIED, "Decrypt", region=OTHER_REGION, CiphertextBlob=blob)
    assert "does not exist in this region" in message


def test_another_account_may_use_the_key_by_its_arn_and_by_the_ciphertext() -> None:
    twin = Twin()
    arn = twin.key()
    blob = twin.call("Encrypt", account=OTHER_ACCOUNT, KeyId=arn, Plaintext=b"a")["CiphertextBlob"]
    prepared = twin.prepare("Decrypt", account=OTHER_ACCOUNT, members={"CiphertextBlob": blob})
    assert prepared.key_arns == (arn,)
    assert prepared.checks[0].context["kms:CallerAccount"] == OTHER_ACCOUNT
    key = prepared.checks[0].key
    assert key is not None
    assert key.account == ACCOUNT
    twin.refused(AwsCode.NOT_FOUND, "Encrypt", account=OTHER_ACCOUNT, KeyId=arn.split("/")[1], Plaintext=b"a")
    twin.refused(AwsCode.ACCESS_DENIED, "DisableKey", account=OTHER_ACCOUNT, KeyId=arn)


def test_reencrypt_changes_key_and_context_and_asks_twice() -> None:
    twin = Twin()
    first, second = twin.key(), twin.key()
    blob = twin.call("Encrypt", KeyId=first, Plaintext=b"a", EncryptionContext={"old": "1"})["CiphertextBlob"]
    members = {
        "CiphertextBlob": blob,
        "SourceEncryptionContext": {"old": "1"},
        "DestinationKeyId": second,
        "DestinationEncryptionContext": {"new": "2"},
    }
    moved = twin.call("ReEncrypt", **members)
    assert (moved["SourceKeyId"], moved["KeyId"]) == (first, second)
    assert moved["SourceKeyMaterialId"] != moved["DestinationKeyMaterialId"]
    opened = twin.call("Decrypt", CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"new": "2"})
    assert opened["Plaintext"] == b"a"
    source, target = twin.checks("ReEncrypt", **members)
    assert (source.action, source.resource) == ("kms:ReEncryptFrom", first)
    assert (target.action, target.resource) == ("kms:ReEncryptTo", second)
    assert source.context["kms:EncryptionContext:old"] == "1"
    assert "kms:EncryptionContext:new" not in source.context
    assert target.context["kms:EncryptionContextKeys"] == ("new",)
    assert source.context["kms:ReEncryptOnSameKey"] == target.context["kms:ReEncryptOnSameKey"] == "false"
    same = twin.checks("ReEncrypt", **(members | {"DestinationKeyId": first}))
    assert same[0].context["kms:ReEncryptOnSameKey"] == "true"


@pytest.mark.parametrize("algorithm", ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"])
def test_rsa_keys_encrypt_with_their_own_algorithms(algorithm: str) -> None:
    twin = Twin()
    arn = twin.key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")
    limit = 214 if algorithm == "RSAES_OAEP_SHA_1" else 190
    blob = twin.call("Encrypt", KeyId=arn, Plaintext=bytes(limit), EncryptionAlgorithm=algorithm)["CiphertextBlob"]
    opened = twin.call("Decrypt", KeyId=arn, CiphertextBlob=blob, EncryptionAlgorithm=algorithm)
    assert opened == {"KeyId": arn, "Plaintext": bytes(limit), "EncryptionAlgorithm": algorithm}
    too_long = {"KeyId": arn, "Plaintext": bytes(limit + 1), "EncryptionAlgorithm": algorithm}
    assert str(limit) in twin.refused(AwsCode.VALIDATION, "Encrypt", **too_long)
    # The public half works outside KMS.
    public = serialization.load_der_public_key(twin.call("GetPublicKey", KeyId=arn)["PublicKey"])
    assert isinstance(public, rsa.RSAPublicKey)
    digest = hashes.SHA1() if algorithm.endswith("_1") else hashes.SHA256()  # noqa: S303 - what the API offers
    made = public.encrypt(b"outside", padding.OAEP(padding.MGF1(digest), digest, None))
    opened = twin.call("Decrypt", KeyId=arn, CiphertextBlob=made, EncryptionAlgorithm=algorithm)
    assert opened["Plaintext"] == b"outside"
    members = {"KeyId": arn, "EncryptionAlgorithm": algorithm}
    twin.refused(AwsCode.INVALID_CIPHERTEXT, "Decrypt", CiphertextBlob=flipped(blob, 9), **members)
    twin.refused(AwsCode.VALIDATION, "Decrypt", CiphertextBlob=blob, EncryptionContext={"a": "b"}, **members)
    twin.refused(AwsCode.VALIDATION, "Decrypt", CiphertextBlob=blob, EncryptionAlgorithm=algorithm)


def test_algorithms_of_another_key_spec_and_keys_of_another_usage() -> None:
    twin = Twin()
    symmetric = twin.key()
    signing = twin.key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    members = {"KeyId": symmetric, "Plaintext": b"a", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    twin.refused(AwsCode.INVALID_KEY_USAGE, "Encrypt", **members)
    assert "SIGN_VERIFY" in twin.refused(AwsCode.INVALID_KEY_USAGE, "Encrypt", KeyId=signing, Plaintext=b"a")


@pytest.mark.parametrize(
    "members",
    [{}, {"DryRunModifiers": ["IGNORE_CIPHERTEXT"], "CiphertextBlob": None}],
)
def test_dry_run_says_so_after_every_check(members: dict[str, object]) -> None:
    twin = Twin()
    arn = twin.key()
    blob = twin.call("Encrypt", KeyId=arn, Plaintext=b"a")["CiphertextBlob"]
    given = {name: value for name, value in ({"CiphertextBlob": blob} | members).items() if value is not None}
    twin.refused(AwsCode.DRY_RUN, "Decrypt", KeyId=arn, DryRun=True, **given)
    twin.call("DisableKey", KeyId=arn)
    twin.refused(AwsCode.DISABLED, "Decrypt", KeyId=arn, DryRun=True, **given)


def test_dry_run_of_the_other_operations() -> None:
    twin = Twin()
    arn = twin.key()
    blob = twin.call("Encrypt", KeyId=arn, Plaintext=b"a")["CiphertextBlob"]
    twin.refused(AwsCode.DRY_RUN, "Encrypt", KeyId=arn, Plaintext=b"a", DryRun=True)
    twin.refused(AwsCode.DRY_RUN, "ReEncrypt", CiphertextBlob=blob, DestinationKeyId=arn, DryRun=True)
    ignoring = {"SourceKeyId": arn, "DestinationKeyId": arn, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]}
    twin.refused(AwsCode.DRY_RUN, "ReEncrypt", DryRun=True, **ignoring)
    twin.refused(AwsCode.INVALID_CIPHERTEXT, "Decrypt", CiphertextBlob=flipped(blob, 80), DryRun=True)
    twin.refused(AwsCode.VALIDATION, "ReEncrypt", **ignoring)
    twin.refused(AwsCode.VALIDATION, "Decrypt", DryRun=True, DryRunModifiers=["IGNORE_CIPHERTEXT"])
