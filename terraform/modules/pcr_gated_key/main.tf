# A symmetric KMS key that releases to measured enclaves (or NitroTPM instances) and to nobody else. The policy is the
# template that `pcrgate policy render`, the prover and the twin read too; nothing is added to it here.

locals {
  templates = "${path.module}/../../../kms_policies/templates"
  template = join("", [
    var.attester == "nitrotpm" ? "nitrotpm_" : "",
    { weights = "model_weights_key", session = "session_key", credentials = "credentials_key" }[var.class],
    ".json.tftpl",
  ])

  enclave_registers  = ["pcr0", "pcr1", "pcr2", "pcr3", "pcr8"]
  nitrotpm_registers = ["pcr4", "pcr7", "pcr12"]
  known_registers    = var.attester == "nitrotpm" ? local.nitrotpm_registers : local.enclave_registers
  required_registers = var.attester == "nitrotpm" ? local.nitrotpm_registers : ["pcr0"]

  # What each measurement names, and the values of each register without repetitions, in the order of the list.
  named = [for one in var.measurements : sort([for field, value in one : field if startswith(field, "pcr") && value != null])]
  values = {
    for register in setunion(local.enclave_registers, local.nitrotpm_registers) :
    register => distinct([for one in var.measurements : one[register] if lookup(one, register, null) != null])
  }

  accounts   = concat([var.account_id], var.workload_account_ids)
  principals = concat(var.administrators, var.publishers, var.parents)
  partition  = try(split(":", var.administrators[0])[1], "aws")

  policy_text = templatefile("${local.templates}/${local.template}", {
    administrators = var.administrators
    publishers     = var.publishers
    parents        = var.parents
    accounts       = local.accounts
    pcr0           = local.values["pcr0"]
    pcr4           = local.values["pcr4"]
    pcr7           = local.values["pcr7"]
    pcr12          = local.values["pcr12"]
    further_pcrs = [
      for index in ["1", "2", "3", "8"] : {
        sid    = "DenyReleaseUnlessPCR${index}"
        key    = "kms:RecipientAttestation:PCR${index}"
        values = local.values["pcr${index}"]
      } if length(local.values["pcr${index}"]) > 0
    ]
    delegated_roots              = var.root_delegation ? ["arn:${local.partition}:iam::${var.account_id}:root"] : []
    minimum_deletion_window_days = tostring(var.deletion_window_days)
  })

  # Without white space, which counts towards the 32 kB that KMS stores.
  policy = jsonencode(jsondecode(local.policy_text))
}

resource "aws_kms_key" "this" {
  description              = "pcrgate: ${var.class}, released to measured code only"
  key_usage                = "ENCRYPT_DECRYPT"
  customer_master_key_spec = "SYMMETRIC_DEFAULT"
  multi_region             = false # a replica would have a policy of its own
  enable_key_rotation      = true
  rotation_period_in_days  = var.rotation_period_days
  deletion_window_in_days  = var.deletion_window_days
  policy                   = local.policy # here, and not in a resource of its own: the key never has AWS's default policy
  tags                     = merge(var.tags, { "pcrgate:class" = var.class })

  depends_on = [var.existing_principals]

  lifecycle {
    precondition {
      condition     = alltrue([for named in local.named : length(setsubtract(local.required_registers, named)) == 0])
      error_message = "A measurement lacks a register: give every one ${join(", ", local.required_registers)} (attester ${var.attester})."
    }

    precondition {
      condition     = alltrue([for named in local.named : length(setsubtract(named, local.known_registers)) == 0])
      error_message = "A measurement names a register of the other kind of attester: use only ${join(", ", local.known_registers)} (attester ${var.attester})."
    }

    precondition {
      condition     = length(distinct(local.named)) == 1
      error_message = "The measurements name different registers: give each the same ones. A condition on a register holds for all of them."
    }

    precondition {
      condition     = alltrue([for one in var.measurements : timecmp(plantimestamp(), one["expires"]) < 0])
      error_message = "A measurement has expired: ${join(", ", [for one in var.measurements : one["name"] if timecmp(plantimestamp(), one["expires"]) >= 0])}. Remove it from the measurements, or sign them anew with a later end."
    }

    precondition {
      condition     = (var.class == "session") == (length(var.publishers) == 0)
      error_message = var.class == "session" ? "publishers is given for a session key: leave it out, nobody seals session keys." : "publishers is empty: name who seals for this key."
    }

    precondition {
      condition     = length(distinct(local.principals)) == length(local.principals)
      error_message = "A principal has two of the roles administrator, publisher and parent, or stands twice: use a principal of its own for each role."
    }

    precondition {
      condition     = alltrue([for arn in local.principals : contains(local.accounts, try(split(":", arn)[4], ""))])
      error_message = "A principal belongs to an account that is not named: list its account in workload_account_ids, or correct the ARN."
    }

    precondition {
      condition     = length(distinct([for arn in local.principals : try(split(":", arn)[1], "")])) == 1
      error_message = "The principals are of several partitions: a key and its principals are of one."
    }

    precondition {
      condition     = length(distinct(local.accounts)) == length(local.accounts)
      error_message = "An account stands twice: workload_account_ids holds other accounts than account_id, each once."
    }

    precondition {
      condition     = var.root_administers || alltrue([for arn in var.administrators : !endswith(arn, ":root")])
      error_message = "administrators holds an account root: name a role or user, or set root_administers to true if that is meant."
    }

    precondition {
      condition     = length(local.policy) <= 32768
      error_message = "The key policy has ${length(local.policy)} bytes, and KMS stores at most 32768: approve fewer measurements."
    }
  }
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}
