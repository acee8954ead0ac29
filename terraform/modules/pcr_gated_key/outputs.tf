output "key_arn" {
  description = "Full ARN of the key. Manifests, the enclave's configuration and IAM policies name the key by it, never by the alias."
  value       = aws_kms_key.this.arn
}

output "key_id" {
  description = "Id of the key, for terraform import and the console."
  value       = aws_kms_key.this.key_id
}

output "alias_arn" {
  description = "ARN of the alias, for people."
  value       = aws_kms_alias.this.arn
}

output "policy_json" {
  description = "The key policy, exactly as it is sent to KMS. Its SHA-384, which receipts carry, is what pcrgate policy digest prints of plan or state."
  value       = local.policy
}

output "policy_sha256" {
  description = "SHA-256 of policy_json, hex: changes when, and only when, the policy does."
  value       = sha256(local.policy)
}

output "class" {
  description = "The class of secrets that the key wraps."
  value       = var.class
}

output "approved_registers" {
  description = "Values that the policy lists, by register (pcr0, ...), for the policies of roles."
  value       = { for register, values in local.values : register => values if length(values) > 0 }
}

output "reference_values" {
  description = "The approved measurements as agents need them: name, expires and PCR values by index."
  value = [
    for one in var.measurements : {
      name    = one["name"]
      expires = one["expires"]
      pcrs    = { for field, value in one : trimprefix(field, "pcr") => value if startswith(field, "pcr") && value != null }
    }
  ]
}
