"""Imported key material: wrap it under a public key of KMS, import it, delete it, import the same again."""

from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding

from pcrgate.twin.kms.call import Call
from pcrgate.twin.kms.ciphertext import invalid_ciphertext
from pcrgate.twin.kms.interface import ContextValue, Prepared, Response
from pcrgate.twin.kms.key_metadata import seconds
from pcrgate.twin.kms.key_specs import KEY_SPECS, Family
from pcrgate.twin.kms.material import Secret, is_of_spec, make_private_key, material_id, public_key_der
from pcrgate.twin.kms.records import KeyRecord, MaterialVersion
from pcrgate.twin.kms.service_errors import AwsCode, AwsError
from pcrgate.twin.kms.wrapping_keys import VALID_MS, WrappingKey

_OAEP: Final[dict[str, hashes.HashAlgorithm]] = {
    "RSAES_OAEP_SHA_1": hashes.SHA1(),  # noqa: S303 - what the API offers
    "RSAES_OAEP_SHA_256": hashes.SHA256(),
    "RSA_AES_KEY_WRAP_SHA_1": hashes.SHA1(),  # noqa: S303
    "RSA_AES_KEY_WRAP_SHA_256": hashes.SHA256(),
}
"""Hash of the OAEP step of each wrapping algorithm. RSAES_PKCS1_V1_5 is retired, SM2PKE is of the China Regions."""

_TOKEN_BYTES: Final = 64


def _external(key: KeyRecord) -> KeyRecord:
    if key.origin != "EXTERNAL":
        raise AwsError(AwsCode.UNSUPPORTED_OPERATION, f"{key.arn} origin is {key.origin} which is not valid for this.")
    return key


def get_parameters_for_import(call: Call) -> Prepared:
    """Return a wrapping key and an import token. Spec: KMS API, GetParametersForImport."""
    found = call.key()
    algorithm, spec_name = call.request.text("WrappingAlgorithm"), call.request.text("WrappingKeySpec")
    spec = KEY_SPECS.get(spec_name)

    def run() -> Response:
        key = _external(call.usable(found.record))
        if spec is None or algorithm not in _OAEP:
            raise AwsError(AwsCode.UNSUPPORTED_OPERATION, f"The twin does not wrap with {algorithm} and {spec_name}")
        private_key = make_private_key(spec, call.resources.randomness)
        if not isinstance(private_key, rsa.RSAPrivateKey):
            raise AwsError(AwsCode.VALIDATION, f"{spec_name} is not an RSA key spec")
        token = call.resources.randomness.read(_TOKEN_BYTES)
        valid_to_ms = call.now_ms() + VALID_MS
        call.resources.wrapping_keys.add(
            token,
            WrappingKey(key_arn=key.arn, algorithm=algorithm, private_key=private_key, valid_to_ms=valid_to_ms),
        )
        return {
            "KeyId": key.arn,
            "ImportToken": token,
            "PublicKey": public_key_der(private_key),
            "ParametersValidTo": seconds(valid_to_ms),
        }

    context = {"kms:WrappingAlgorithm": algorithm, "kms:WrappingKeySpec": spec_name}
    return call.prepared(call.check(found, context=context), run=run)


def import_key_material(call: Call) -> Prepared:
    """Import material into a key without any, or the same material again. Spec: KMS API, ImportKeyMaterial."""
    request = call.request
    found = call.key()
    model = request.text("ExpirationModel", "KEY_MATERIAL_EXPIRES")
    valid_to_ms = request.time_ms("ValidTo")
    if (model == "KEY_MATERIAL_EXPIRES") != (valid_to_ms is not None):
        raise AwsError(AwsCode.VALIDATION, "ValidTo is required when the key material expires, and only then.")

    def change(key: KeyRecord) -> KeyRecord:
        key = _external(call.usable(key))
        if valid_to_ms is not None and valid_to_ms <= call.now_ms():
            raise AwsError(AwsCode.VALIDATION, "ValidTo must be in the future.")
        secret = _unwrap(call, key)
        name = material_id(key.key_id, secret)
        current = key.current
        if current is not None and request.text("ImportType") == "NEW_KEY_MATERIAL":
            raise AwsError(AwsCode.UNSUPPORTED_OPERATION, "The twin does not rotate imported key material")
        if current is None and request.text("ImportType") == "EXISTING_KEY_MATERIAL":
            raise AwsError(AwsCode.INCORRECT_KEY_MATERIAL, "No material was imported before.")
        expected = request.text("KeyMaterialId") or (name if current is None else current.material_id)
        if expected != name or (current is not None and current.material_id != name):
            raise AwsError(AwsCode.INCORRECT_KEY_MATERIAL, "Only the material that was first imported can be imported.")
        version = MaterialVersion(
            material_id=name,
            secret=secret,
            created_ms=call.now_ms() if current is None else current.created_ms,
            description=request.optional_text("KeyMaterialDescription"),
            valid_to_ms=valid_to_ms,
        )
        return replace(key, materials=(version,))

    def run() -> Response:
        return _named(call.keyring.update(found.record.arn, change))

    context: dict[str, ContextValue] = {"kms:ExpirationModel": model}
    if valid_to_ms is not None:
        context["kms:ValidTo"] = str(valid_to_ms // 1000)
    return call.prepared(call.check(found, context=context), run=run)


def delete_imported_key_material(call: Call) -> Prepared:
    """Forget imported material; the key waits for it then. Spec: KMS API, DeleteImportedKeyMaterial."""
    found = call.key()

    def change(key: KeyRecord) -> KeyRecord:
        key = _external(call.usable(key))
        return replace(key, materials=tuple(replace(version, secret=None) for version in key.materials))

    def run() -> Response:
        return _named(call.keyring.update(found.record.arn, change))

    return call.prepared(call.check(found), run=run)


def _named(key: KeyRecord) -> Response:
    answer: dict[str, object] = {"KeyId": key.arn}
    if key.current is not None and key.spec.family is Family.SYMMETRIC:
        answer["KeyMaterialId"] = key.current.material_id
    return answer


def _unwrap(call: Call, key: KeyRecord) -> Secret:
    wrapping = call.resources.wrapping_keys.of(call.request.blob("ImportToken"))
    if wrapping is None or wrapping.key_arn != key.arn:
        raise AwsError(AwsCode.INVALID_IMPORT_TOKEN, "The import token is not one for this key.")
    if wrapping.valid_to_ms <= call.now_ms():
        raise AwsError(AwsCode.EXPIRED_IMPORT_TOKEN, "The import token has expired.")
    digest = _OAEP[wrapping.algorithm]
    oaep = padding.OAEP(mgf=padding.MGF1(digest), algorithm=digest, label=None)
    wrapped = call.request.blob("EncryptedKeyMaterial")
    try:
        if wrapping.algorithm.startswith("RSAES"):
            opened = wrapping.private_key.decrypt(wrapped, oaep)
        else:
            # An AES key under RSA, then the material under that AES key. Spec: PKCS #11, CKM_RSA_AES_KEY_WRAP.
            size = wrapping.private_key.key_size // 8
            opened = aes_key_unwrap_with_padding(wrapping.private_key.decrypt(wrapped[:size], oaep), wrapped[size:])
    except (ValueError, InvalidUnwrap):
        raise invalid_ciphertext() from None
    secret = Secret(opened)
    if not is_of_spec(secret, key.spec):
        raise AwsError(AwsCode.INCORRECT_KEY_MATERIAL, f"The material is not that of a {key.spec_name} key.")
    return secret
