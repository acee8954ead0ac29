import base64
import json
from typing import Any

import pytest

from kms_policies.request import Principal
from pcrgate.attestation.anchors import Roots
from pcrgate.twin import audit as module
from pcrgate.twin.accounts import Identity
from pcrgate.twin.audit import AuditTrail, Call, recipient_fields, render
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.twin.recipient_check import Recipient, RecipientChecker
from pcrgate.units import Sha384
from tests.support.twin_stage import document, spki_der

ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/path/parent"
SESSION = Identity(
    principal=Principal.from_arn(f"arn:aws:sts::{ACCOUNT}:assumed-role/parent/boot", role_arn=ROLE),
    partition="aws",
    access_key_id="ASIAEXAMPLE",
    user_id="AROAEXAMPLE:boot",
)
KEY_ARN = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/11111111-2222-4333-8444-555555555555"
PKI = DevPki(b"audit" + bytes(16))
NOW_MS = 1_800_000_000_000


def call(**changes: Any) -> Call:
    told: dict[str, Any] = {
        "request_id": "request",
        "operation": "Decrypt",
        "region": "eu-central-1",
        "identity": SESSION,
        "source_ip": "127.0.0.1",
        "user_agent": "tests",
        "request": {
            "KeyId": KEY_ARN,
            "CiphertextBlob": b"secret",
            "EncryptionContext": {"Name": "Value"},
            "GrantTokens": ["token"],
            "Recipient": {"AttestationDocument": b"doc", "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"},
        },
        "key_arns": (KEY_ARN,),
        "response": {"Plaintext": b"secret", "KeyMaterialId": "f" * 64},
        **changes,
    }
    return Call(**told)


def record(**changes: Any) -> Any:
    return json.loads(json.dumps(render(call(**changes), event_id="event", at_ms=NOW_MS)))


def verified(nsm: SoftwareNsm) -> Recipient:
    checker = RecipientChecker(Roots.pinned(PKI.root_fingerprint), clock_ms=lambda: NOW_MS, max_age_s=300)
    return checker.check(document(nsm, spki_der()))


def test_a_record_has_cloudtrails_shape() -> None:
    made = record()
    assert made["eventTime"] == "2027-01-15T08:00:00Z"
    assert (made["eventSource"], made["eventName"], made["awsRegion"]) == (
        "kms.amazonaws.com",
        "Decrypt",
        "eu-central-1",
    )
    assert made["userIdentity"] == {
        "type": "AssumedRole",
        "principalId": "AROAEXAMPLE:boot",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/parent/boot",
        "accountId": ACCOUNT,
        "accessKeyId": "ASIAEXAMPLE",
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "principalId": "AROAEXAMPLE",
                "arn": ROLE,
                "accountId": ACCOUNT,
                "userName": "parent",
            }
        },
    }
    assert made["resources"] == [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": KEY_ARN}]
    assert made["readOnly"] is True
    assert made["responseElements"] is None
    assert made["additionalEventData"] == {"keyMaterialId": "f" * 64}
    assert "errorCode" not in made


def test_no_blob_and_no_token_enters_a_record() -> None:
    made = record()
    assert made["requestParameters"] == {
        "keyId": KEY_ARN,
        "encryptionContext": {"Name": "Value"},
        "recipient": {"keyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"},
    }
    assert "secret" not in json.dumps(made)


def test_names_are_cloudtrails_except_in_encryption_contexts() -> None:
    made = record(
        request={
            "SourceEncryptionContext": {"": "a", "Name": "b"},
            "Constraints": {"EncryptionContextSubset": {"Name": "c"}, "EncryptionContextEquals": {}},
            "Tags": [{"TagKey": "K", "TagValue": "V"}],
            "TagKeys": ["K"],
        }
    )
    assert made["requestParameters"] == {
        "sourceEncryptionContext": {"": "a", "Name": "b"},
        "constraints": {"encryptionContextSubset": {"Name": "c"}},
        "tags": [{"tagKey": "K", "tagValue": "V"}],
        "tagKeys": ["K"],
    }


def test_an_enclaves_measurements_are_recorded_in_base64() -> None:
    nsm = SoftwareNsm(pki=PKI, pcrs={0: Sha384(b"\x01" * 48), 8: Sha384(b"\x08" * 48)}, clock=lambda: NOW_MS)
    fields = record(evidence=verified(nsm).evidence)["additionalEventData"]["recipient"]
    assert fields["attestationDocumentModuleId"] == nsm.module_id
    assert base64.b64decode(fields["attestationDocumentEnclaveImageDigest"]) == b"\x01" * 48
    assert base64.b64decode(fields["attestationDocumentEnclavePCR8"]) == b"\x08" * 48
    assert set(fields) == {
        "attestationDocumentModuleId",
        "attestationDocumentEnclaveImageDigest",
        *(f"attestationDocumentEnclavePCR{index}" for index in (1, 2, 3, 4, 8)),
    }


def test_a_nitrotpms_measurements_have_names_of_their_own() -> None:
    nsm = SoftwareNsm(pki=PKI, pcrs={4: Sha384(b"\x04" * 48)}, clock=lambda: NOW_MS, kind="nitrotpm")
    fields = recipient_fields(verified(nsm).evidence)
    names = {f"attestationDocumentNitroTPMPCR{index}" for index in (4, 7, 8, 9, 16, 23)}
    assert set(fields) == {"attestationDocumentModuleId", *names}


def test_a_refusal_has_its_error_and_no_measurements() -> None:
    nsm = SoftwareNsm(pki=PKI, pcrs={0: Sha384(b"\x01" * 48)}, clock=lambda: NOW_MS)
    made = record(response=None, error=("AccessDeniedException", "User: ..."), evidence=verified(nsm).evidence)
    assert (made["errorCode"], made["errorMessage"]) == ("AccessDenied", "User: ...")
    assert "additionalEventData" not in made
    assert record(response=None, error=("NotFoundException", "no"))["errorCode"] == "NotFoundException"


def test_users_and_roots_are_told_apart() -> None:
    user = Identity(principal=Principal.from_arn(f"arn:aws:iam::{ACCOUNT}:user/a/alice"), partition="aws")
    root = Identity(principal=Principal.of_root(ACCOUNT), partition="aws")
    assert record(identity=user)["userIdentity"]["type"] == "IAMUser"
    assert record(identity=user)["userIdentity"]["userName"] == "alice"
    assert record(identity=root)["userIdentity"]["type"] == "Root"


def test_changes_are_not_read_only_and_show_their_answer_without_the_token() -> None:
    made = record(
        operation="CreateGrant",
        request={"GranteePrincipal": ROLE, "Constraints": {"SourceArn": "arn"}, "Empty": {}},
        response={"GrantId": "id", "GrantToken": "token"},
    )
    assert made["readOnly"] is False
    assert made["responseElements"] == {"grantId": "id"}
    assert made["requestParameters"] == {"granteePrincipal": ROLE, "constraints": {"sourceArn": "arn"}}


@pytest.mark.parametrize("count", [1, 3])
def test_the_trail_is_bounded_and_forgets_on_request(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(module, "MAX_RECORDS", 2)
    trail = AuditTrail(clock_ms=lambda: NOW_MS)
    for number in range(count):
        trail.add(call(request_id=str(number)))
    kept = [found["requestID"] for found in trail.records()]
    assert kept == [str(number) for number in range(count)][-2:]
    assert len({found["eventID"] for found in trail.records()}) == len(kept)
    trail.clear()
    assert trail.records() == ()
