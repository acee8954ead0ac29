"""Data keys, data key pairs and random bytes."""

from typing import Final

from pcrgate.twin.kms.call import Call, FoundKey
from pcrgate.twin.kms.interface import Prepared, Response
from pcrgate.twin.kms.key_specs import KEY_SPECS, Family, KeySpec
from pcrgate.twin.kms.key_use import SYMMETRIC, current_material, encrypt
from pcrgate.twin.kms.material import make_private_key, private_key_der, public_key_der
from pcrgate.twin.kms.records import KeyRecord
from pcrgate.twin.kms.service_errors import AwsCode, AwsError

_DATA_KEY_BYTES: Final = {"AES_256": 32, "AES_128": 16}


def generate_data_key(call: Call) -> Prepared:
    """Make a data key, in clear or to a recipient, and encrypted. Spec: KMS API, GenerateDataKey."""
    return _data_key(call, with_plaintext=True)


def generate_data_key_without_plaintext(call: Call) -> Prepared:
    """Make a data key, encrypted only. Spec: KMS API, GenerateDataKeyWithoutPlaintext."""
    return _data_key(call, with_plaintext=False)


def _data_key(call: Call, *, with_plaintext: bool) -> Prepared:
    request = call.request
    found = call.key(aliases=True)
    if request.has("KeySpec") == request.has("NumberOfBytes"):
        raise AwsError(AwsCode.VALIDATION, "Please specify either number of bytes or key spec.")
    count = request.number("NumberOfBytes") or _DATA_KEY_BYTES[request.text("KeySpec", "AES_256")]
    context = request.context("EncryptionContext")

    def run() -> Response:
        key = _wrapping_key(call, found)
        call.stop_if_dry_run()
        plaintext = call.resources.randomness.read(count)
        answer: dict[str, object] = {
            "CiphertextBlob": _wrap(call, key, plaintext, context),
            "KeyId": key.arn,
            "KeyMaterialId": current_material(key).material_id,
        }
        return answer | {"Plaintext": plaintext} if with_plaintext else answer

    check = call.check(found, context={"kms:EncryptionAlgorithm": SYMMETRIC}, encryption_context=context)
    return call.prepared(check, run=run, released="Plaintext" if with_plaintext else None)


def generate_data_key_pair(call: Call) -> Prepared:
    """Make a key pair, private key in clear or to a recipient, and encrypted. Spec: KMS API, GenerateDataKeyPair."""
    return _data_key_pair(call, with_plaintext=True)


def generate_data_key_pair_without_plaintext(call: Call) -> Prepared:
    """Make a key pair, its private key encrypted only. Spec: KMS API, GenerateDataKeyPairWithoutPlaintext."""
    return _data_key_pair(call, with_plaintext=False)


def _data_key_pair(call: Call, *, with_plaintext: bool) -> Prepared:
    found = call.key(aliases=True)
    context = call.request.context("EncryptionContext")
    spec = _pair_spec(call)

    def run() -> Response:
        key = _wrapping_key(call, found)
        call.stop_if_dry_run()
        pair = make_private_key(spec, call.resources.randomness)
        private_der = private_key_der(pair)
        answer: dict[str, object] = {
            "PrivateKeyCiphertextBlob": _wrap(call, key, private_der, context),
            "PublicKey": public_key_der(pair),
            "KeyId": key.arn,
            "KeyPairSpec": spec.name,
            "KeyMaterialId": current_material(key).material_id,
        }
        return answer | {"PrivateKeyPlaintext": private_der} if with_plaintext else answer

    check = call.check(
        found,
        context={"kms:DataKeyPairSpec": spec.name, "kms:EncryptionAlgorithm": SYMMETRIC},
        encryption_context=context,
    )
    return call.prepared(check, run=run, released="PrivateKeyPlaintext" if with_plaintext else None)


def _pair_spec(call: Call) -> KeySpec:
    name = call.request.text("KeyPairSpec")
    spec = KEY_SPECS.get(name)
    if spec is None or spec.family in {Family.SYMMETRIC, Family.HMAC}:
        raise AwsError(AwsCode.UNSUPPORTED_OPERATION, f"The twin makes no key pairs of spec {name}")
    return spec


def _wrapping_key(call: Call, found: FoundKey) -> KeyRecord:
    key = call.usable(found.record)
    if key.spec.family is not Family.SYMMETRIC:
        raise AwsError(
            AwsCode.INVALID_KEY_USAGE,
            f"{key.arn} key spec is {key.spec_name} which is not valid for {call.operation}.",
        )
    return key


def _wrap(call: Call, key: KeyRecord, plaintext: bytes, context: dict[str, str]) -> bytes:
    blob = encrypt(
        key,
        plaintext,
        algorithm=SYMMETRIC,
        context=context,
        operation=call.operation,
        randomness=call.resources.randomness,
    )
    call.note_use(key)
    return blob


def generate_random(call: Call) -> Prepared:
    """Return random bytes, in clear or to a recipient. Spec: KMS API, GenerateRandom."""
    if call.request.has("CustomKeyStoreId"):
        raise AwsError(AwsCode.UNSUPPORTED_OPERATION, "The twin has no custom key stores")
    count = call.request.number("NumberOfBytes")
    if count is None:
        raise AwsError(AwsCode.VALIDATION, "NumberOfBytes is required.")

    def run() -> Response:
        return {"Plaintext": call.resources.randomness.read(count)}

    return call.prepared(call.account_check(), run=run, released="Plaintext")
