variable "name" {
  description = "Name of the deployment."
  type        = string
  default     = "pcrgate-twin"
}

variable "region" {
  description = "Region of keys and host."
  type        = string
  default     = "eu-central-1"
}

variable "key_account_id" {
  description = "The twin's account that owns the keys."
  type        = string
}

variable "workload_account_id" {
  description = "The twin's account of the host; another one, or the same."
  type        = string
}

variable "credentials" {
  description = "Bootstrap access key of each of the two accounts, by account."
  sensitive   = true
  type = map(object({
    access_key_id     = string
    secret_access_key = string
  }))
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
  description = "Administrators of the keys, made beforehand in the key account; Terraform assumes the first."
  type        = list(string)

  validation {
    condition     = length(var.administrators) > 0
    error_message = "administrators is empty: make a role in the key account and name it, Terraform runs as it."
  }
}

variable "publisher_principals" {
  description = "Who may assume the publisher's role; the twin lets anybody."
  type        = list(string)
}

variable "measurements" {
  description = "The approved measurements, where no file is given."
  type        = list(map(string))
  default     = []
}

variable "measurements_file" {
  description = "Path of a measurements file, or null."
  type        = string
  default     = null
}

variable "development_roots" {
  description = "SHA-256 fingerprint of the twin's root, hex: PCRGATE_TWIN_ROOT_SHA256 of pcrgate twin env."
  type        = list(string)
}

variable "ca_bundle" {
  description = "Name of the PEM file with the twin's CA, beside the enclave's configuration."
  type        = string
  default     = null
}

variable "ami_id" {
  description = "An image that the twin knows."
  type        = string
}
