# What raises an alarm, as filter patterns of CloudWatch Logs over CloudTrail's records.
#
# CloudTrail names the enclave of a release under additionalEventData.recipient. A refused call has no such field, so
# whether it was attested cannot be told from the record: every refused release counts as denied.

locals {
  of_gated_key = join(" || ", [for class in sort(keys(var.key_arns)) : "($.resources[0].ARN = \"${var.key_arns[class]}\")"])

  release = join(" || ", [
    for operation in ["Decrypt", "GenerateDataKey", "GenerateDataKeyPair", "DeriveSharedSecret"] : "($.eventName = \"${operation}\")"
  ])

  patterns = {
    release-denied = {
      description = "KMS refused to release to a caller of a gated key: a wrong image, a roll-over in the wrong order, or somebody trying"
      pattern     = "{ ($.eventSource = \"kms.amazonaws.com\") && (${local.release}) && ($.errorCode = \"AccessDenied*\") && (${local.of_gated_key}) }"
      threshold   = var.denied_releases_per_five_minutes
    }
    release-without-recipient = {
      description = "A gated key released in the clear: the policy was opened. Look at PutKeyPolicy and CreateGrant, disable the key"
      pattern     = "{ ($.eventSource = \"kms.amazonaws.com\") && (${local.release}) && ($.errorCode NOT EXISTS) && ($.additionalEventData.recipient.attestationDocumentModuleId NOT EXISTS) && (${local.of_gated_key}) }"
      threshold   = 1
    }
    put-key-policy = {
      description = "Somebody changed, or tried to change, the policy of a KMS key: compare it with the plan's"
      pattern     = "{ ($.eventSource = \"kms.amazonaws.com\") && ($.eventName = \"PutKeyPolicy\") }"
      threshold   = 1
    }
    create-grant = {
      description = "Somebody made, or tried to make, a grant on a gated key: a grant carries no attestation condition"
      pattern     = "{ ($.eventSource = \"kms.amazonaws.com\") && ($.eventName = \"CreateGrant\") && (${local.of_gated_key}) }"
      threshold   = 1
    }
    schedule-key-deletion = {
      description = "Somebody scheduled the deletion of a KMS key, or disabled one: cancel it within the waiting period"
      pattern     = "{ ($.eventSource = \"kms.amazonaws.com\") && (($.eventName = \"ScheduleKeyDeletion\") || ($.eventName = \"DisableKey\")) }"
      threshold   = 1
    }
    trail-changed = {
      description = "Somebody stopped or changed the trail that these alarms hear from"
      pattern     = "{ ($.eventSource = \"cloudtrail.amazonaws.com\") && (($.eventName = \"StopLogging\") || ($.eventName = \"DeleteTrail\") || ($.eventName = \"UpdateTrail\") || ($.eventName = \"PutEventSelectors\")) }"
      threshold   = 1
    }
  }
}
