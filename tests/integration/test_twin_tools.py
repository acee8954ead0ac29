"""Stock tools against the twin, unchanged: the AWS CLI, the AWS Encryption SDK, Terraform."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_encryption_sdk
import botocore.session
import pytest
from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError

from pcrgate.twin.server import Twin
from pcrgate.units import Sha384
from tests.support.terraform import MISSING, find_terraform
from tests.support.twin_stage import CONTEXT, root_client

pytestmark = pytest.mark.network

TERRAFORM = find_terraform()


def environment(twin: Twin, home: Path) -> dict[str, str]:
    """Return a clean environment: what ``pcrgate twin env`` prints, and the search path."""
    return {
        **twin.environment(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def test_the_aws_cli_works_unchanged(kms_twin: Twin, tmp_path: Path) -> None:
    if shutil.which("aws", path=environment(kms_twin, tmp_path)["PATH"]) is None:
        pytest.skip("the AWS CLI is not installed")

    def aws(*words: str, code: int = 0) -> Any:
        done = subprocess.run(
            ["aws", *words, "--output", "json"],
            env=environment(kms_twin, tmp_path),
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout or "null") if code == 0 else done.stderr

    key = aws("kms", "create-key")["KeyMetadata"]["Arn"]
    (tmp_path / "plain").write_bytes(b"by the command line")
    sealed = aws("kms", "encrypt", "--key-id", key, "--plaintext", f"fileb://{tmp_path / 'plain'}")
    (tmp_path / "sealed").write_bytes(base64.b64decode(sealed["CiphertextBlob"]))
    opened = aws("kms", "decrypt", "--ciphertext-blob", f"fileb://{tmp_path / 'sealed'}")
    assert base64.b64decode(opened["Plaintext"]) == b"by the command line"
    said = aws("kms", "decrypt", "--ciphertext-blob", f"fileb://{tmp_path / 'plain'}", code=255)
    assert "InvalidCiphertextException" in said


def test_the_stock_encryption_sdk_works_until_the_policy_asks_for_an_enclave(
    kms_twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in kms_twin.environment().items():
        monkeypatch.setenv(name, value)
    kms = root_client(kms_twin, "kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    sdk = aws_encryption_sdk.EncryptionSDKClient(
        commitment_policy=aws_encryption_sdk.CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
    )

    def provider() -> Any:
        session = botocore.session.Session()
        return aws_encryption_sdk.StrictAwsKmsMasterKeyProvider(key_ids=[key], botocore_session=session)

    sealed, _ = sdk.encrypt(source=b"weights", key_provider=provider(), encryption_context=CONTEXT)
    opened, header = sdk.decrypt(source=sealed, key_provider=provider())
    assert (opened, header.encryption_context["class"]) == (b"weights", "weights")

    policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    unattested = {"Null": {"kms:RecipientAttestation:PCR0": "true"}}
    policy["Statement"].append(
        {"Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*", "Condition": unattested}
    )
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
    with pytest.raises(AWSEncryptionSDKClientError):
        sdk.decrypt(source=sealed, key_provider=provider())


MODULE = """
terraform {
  required_providers { aws = { source = "hashicorp/aws" } }
}
variable "pcr0" { type = string }
provider "aws" {
  s3_use_path_style = true
}
data "aws_caller_identity" "me" {}
resource "aws_iam_role" "parent" {
  name               = "terraform-enclave-parent"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }]
  })
}
resource "aws_kms_key" "weights" {
  description             = "weights"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = { class = "weights" }
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Administration", Effect = "Allow", Action = "kms:*", Resource = "*"
        Principal = { AWS = "arn:aws:iam::${data.aws_caller_identity.me.account_id}:root" }
      },
      {
        Sid       = "Release", Effect = "Allow", Action = "kms:Decrypt", Resource = "*"
        Principal = { AWS = aws_iam_role.parent.arn }
        Condition = { StringEqualsIgnoreCase = { "kms:RecipientAttestation:PCR0" = var.pcr0 } }
      },
    ]
  })
}
resource "aws_kms_alias" "weights" {
  name          = "alias/terraform-weights"
  target_key_id = aws_kms_key.weights.key_id
}
output "key_arn" { value = aws_kms_key.weights.arn }
output "role_arn" { value = aws_iam_role.parent.arn }
"""


@pytest.mark.terraform
@pytest.mark.slow
@pytest.mark.skipif(TERRAFORM is None, reason=MISSING)
def test_terraform_applies_plans_nothing_more_and_destroys(
    kms_twin: Twin, nsm_pcrs: Mapping[int, Sha384], tmp_path: Path
) -> None:
    assert TERRAFORM is not None
    (tmp_path / "main.tf").write_text(MODULE)
    told = environment(kms_twin, tmp_path) | {
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
        "TF_VAR_pcr0": nsm_pcrs[0].hex(),
    }

    def terraform(*words: str, code: int = 0) -> str:
        assert TERRAFORM is not None
        done = subprocess.run(
            [str(TERRAFORM.binary), f"-chdir={tmp_path}", *words], env=told, capture_output=True, text=True, timeout=110
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    terraform("init", "-no-color", f"-plugin-dir={TERRAFORM.plugin_dir}")
    terraform("apply", "-no-color", "-auto-approve", "-input=false")
    terraform("plan", "-no-color", "-input=false", "-detailed-exitcode")
    outputs = json.loads(terraform("output", "-json"))
    kms = root_client(kms_twin, "kms")
    assert kms.describe_key(KeyId="alias/terraform-weights")["KeyMetadata"]["Arn"] == outputs["key_arn"]["value"]
    assert kms.get_key_rotation_status(KeyId=outputs["key_arn"]["value"])["KeyRotationEnabled"] is True
    terraform("destroy", "-no-color", "-auto-approve", "-input=false")
    assert kms.describe_key(KeyId=outputs["key_arn"]["value"])["KeyMetadata"]["KeyState"] == "PendingDeletion"
