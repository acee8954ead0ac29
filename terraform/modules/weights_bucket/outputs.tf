output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.this.id
}

output "bucket_arn" {
  description = "ARN of the bucket, built from its name: known when it is planned."
  value       = local.arn
}

output "policy_json" {
  description = "The bucket policy."
  value       = aws_s3_bucket_policy.this.policy
}
