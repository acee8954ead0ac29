variable "bucket" {
  description = "Name of the bucket, unique in the world."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket is 3 to 63 characters a-z, 0-9 and dash: choose another name."
  }
}

variable "account_id" {
  description = "Account that the bucket is made in, twelve digits."
  type        = string

  validation {
    condition     = can(regex("^\\d{12}$", var.account_id))
    error_message = "account_id is twelve digits: give the account that the bucket is made in."
  }
}

variable "partition" {
  description = "Partition of the account: aws, aws-us-gov or aws-cn."
  type        = string
  default     = "aws"
}

variable "readers" {
  description = "Full ARNs of the roles that read sealed weights: the parents."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.readers) > 0 && alltrue([for arn in var.readers : can(regex("^arn:aws(-us-gov|-cn)?:iam::\\d{12}:(role|user)/[\\w+=,.@/-]+$", arn))])
    error_message = "readers is empty or holds something else than full ARNs of roles or users: name the parent's role, without wildcard."
  }
}

variable "writers" {
  description = "Full ARNs of the roles that put sealed weights: the publishers."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.writers) > 0 && alltrue([for arn in var.writers : can(regex("^arn:aws(-us-gov|-cn)?:iam::\\d{12}:(role|user)/[\\w+=,.@/-]+$", arn))])
    error_message = "writers is empty or holds something else than full ARNs of roles or users: name the publisher's role, without wildcard."
  }
}

variable "existing_principals" {
  description = "Whatever must exist before the bucket policy names it: S3 refuses policies that name unknown principals."
  type        = any
  default     = []
}

variable "kms_key_arn" {
  description = "Customer managed key for the bucket's own encryption, or null for AWS's (aws/s3). Never a gated key: S3 cannot attest. Weights are sealed before they get here, so this is a second layer."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws(-us-gov|-cn)?:kms:[a-z0-9-]+:\\d{12}:key/[0-9a-z-]+$", var.kms_key_arn))
    error_message = "kms_key_arn is a full key ARN, not an alias or an id; or null for AWS's own key."
  }
}

variable "object_lock" {
  description = "Object lock for new versions, or null for none. GOVERNANCE can be lifted by whom IAM lets, COMPLIANCE by nobody before its time: costs run that long."
  type = object({
    mode = string
    days = number
  })
  default = null

  validation {
    condition     = var.object_lock == null || try(contains(["GOVERNANCE", "COMPLIANCE"], var.object_lock.mode) && var.object_lock.days >= 1 && var.object_lock.days <= 36500, false)
    error_message = "object_lock is { mode, days } with mode GOVERNANCE or COMPLIANCE and 1 to 36500 days; or null for none."
  }
}

variable "noncurrent_days" {
  description = "How many days replaced or deleted versions stay, so that a deletion can be undone; null keeps them for ever."
  type        = number
  default     = 90

  validation {
    condition     = var.noncurrent_days == null || try(var.noncurrent_days >= 1 && floor(var.noncurrent_days) == var.noncurrent_days, false)
    error_message = "noncurrent_days is a whole number from 1, or null to keep replaced versions for ever."
  }
}

variable "access_log_bucket" {
  description = "Bucket that gets this one's access logs, or null when the audit trail's data events suffice."
  type        = string
  default     = null
}

variable "force_destroy" {
  description = "Whether terraform destroy may delete a bucket that still holds sealed weights. For trials."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of the bucket."
  type        = map(string)
  default     = {}
}
