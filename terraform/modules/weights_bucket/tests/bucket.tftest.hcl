# The real provider, never contacted.

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
  bucket      = "sealed-weights"
  account_id  = "444455556666"
  readers     = ["arn:aws:iam::444455556666:role/enclave-parent"]
  writers     = ["arn:aws:iam::444455556666:role/publisher"]
  object_lock = { mode = "GOVERNANCE", days = 30 }
}

run "keeps_versions_to_itself_and_lets_the_parent_read_only" {
  command = plan

  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled"
    error_message = "Versions are not kept."
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this.block_public_acls, aws_s3_bucket_public_access_block.this.block_public_policy,
      aws_s3_bucket_public_access_block.this.ignore_public_acls, aws_s3_bucket_public_access_block.this.restrict_public_buckets,
    ])
    error_message = "The bucket can be made public."
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
    error_message = "The bucket is not encrypted with KMS."
  }

  assert {
    condition     = aws_s3_bucket.this.object_lock_enabled && one(aws_s3_bucket_object_lock_configuration.this[0].rule).default_retention[0].days == 30
    error_message = "Object lock is not what was asked for."
  }

  assert {
    condition     = one(aws_s3_bucket_lifecycle_configuration.this[0].rule).noncurrent_version_expiration[0].noncurrent_days == 90
    error_message = "Replaced versions do not stay as long as promised."
  }


  assert {
    condition = [
      for statement in jsondecode(aws_s3_bucket_policy.this.policy).Statement : statement.Sid if statement.Effect == "Deny"
    ] == ["DenyWithoutTls", "DenyOldTls", "DenyWritingByParent"]
    error_message = "A Deny is missing."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_s3_bucket_policy.this.policy).Statement :
      !contains(flatten([statement.Principal.AWS]), var.readers[0]) || !strcontains(jsonencode(statement.Action), "Put")
      if statement.Effect == "Allow"
    ])
    error_message = "The parent may write."
  }
}
