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

output "approved_measurements" {
  description = "The approved measurements with names and ends, PCR values by index."
  value       = module.key[var.classes[0]].reference_values
}

output "agent_trust_policy" {
  description = "The trust policy of agents, as JSON text for a file that pcrgate.client reads: roots, approved measurements, Region, and whose manifests count."
  value = jsonencode({
    version = 1
    roots   = jsondecode(length(var.development_roots) == 0 ? jsonencode("aws") : jsonencode(var.development_roots))
    pcr0    = local.registers["pcr0"]
    pcrs    = { for register, values in local.registers : trimprefix(register, "pcr") => values if register != "pcr0" }
    regions = [var.region]
    manifest = {
      publisher_keys = var.manifest_publisher_keys
      floor_epoch    = var.manifest_floor_epoch
    }
  })
}

output "enclave_configuration" {
  description = "The configuration that the enclave's image is built with, as JSON text for a file. It becomes part of PCR0, so a new key means a new image."
  value = jsonencode({
    version              = 1
    publisher_keys       = var.manifest_publisher_keys
    manifest_floor_epoch = var.manifest_floor_epoch
    pinned_keys          = values(local.key_arns)
    allow_multi_region   = false
    fips                 = false
    workloads            = var.workloads
    weights_max_bytes    = var.weights_max_bytes
    session_lifetime_s   = var.session_lifetime_s
    ca_bundle            = var.ca_bundle
    development_roots    = var.development_roots
  })
}
