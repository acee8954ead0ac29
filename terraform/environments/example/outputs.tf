output "key_arns" {
  description = "Full ARN of each key, by class."
  value       = module.deployment.key_arns
}

output "key_policies" {
  description = "Key policy of each key, by class, exactly as sent to KMS."
  value       = module.deployment.key_policies
}

output "agent_trust_policy" {
  description = "terraform output -raw agent_trust_policy > trust-policy.json"
  value       = module.deployment.agent_trust_policy
}

output "enclave_configuration" {
  description = "terraform output -raw enclave_configuration > configuration.json, before the image is built"
  value       = module.deployment.enclave_configuration
}
