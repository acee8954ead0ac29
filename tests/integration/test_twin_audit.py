"""What an auditor finds: through CloudTrail's LookupEvents, and through the control endpoint."""

import base64
import json
import urllib.request
from collections.abc import Mapping
from typing import Any

import pytest

from pcrgate.twin.clients import boto_client
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.server import Twin
from pcrgate.units import Sha384
from tests.support.twin_stage import Stage, document, recipient, refusal, root_client, set_stage, spki_der

pytestmark = pytest.mark.network


@pytest.fixture
def stage(kms_twin: Twin, nsm_pcrs: Mapping[int, Sha384]) -> Stage:
    return set_stage(kms_twin, nsm_pcrs[0])


def events(twin: Twin, name: str) -> list[dict[str, Any]]:
    attributes = [{"AttributeKey": "EventName", "AttributeValue": name}]
    found = root_client(twin, "cloudtrail").lookup_events(LookupAttributes=attributes)["Events"]
    return [json.loads(event["CloudTrailEvent"]) for event in found]


def test_a_release_is_found_with_its_measurements_and_a_refusal_without(stage: Stage, nsm: SoftwareNsm) -> None:
    answer = stage.decrypt(Recipient=recipient(document(nsm, spki_der())))
    refusal(stage.decrypt)
    other = SoftwareNsm(pki=stage.twin.pki, pcrs={0: Sha384(b"\xee" * 48)}, clock=stage.twin.clock)
    refusal(stage.decrypt, Recipient=recipient(document(other, spki_der())))
    wrong_image, unattested, released = events(stage.twin, "Decrypt")
    fields = released["additionalEventData"]["recipient"]
    assert fields["attestationDocumentModuleId"] == nsm.module_id
    assert base64.b64decode(fields["attestationDocumentEnclaveImageDigest"]) == nsm.pcr(0).digest
    assert released["requestID"] == answer["ResponseMetadata"]["RequestId"]
    assert released["resources"][0]["ARN"] == stage.key_arn
    assert released["requestParameters"]["encryptionContext"]["class"] == "weights"
    for refused in (wrong_image, unattested):
        assert refused["errorCode"] == "AccessDenied"
        assert "additionalEventData" not in refused


def test_events_are_paged_and_each_region_has_its_own(kms_twin: Twin) -> None:
    for _ in range(3):
        root_client(kms_twin, "kms").list_keys()
    pages = (
        root_client(kms_twin, "cloudtrail").get_paginator("lookup_events").paginate(PaginationConfig={"PageSize": 2})
    )
    assert [len(page["Events"]) for page in pages] == [2, 1]
    elsewhere = boto_client(kms_twin, "cloudtrail", region="us-east-1")
    assert elsewhere.lookup_events()["Events"] == []


def test_the_rest_of_cloudtrail_is_motos(kms_twin: Twin) -> None:
    boto_client(kms_twin, "s3", region="us-east-1").create_bucket(Bucket="trail")
    trails = root_client(kms_twin, "cloudtrail")
    trails.create_trail(Name="audit", S3BucketName="trail")
    assert [trail["Name"] for trail in trails.list_trails()["Trails"]] == ["audit"]


def test_the_records_are_read_and_forgotten_over_the_control_endpoint(kms_twin: Twin) -> None:
    root_client(kms_twin, "kms").list_keys()
    url = f"{kms_twin.http_url}/_twin/audit"
    with urllib.request.urlopen(url, timeout=10) as answer:
        records = json.loads(answer.read())["records"]
    assert [record["eventName"] for record in records] == ["ListKeys"]
    with urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=10) as answer:
        assert json.loads(answer.read()) == {"records": []}
    assert kms_twin.audit.records() == ()


def test_an_operation_that_the_twin_does_not_do_is_recorded_too(kms_twin: Twin) -> None:
    kms = root_client(kms_twin, "kms")
    assert refusal(kms.describe_custom_key_stores)[0] == "UnsupportedOperationException"
    assert kms_twin.audit.records()[-1]["errorCode"] == "UnsupportedOperationException"
