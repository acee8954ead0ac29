output "role_arn" {
  description = "ARN of the parent's role, built from account and name: known when it is planned."
  value       = "arn:${var.partition}:iam::${var.account_id}:role/${var.name}"
}

output "role_exists" {
  description = "Known only once the role is there: pass it to existing_principals of the keys, so that they wait for it."
  value       = aws_iam_role.parent.unique_id
}

output "instance_id" {
  description = "Id of the instance. PCR4 of its enclaves is derived from it; do not pin that, a replaced instance has another."
  value       = aws_instance.parent.id
}

output "launch_template_id" {
  description = "The launch template, for instances and scaling groups made elsewhere."
  value       = aws_launch_template.parent.id
}

output "security_group_id" {
  description = "The host's security group."
  value       = aws_security_group.host.id
}

output "kms_endpoint_id" {
  description = "The KMS endpoint."
  value       = aws_vpc_endpoint.kms.id
}

output "s3_endpoint_id" {
  description = "The S3 endpoint; weights_bucket can admit reads through it alone."
  value       = aws_vpc_endpoint.s3.id
}
