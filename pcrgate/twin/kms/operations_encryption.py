"""Encrypt, Decrypt and ReEncrypt."""

from pcrgate.twin.kms.call import Call, FoundKey
from pcrgate.twin.kms.ciphertext import parse_ciphertext
from pcrgate.twin.kms.interface import Prepared, Response
from pcrgate.twin.kms.key_specs import Usage
from pcrgate.twin.kms.key_use import SYMMETRIC, Opened, decrypt, encrypt, require_algorithm, require_usage
from pcrgate.twin.kms.records import KeyRecord
from pcrgate.twin.kms.service_errors import AwsCode, AwsError


def encrypt_plaintext(call: Call) -> Prepared:
    """Encrypt up to 4096 bytes. Spec: KMS API, Encrypt."""
    found = call.key(aliases=True)
    algorithm = call.request.text("EncryptionAlgorithm", SYMMETRIC)
    context = call.request.context("EncryptionContext")
    plaintext = call.request.blob("Plaintext")

    def run() -> Response:
        key = call.usable(found.record)
        blob = encrypt(
            key,
            plaintext,
            algorithm=algorithm,
            context=context,
            operation=call.operation,
            randomness=call.resources.randomness,
        )
        call.stop_if_dry_run()
        call.note_use(key)
        return {"CiphertextBlob": blob, "KeyId": key.arn, "EncryptionAlgorithm": algorithm}

    check = call.check(found, context={"kms:EncryptionAlgorithm": algorithm}, encryption_context=context)
    return call.prepared(check, run=run)


def decrypt_ciphertext(call: Call) -> Prepared:
    """Decrypt, to the caller or to a recipient. Spec: KMS API, Decrypt."""
    algorithm = call.request.text("EncryptionAlgorithm", SYMMETRIC)
    context = call.request.context("EncryptionContext")
    blob = _ciphertext(call, "KeyId")
    found = _source_key(call, blob, "KeyId", algorithm)

    def run() -> Response:
        key = call.usable(found.record)
        opened = _open(call, key, blob, algorithm, context)
        call.stop_if_dry_run()
        call.note_use(key)
        answer: dict[str, object] = {
            "KeyId": key.arn,
            "Plaintext": opened.plaintext,
            "EncryptionAlgorithm": algorithm,
        }
        return answer if opened.material_id is None else answer | {"KeyMaterialId": opened.material_id}

    check = call.check(found, context={"kms:EncryptionAlgorithm": algorithm}, encryption_context=context)
    return call.prepared(check, run=run, released="Plaintext")


def re_encrypt(call: Call) -> Prepared:
    """Decrypt under one key and encrypt under another, without showing the plaintext. Spec: KMS API, ReEncrypt."""
    request = call.request
    source_algorithm = request.text("SourceEncryptionAlgorithm", SYMMETRIC)
    target_algorithm = request.text("DestinationEncryptionAlgorithm", SYMMETRIC)
    source_context = request.context("SourceEncryptionContext")
    target_context = request.context("DestinationEncryptionContext")
    blob = _ciphertext(call, "SourceKeyId")
    source = _source_key(call, blob, "SourceKeyId", source_algorithm)
    target = call.key("DestinationKeyId", aliases=True)
    same = {"kms:ReEncryptOnSameKey": "true" if source.record.arn == target.record.arn else "false"}

    def run() -> Response:
        from_key, to_key = call.usable(source.record), call.usable(target.record)
        opened = _open(call, from_key, blob, source_algorithm, source_context)
        sealed = encrypt(
            to_key,
            opened.plaintext,
            algorithm=target_algorithm,
            context=target_context,
            operation=call.operation,
            randomness=call.resources.randomness,
        )
        call.stop_if_dry_run()
        call.note_use(from_key)
        call.note_use(to_key)
        answer: dict[str, object] = {
            "CiphertextBlob": sealed,
            "SourceKeyId": from_key.arn,
            "KeyId": to_key.arn,
            "SourceEncryptionAlgorithm": source_algorithm,
            "DestinationEncryptionAlgorithm": target_algorithm,
        }
        if opened.material_id is not None:
            answer["SourceKeyMaterialId"] = opened.material_id
        if target_algorithm == SYMMETRIC and to_key.current is not None:
            answer["DestinationKeyMaterialId"] = to_key.current.material_id
        return answer

    return call.prepared(
        call.check(
            source,
            action="kms:ReEncryptFrom",
            context={"kms:EncryptionAlgorithm": source_algorithm, **same},
            encryption_context=source_context,
        ),
        call.check(
            target,
            action="kms:ReEncryptTo",
            context={"kms:EncryptionAlgorithm": target_algorithm, **same},
            encryption_context=target_context,
        ),
        run=run,
    )


def _ciphertext(call: Call, key_member: str) -> bytes | None:
    """Return the ciphertext, or None when a dry run leaves it out. Spec: KMS API, DryRunModifiers."""
    if "IGNORE_CIPHERTEXT" not in call.request.texts("DryRunModifiers"):
        return call.request.blob("CiphertextBlob")
    if not call.request.flag("DryRun") or not call.request.has(key_member):
        raise AwsError(AwsCode.VALIDATION, f"IGNORE_CIPHERTEXT needs DryRun and {key_member}.")
    return None


def _open(call: Call, key: KeyRecord, blob: bytes | None, algorithm: str, context: dict[str, str]) -> Opened:
    if blob is None:
        require_usage(key, Usage.ENCRYPT, call.operation)
        require_algorithm(key, algorithm)
        call.stop_if_dry_run()
        raise AwsError(AwsCode.INTERNAL, "a ciphertext may be left out of a dry run alone")
    return decrypt(key, blob, algorithm=algorithm, context=context, operation=call.operation)


def _source_key(call: Call, blob: bytes | None, member: str, algorithm: str) -> FoundKey:
    """Return the key that the request names, else the one that the ciphertext's header names.

    Raises:
        AwsError: ValidationException, InvalidCiphertextException, NotFoundException or AccessDeniedException.
    """
    if blob is None or call.request.has(member):
        return call.key(member, aliases=True)
    if algorithm != SYMMETRIC:
        raise AwsError(AwsCode.VALIDATION, f"{member} is required when the ciphertext is of an asymmetric key.")
    key = call.keyring.find_by_id(parse_ciphertext(blob).key_id, call.caller.region)
    if key is None:
        raise AwsError(
            AwsCode.ACCESS_DENIED,
            "The ciphertext refers to a customer master key that does not exist, does not exist in this region, "
            "or you are not allowed to access.",
        )
    return FoundKey(record=key, alias=None)
