# The real provider, never contacted: new resources are planned, and the policy is known then.

provider "aws" {
  #checkov:skip=CKV_AWS_41:No credentials: the provider asks for some, and is never let near AWS.
  region                      = "eu-central-1"
  access_key                  = "AKIAOFFLINE000000000"
  secret_key                  = "not-a-secret"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  name           = "weights"
  class          = "weights"
  account_id     = "111122223333"
  administrators = ["arn:aws:iam::111122223333:role/key-administrator", "arn:aws:iam::111122223333:role/break-glass"]
  publishers     = ["arn:aws:iam::111122223333:role/publisher"]
  parents        = ["arn:aws:iam::111122223333:role/enclave-parent"]
  measurements = [
    {
      name    = "v1"
      pcr0    = "1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f"
      pcr8    = "8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f"
      expires = "2099-01-01T00:00:00Z"
    },
    {
      name    = "v2"
      pcr0    = "2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e"
      pcr8    = "8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f"
      expires = "2099-01-01T00:00:00Z"
    },
  ]
}

run "releases_to_the_listed_measurements_only" {
  command = plan

  assert {
    condition = one([
      for statement in jsondecode(aws_kms_key.this.policy).Statement : statement if statement.Sid == "DenyReleaseUnlessPCR0"
    ]).Condition.StringNotEqualsIgnoreCase["kms:RecipientAttestation:PCR0"] == [var.measurements[0].pcr0, var.measurements[1].pcr0]
    error_message = "The Deny on PCR0 does not list exactly the approved measurements."
  }

  assert {
    condition = one([
      for statement in jsondecode(aws_kms_key.this.policy).Statement : statement if statement.Sid == "DenyReleaseUnlessPCR8"
    ]).Condition.StringNotEqualsIgnoreCase["kms:RecipientAttestation:PCR8"] == [var.measurements[0].pcr8]
    error_message = "A value that two measurements share is listed once."
  }

  assert {
    condition = one([
      for statement in jsondecode(aws_kms_key.this.policy).Statement : statement if statement.Sid == "AllowReleaseToMeasuredEnclave"
    ]).Principal.AWS == [var.parents[0]]
    error_message = "Somebody else than the parents may ask for a release."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_kms_key.this.policy).Statement :
      statement.Effect == "Deny" || statement.Principal != "*"
    ])
    error_message = "An Allow names everybody."
  }

  assert {
    condition     = !strcontains(aws_kms_key.this.policy, ":root")
    error_message = "The policy delegates to the account."
  }

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && !aws_kms_key.this.multi_region && aws_kms_key.this.deletion_window_in_days == 30
    error_message = "Rotation, Region or deletion window are not what the module promises."
  }

  assert {
    condition     = output.policy_sha256 == sha256(aws_kms_key.this.policy)
    error_message = "The hash is not that of the policy."
  }
}

run "refuses_what_would_open_it" {
  command = plan

  variables {
    measurements   = []
    parents        = ["*"]
    administrators = []
  }

  expect_failures = [var.measurements, var.parents, var.administrators]
}
