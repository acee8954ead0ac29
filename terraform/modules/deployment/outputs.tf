output "key_arns" {
  description = "Full ARN of each key, by class."
  value       = local.key_arns
}

output "key_policies" {
  description = "Key policy of each key, by class, exactly as sent to KMS."
  value       = { for class, key in module.key : class => key.policy_json }
}

output "key_policy_sha256" {
  description = "SHA-256 of each key policy, by class, hex."
  value       = { for class, key in module.key : class => key.policy_sha256 }
}

output "parent_role_arn" {
  description = "ARN of the parent's role."
  value       = local.parent_arn
}

output "publisher_role_arn" {
  description = "ARN of the publisher's role."
  value       = local.publisher_arn
}

output "bucket" {
  description = "The bucket of sealed weights."
  value       = module.bucket.bucket
}

output "instance_id" {
  description = "The host."
  value       = module.host.instance_id
}

output "alarm_patterns" {
  description = "The filter pattern of each alarm."
  value       = module.audit.patterns
}

output "alarm_topic_arn" {
  description = "The topic that alarms go to."
  value       = module.audit.topic_arn
}

output "agent_trust_policy" {
  description = "What agents need in order to appraise evidence, as JSON text for a file: the approved measurements with their ends, the Region, the keys, and the hash of each key policy."
  value = jsonencode({
    version           = "1"
    attester          = "enclave"
    regions           = [var.region]
    reference_values  = module.key[var.classes[0]].reference_values
    key_arns          = local.key_arns
    key_policy_sha256 = { for class, key in module.key : class => key.policy_sha256 }
  })
}

output "enclave_configuration" {
  description = "What the enclave's image must be built with, as JSON text for a file: keys, account, Region and the host that KMS's certificate must name. It becomes part of PCR0, so a new key means a new image."
  value = jsonencode({
    version     = "1"
    key_arns    = local.key_arns
    key_account = var.key_account_id
    region      = var.region
    kms_host    = "kms.${var.region}.amazonaws.com"
  })
}
