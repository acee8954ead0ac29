variable "name" {
  description = "Name of the trail; log group, topic and alarms are named after it."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{2,39}$", var.name))
    error_message = "name is 3 to 40 characters a-z, 0-9 and dash: choose another name."
  }
}

variable "account_id" {
  description = "Account that is watched, twelve digits: the one that owns the keys. KMS records a call in the caller's account and in the key owner's."
  type        = string

  validation {
    condition     = can(regex("^\\d{12}$", var.account_id))
    error_message = "account_id is twelve digits: give the account that owns the keys."
  }
}

variable "partition" {
  description = "Partition of the account: aws, aws-us-gov or aws-cn."
  type        = string
  default     = "aws"
}

variable "region" {
  description = "Region of the trail's home."
  type        = string
}

variable "key_arns" {
  description = "Full ARNs of the gated keys, by class."
  type        = map(string)

  validation {
    condition     = length(var.key_arns) > 0 && length(var.key_arns) <= 8
    error_message = "key_arns is empty, or holds more than 8 keys, what fits into one filter pattern: give the gated keys, in several audits if need be."
  }
}

variable "data_event_bucket_arns" {
  description = "Buckets whose object calls are recorded: those of sealed weights, if they are in this account or its organization."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "trail_bucket" {
  description = "Name of the bucket that keeps the records, made here."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.trail_bucket))
    error_message = "trail_bucket is 3 to 63 characters a-z, 0-9 and dash: choose another name."
  }
}

variable "kms_key_arn" {
  description = "Customer managed key for records, log group and topic, or null for AWS's encryption. Its policy must admit cloudtrail, logs and cloudwatch. Never a gated key."
  type        = string
  default     = null
}

variable "retention_days" {
  description = "How many days the log group keeps records."
  type        = number
  default     = 400

  validation {
    condition     = contains([365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.retention_days)
    error_message = "retention_days is one of 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 and 3653, the values from a year that CloudWatch Logs takes."
  }
}

variable "record_expiry_days" {
  description = "How many days the bucket keeps records; null keeps them for ever."
  type        = number
  default     = 2557

  validation {
    condition     = var.record_expiry_days == null || try(var.record_expiry_days >= 365 && floor(var.record_expiry_days) == var.record_expiry_days, false)
    error_message = "record_expiry_days is a whole number from 365, or null to keep records for ever."
  }
}

variable "alarm_emails" {
  description = "Addresses that are asked to subscribe to the alarms. Each has to confirm by mail."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "denied_releases_per_five_minutes" {
  description = "How many refused releases in five minutes raise the alarm. A roll-over that was done in the wrong order shows here."
  type        = number
  default     = 1
}

variable "force_destroy" {
  description = "Whether terraform destroy may delete a bucket that still holds records. For trials."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of everything that takes tags."
  type        = map(string)
  default     = {}
}
