# The bucket of sealed weights. What lies here is ciphertext that the release manifest names by digest: the bucket can
# lose it or serve an older version, which the enclave notices; it cannot change it unnoticed.

locals {
  arn = "arn:${var.partition}:s3:::${var.bucket}"
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18:Access logs are optional; the audit module's trail records every object call, with its caller.
  #checkov:skip=CKV_AWS_144:Not copied to another Region: sealed weights can be published again from where they were sealed.
  #checkov:skip=CKV2_AWS_62:Nothing has to hear of new objects; the enclave reads what the signed manifest names.
  bucket              = var.bucket
  object_lock_enabled = var.object_lock != null
  force_destroy       = var.force_destroy
  tags                = var.tags

  lifecycle {
    precondition {
      condition     = var.kms_key_arn != null || alltrue([for arn in concat(var.readers, var.writers) : split(":", arn)[4] == var.account_id])
      error_message = "A reader or writer is of another account, which cannot use AWS's own key for S3: give kms_key_arn, or make the bucket in their account."
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket = aws_s3_bucket.this.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  count = var.noncurrent_days == null ? 0 : 1

  bucket = aws_s3_bucket.this.id

  rule {
    id     = "replaced-versions-and-unfinished-uploads"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_object_lock_configuration" "this" {
  count = var.object_lock == null ? 0 : 1

  bucket = aws_s3_bucket.this.id

  rule {
    default_retention {
      mode = var.object_lock.mode
      days = var.object_lock.days
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_logging" "this" {
  count = var.access_log_bucket == null ? 0 : 1

  bucket        = aws_s3_bucket.this.id
  target_bucket = var.access_log_bucket
  target_prefix = "${var.bucket}/"
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AllowReadingByParent"
        Effect    = "Allow"
        Principal = { AWS = var.readers }
        Action    = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource  = "${local.arn}/*"
      },
      {
        Sid       = "AllowListingByParent"
        Effect    = "Allow"
        Principal = { AWS = var.readers }
        Action    = ["s3:ListBucket", "s3:GetBucketLocation"]
        Resource  = local.arn
      },
      {
        Sid       = "AllowPublishing"
        Effect    = "Allow"
        Principal = { AWS = var.writers }
        Action    = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        Resource  = "${local.arn}/*"
      },
      {
        Sid       = "DenyWithoutTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.arn, "${local.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "DenyOldTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.arn, "${local.arn}/*"]
        Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
      },
      {
        Sid       = "DenyWritingByParent"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"]
        Resource  = "${local.arn}/*"
        Condition = { ArnEquals = { "aws:PrincipalArn" = var.readers } }
      },
    ]
  })

  # S3 would refuse a public policy only while the block is there.
  depends_on = [aws_s3_bucket_public_access_block.this, var.existing_principals]
}
