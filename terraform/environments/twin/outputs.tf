output "key_arns" {
  description = "Full ARN of each key, by class."
  value       = module.deployment.key_arns
}

output "key_policies" {
  description = "Key policy of each key, by class."
  value       = module.deployment.key_policies
}

output "parent_role_arn" {
  description = "ARN of the parent's role."
  value       = module.deployment.parent_role_arn
}

output "publisher_role_arn" {
  description = "ARN of the publisher's role."
  value       = module.deployment.publisher_role_arn
}

output "agent_trust_policy" {
  description = "What agents need in order to appraise evidence."
  value       = module.deployment.agent_trust_policy
}

output "enclave_configuration" {
  description = "What the enclave's image is built with."
  value       = module.deployment.enclave_configuration
}

output "alarm_patterns" {
  description = "The filter pattern of each alarm."
  value       = module.deployment.alarm_patterns
}
