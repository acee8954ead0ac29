variable "name" {
  description = "Name of the deployment."
  type        = string
}

variable "region" {
  description = "Region of keys and host."
  type        = string
}

variable "key_account_id" {
  description = "Account that owns the keys."
  type        = string
}

variable "workload_account_id" {
  description = "Account of host, bucket and publisher."
  type        = string
}

variable "manifest_publisher_keys" {
  description = "Ed25519 public keys, hex, whose release manifests count."
  type        = list(string)
}

variable "manifest_floor_epoch" {
  description = "Least epoch of a release manifest."
  type        = number
}

variable "administrators" {
  description = "Roles that manage the keys; Terraform assumes the first, the second is the way back in."
  type        = list(string)

  validation {
    condition     = length(var.administrators) > 0
    error_message = "administrators is empty: name at least one role that may change the key policy, better two."
  }
}

variable "workload_role_arn" {
  description = "Role that Terraform assumes in the workload account. It must not be an administrator of the keys."
  type        = string
}

variable "publisher_principals" {
  description = "Who may assume the publisher's role, for example the release pipeline."
  type        = list(string)
}

variable "measurements_file" {
  description = "The signed measurements file, relative to this folder and checked in beside it."
  type        = string
  default     = "measurements.json"
}

variable "vpc_id" {
  description = "VPC of the host."
  type        = string
}

variable "subnet_id" {
  description = "Private subnet of the host."
  type        = string
}

variable "route_table_ids" {
  description = "Route tables of that subnet."
  type        = list(string)
}

variable "ami_id" {
  description = "The host's image."
  type        = string
}

variable "client_cidrs" {
  description = "Networks that agents call from."
  type        = list(string)
}

variable "alarm_emails" {
  description = "Who hears of alarms."
  type        = list(string)
}
