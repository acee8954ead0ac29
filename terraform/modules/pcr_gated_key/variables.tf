# Nothing here that decides who gets plaintext has a default: an input that was forgotten is refused, it never turns into
# a key without a condition.

variable "name" {
  description = "Name of the key; the alias is alias/NAME. Nothing releases through the alias, people find the key by it."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9_-]{0,63}$", var.name)) && !startswith(var.name, "aws-")
    error_message = "name is 1 to 64 characters a-z, 0-9, dash and underscore, and does not start with aws-: choose another name."
  }
}

variable "class" {
  description = "Class of the secrets that the key wraps: weights, session or credentials. Each class has a key of its own."
  type        = string

  validation {
    condition     = contains(["weights", "session", "credentials"], var.class)
    error_message = "class is weights, session or credentials: make one key for each class that you need."
  }
}

variable "attester" {
  description = "Who attests: enclave (PCR0, optionally 1, 2, 3 and 8) or nitrotpm (PCR4, 7 and 12 together)."
  type        = string
  default     = "enclave"

  validation {
    condition     = contains(["enclave", "nitrotpm"], var.attester)
    error_message = "attester is enclave or nitrotpm: choose the one whose measurements you list."
  }
}

variable "measurements" {
  description = "The approved measurements, as in a signed measurements file: jsondecode(file(\"measurements.json\")).measurements. Each has name, expires (RFC 3339) and PCRs as 96 lower-case hex digits: pcr0, and optionally pcr1, pcr2, pcr3, pcr8; or pcr4, pcr7 and pcr12."
  type        = list(map(string))
  nullable    = false

  validation {
    condition     = length(var.measurements) > 0
    error_message = "measurements is empty: list at least one approved measurement, for example jsondecode(file(\"measurements.json\")).measurements. A key without a measurement is never made."
  }

  validation {
    condition = alltrue(flatten([
      for one in var.measurements : [
        for field in keys(one) : contains(
          ["name", "expires", "pcr0", "pcr1", "pcr2", "pcr3", "pcr4", "pcr7", "pcr8", "pcr12"], field
        )
      ]
    ]))
    error_message = "A measurement has an unknown field: write name, expires, pcr0, pcr1, pcr2, pcr3 and pcr8, or pcr4, pcr7 and pcr12. A misspelt register would not be conditioned on."
  }

  validation {
    condition = alltrue(flatten([
      for one in var.measurements : [
        for field, value in one : value == null || can(regex("^[0-9a-f]{96}$", value)) if startswith(field, "pcr")
      ]
    ]))
    error_message = "A PCR is not 96 lower-case hex digits: ${join("; ", flatten([
      for one in var.measurements : [
        for field, value in one : "${lookup(one, "name", "(no name)")}: ${field} has ${length(value)} characters"
        if startswith(field, "pcr") && value != null && !can(regex("^[0-9a-f]{96}$", value))
      ]
    ]))}. Copy it from the image build's output."
  }

  validation {
    # PCR12 may be zero: no command line was added to what NitroTPM's PCR4 measures.
    condition = alltrue(flatten([
      for one in var.measurements : [
        for field, value in one : value == null || !can(regex("^0+$", value))
        if startswith(field, "pcr") && field != "pcr12"
      ]
    ]))
    error_message = "A PCR is all zero, which is what a debug enclave measures: build the image without debug mode and list what that build prints."
  }

  validation {
    condition = alltrue([
      for one in var.measurements : can(regex("^[a-z0-9][a-z0-9._-]{0,63}$", lookup(one, "name", "")))
    ]) && length(distinct([for one in var.measurements : lookup(one, "name", "")])) == length(var.measurements)
    error_message = "Every measurement has a name of its own, 1 to 64 characters a-z, 0-9, dot, dash and underscore: name the release it belongs to."
  }

  validation {
    condition = alltrue([
      for one in var.measurements :
      can(regex("^20\\d\\d-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ$", lookup(one, "expires", ""))) &&
      can(formatdate("YYYY", lookup(one, "expires", "")))
    ])
    error_message = "Every measurement ends: give each expires as an RFC 3339 time in UTC, such as 2027-06-01T00:00:00Z."
  }
}

variable "account_id" {
  description = "Account that owns the key, twelve digits. It may be another one than the workload's, and better is."
  type        = string

  validation {
    condition     = can(regex("^\\d{12}$", var.account_id))
    error_message = "account_id is twelve digits: give the account that owns the key."
  }
}

