"""Every operation of the service model passes the one enforcement point: whoever is denied all is denied each."""

import json
from typing import Any

import pytest
from botocore.loaders import Loader

from kms_policies.operations import OPERATIONS
from pcrgate.twin.clients import boto_client
from pcrgate.twin.server import Twin
from tests.support.twin_stage import assume, make_role, refusal, root_client

pytestmark = pytest.mark.network

SHAPES: dict[str, Any] = Loader().load_service_model("kms", "service-2")["shapes"]


def filled(name: str, known: dict[str, Any], member: str = "") -> Any:
    """Return the least value of a shape: what the model requires, and names that exist."""
    if member in known:
        return known[member]
    shape = SHAPES[name]
    match shape["type"]:
        case "structure":
            return {one: filled(shape["members"][one]["shape"], known, one) for one in shape.get("required", [])}
        case "list":
            return [filled(shape["member"]["shape"], known)]
        case "blob":
            return b"A" * 8
        case "boolean":
            return False
        case "integer":
            return 7
    return shape.get("enum", ["x"])[0]


def test_whoever_is_denied_all_is_denied_each_operation(kms_twin: Twin) -> None:
    root = root_client(kms_twin, "kms")
    key = root.create_key(MultiRegion=True)["KeyMetadata"]["Arn"]
    root.create_alias(AliasName="alias/all", TargetKeyId=key)
    role = make_role(kms_twin, "denied")
    statement = {"Effect": "Deny", "Action": "kms:*", "Resource": "*"}
    root_client(kms_twin, "iam").put_role_policy(
        RoleName=role.rpartition("/")[2],
        PolicyName="denied",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    grant = root.create_grant(KeyId=key, GranteePrincipal=role, RetiringPrincipal=role, Operations=["Decrypt"])
    known = {
        "AliasName": "alias/all",
        "CiphertextBlob": root.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"],
        "DestinationKeyId": key,
        "GrantId": grant["GrantId"],
        "GranteePrincipal": role,
        "KeyId": key,
        "Plaintext": b"x",
        "PrimaryRegion": "eu-west-1",
        "ReplicaRegion": "eu-west-1",
        "RetiringPrincipal": role,
        "TargetKeyId": key,
    }
    more: dict[str, dict[str, Any]] = {
        "CreateAlias": {"AliasName": "alias/new"},
        "CreateGrant": {"GranteePrincipal": role, "Operations": ["Decrypt"]},
        "GenerateDataKey": {"KeySpec": "AES_256"},
        "GenerateDataKeyWithoutPlaintext": {"KeySpec": "AES_256"},
        "GenerateRandom": {"NumberOfBytes": 32},
        "ImportKeyMaterial": {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"},
        "ListRetirableGrants": {"RetiringPrincipal": role},
        "Decrypt": {"CiphertextBlob": known["CiphertextBlob"]},
        "PutKeyPolicy": {"Policy": "{}"},
        "ReEncrypt": {"CiphertextBlob": known["CiphertextBlob"]},
        "RetireGrant": {"KeyId": key, "GrantId": grant["GrantId"]},
    }
    denied = boto_client(kms_twin, "kms", credentials=assume(kms_twin, role))
    for operation in sorted(OPERATIONS):
        shape = denied.meta.service_model.operation_model(operation).input_shape
        members = (filled(shape.name, known) if shape is not None else {}) | more.get(operation, {})
        code, message = refusal(denied._make_api_call, operation_name=operation, api_params=members)
        assert (code, "explicit deny" in message) == ("AccessDeniedException", True), (operation, code, message)
    assert root.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"
    code, _ = refusal(root.describe_custom_key_stores)
    assert code == "UnsupportedOperationException"
