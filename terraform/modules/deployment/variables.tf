variable "name" {
  description = "Name of the deployment; everything is named after it."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{2,23}$", var.name))
    error_message = "name is 3 to 24 characters a-z, 0-9 and dash: choose another name."
  }
}

variable "partition" {
  description = "Partition of both accounts: aws or aws-us-gov."
  type        = string
  default     = "aws"
}

variable "region" {
  description = "Region of keys and host."
  type        = string
}

variable "key_account_id" {
  description = "Account that owns the keys, twelve digits."
  type        = string
}

variable "workload_account_id" {
  description = "Account of host, bucket and publisher, twelve digits. Better another one than the keys'."
  type        = string
}

variable "classes" {
  description = "Classes of secrets; each gets a key of its own."
  type        = list(string)
  default     = ["weights", "session", "credentials"]
}

variable "measurements" {
  description = "The approved measurements of enclave images, as in a signed measurements file: jsondecode(file(\"measurements.json\")).measurements."
  type        = list(map(string))
  nullable    = false
}

variable "manifest_publisher_keys" {
  description = "Ed25519 public keys, 64 hex digits each, whose release manifests enclave and agents believe."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.manifest_publisher_keys) > 0 && alltrue([for key in var.manifest_publisher_keys : can(regex("^[0-9a-f]{64}$", key))])
    error_message = "manifest_publisher_keys is empty or holds something else than 64 lower-case hex digits: give the public keys that pcrgate manifest keygen printed."
  }
}

variable "manifest_floor_epoch" {
  description = "Least epoch of a release manifest: what enclave and agents take no older one than."
  type        = number

  validation {
    condition     = var.manifest_floor_epoch >= 1 && floor(var.manifest_floor_epoch) == var.manifest_floor_epoch
    error_message = "manifest_floor_epoch is a whole number from 1: give the epoch of the oldest manifest that may still run."
  }
}

variable "administrators" {
  description = "Full ARNs of the roles or users that manage the keys; the provider aws.keys runs as one of them. They exist before this."
  type        = list(string)
  nullable    = false
}

variable "publisher_principals" {
  description = "Full ARNs of who may assume the publisher's role."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.publisher_principals) > 0 && alltrue([for arn in var.publisher_principals : can(regex("^arn:aws(-us-gov)?:iam::\\d{12}:(role|user)/[\\w+=,.@/-]+$", arn))])
    error_message = "publisher_principals is empty or holds something else than full ARNs of roles or users: name who seals, such as the release pipeline's role."
  }
}

variable "deletion_window_days" {
  description = "Waiting period of a key's deletion, 7 to 30 days."
  type        = number
  default     = 30
}

variable "vpc_id" {
  description = "The VPC that the host is in."
  type        = string
}

variable "subnet_id" {
  description = "The private subnet that the host is in."
  type        = string
}

variable "route_table_ids" {
  description = "Route tables of that subnet."
  type        = list(string)
}

variable "ami_id" {
  description = "The host's image, pinned by id."
  type        = string
}

variable "instance_type" {
  description = "An instance type with enclaves."
  type        = string
  default     = "m6i.2xlarge"
}

variable "enclave_memory_mib" {
  description = "Memory reserved for the enclave."
  type        = number
  default     = 8192
}

variable "enclave_cpu_count" {
  description = "vCPUs reserved for the enclave."
  type        = number
  default     = 2
}

variable "root_volume_gib" {
  description = "Size of the host's root volume: the system, and the sealed files that the parent keeps."
  type        = number
  default     = 30
}

variable "service_port" {
  description = "TCP port of the parent service."
  type        = number
  default     = 8443
}

variable "client_cidrs" {
  description = "Networks that agents call from."
  type        = list(string)
}

variable "bucket" {
  description = "Name of the bucket of sealed weights."
  type        = string
}

variable "object_lock" {
  description = "Object lock of the bucket of sealed weights, { mode, days }, or null."
  type = object({
    mode = string
    days = number
  })
  default = null
}

variable "noncurrent_days" {
  description = "How many days replaced or deleted versions of sealed weights stay; null keeps them for ever."
  type        = number
  default     = 90
}

variable "record_expiry_days" {
  description = "How many days the trail's bucket keeps records; null keeps them for ever."
  type        = number
  default     = 2557
}

variable "trail_bucket" {
  description = "Name of the bucket of the audit trail's records, in the key account."
  type        = string
}

variable "alarm_emails" {
  description = "Addresses that are asked to subscribe to the alarms."
  type        = list(string)
  default     = []
}

variable "force_destroy" {
  description = "Whether terraform destroy may delete buckets that are not empty. For trials."
  type        = bool
  default     = false
}

variable "workloads" {
  description = "Which of the image's workloads start."
  type        = list(string)
  default     = ["infer", "validate"]
}

variable "weights_max_bytes" {
  description = "Most memory of the enclave for all weights together."
  type        = number
  default     = 4294967296
}

variable "session_lifetime_s" {
  description = "Longest session, seconds."
  type        = number
  default     = 3600
}

variable "development_roots" {
  description = "SHA-256 fingerprints of a twin's root, hex. Agents then trust it instead of AWS's; a production image refuses it."
  type        = list(string)
  default     = []
}

variable "ca_bundle" {
  description = "Name of a PEM file beside the enclave's configuration with the CAs for KMS, or null for those of the image. For a twin."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of everything that takes tags."
  type        = map(string)
  default     = {}
}