variable "workload_account_ids" {
  description = "Other accounts whose roles or users are named as parents, publishers or administrators."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for account in var.workload_account_ids : can(regex("^\\d{12}$", account))])
    error_message = "workload_account_ids holds accounts of twelve digits: list each account whose principals are named."
  }
}

variable "administrators" {
  description = "Full ARNs of the roles or users that manage the key and can use it for nothing. Terraform must run as one of them."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.administrators) > 0
    error_message = "administrators is empty: name at least one role that may change the key policy, better two. Without one, only AWS Support could."
  }

  validation {
    condition     = alltrue([for arn in var.administrators : !can(regex("[*?$]", arn))])
    error_message = "administrators holds a wildcard or variable: name each role or user by its full ARN."
  }

  validation {
    condition = alltrue([
      for arn in var.administrators :
      can(regex("^arn:aws(-us-gov|-cn)?:iam::\\d{12}:(root|(role|user)/([!-)+->@-~]+/)?[\\w+=,.@-]{1,64})$", arn)) if !can(regex("[*?$]", arn))
    ])
    error_message = "administrators holds something else than ARNs of roles or users: write arn:aws:iam::ACCOUNT:role/NAME, not a session, a name or an account."
  }
}

variable "publishers" {
  description = "Full ARNs of the roles or users that seal for the key (kms:Encrypt and nothing else). Empty for the class session, for which nobody seals."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.publishers : !can(regex("[*?$]", arn))])
    error_message = "publishers holds a wildcard or variable: name each role or user by its full ARN."
  }

  validation {
    condition = alltrue([
      for arn in var.publishers :
      can(regex("^arn:aws(-us-gov|-cn)?:iam::\\d{12}:(role|user)/([!-)+->@-~]+/)?[\\w+=,.@-]{1,64}$", arn)) if !can(regex("[*?$]", arn))
    ])
    error_message = "publishers holds something else than ARNs of roles or users: write arn:aws:iam::ACCOUNT:role/NAME, not a session, a name or an account root."
  }
}

variable "parents" {
  description = "Full ARNs of the roles whose calls carry the enclave's attestation. Build them from account and name, so that the policy is known when it is planned."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.parents) > 0
    error_message = "parents is empty: name the role of the instance that relays the enclave's calls."
  }

  validation {
    condition     = alltrue([for arn in var.parents : !can(regex("[*?$]", arn))])
    error_message = "parents holds a wildcard or variable: name each role or user by its full ARN."
  }

  validation {
    condition = alltrue([
      for arn in var.parents :
      can(regex("^arn:aws(-us-gov|-cn)?:iam::\\d{12}:(role|user)/([!-)+->@-~]+/)?[\\w+=,.@-]{1,64}$", arn)) if !can(regex("[*?$]", arn))
    ])
    error_message = "parents holds something else than ARNs of roles or users: write arn:aws:iam::ACCOUNT:role/NAME, not a session, a name or an account root."
  }
}

variable "existing_principals" {
  description = "Whatever must exist before the policy names it, such as the ids of the roles made beside this module: KMS refuses policies that name unknown principals."
  type        = any
  default     = []
}

variable "deletion_window_days" {
  description = "Waiting period of a deletion, 7 to 30 days; the policy refuses shorter ones."
  type        = number
  default     = 30

  validation {
    condition     = var.deletion_window_days >= 7 && var.deletion_window_days <= 30 && floor(var.deletion_window_days) == var.deletion_window_days
    error_message = "deletion_window_days is a whole number from 7 to 30, what KMS takes: 30 leaves the longest time to notice."
  }
}

variable "rotation_period_days" {
  description = "How often KMS makes new key material, 90 to 2560 days; older ciphertexts still open."
  type        = number
  default     = 365

  validation {
    condition     = var.rotation_period_days >= 90 && var.rotation_period_days <= 2560 && floor(var.rotation_period_days) == var.rotation_period_days
    error_message = "rotation_period_days is a whole number from 90 to 2560, what KMS takes."
  }
}

variable "root_delegation" {
  description = "Whether IAM policies of the owning account may add to the key policy. The Deny statements hold against those too, but every policy of the account has to be watched."
  type        = bool
  default     = false
  nullable    = false
}

variable "root_administers" {
  description = "Whether the account's root ARN may stand among the administrators, as a way back in."
  type        = bool
  default     = false
  nullable    = false
}

variable "tags" {
  description = "Tags of the key, beside pcrgate:class."
  type        = map(string)
  default     = {}
}
