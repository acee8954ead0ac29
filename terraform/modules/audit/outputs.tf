output "trail_arn" {
  description = "ARN of the trail."
  value       = aws_cloudtrail.this.arn
}

output "topic_arn" {
  description = "The topic that alarms go to; subscribe your pager to it."
  value       = aws_sns_topic.alarms.arn
}

output "log_group_name" {
  description = "The log group that alarms read."
  value       = aws_cloudwatch_log_group.trail.name
}

output "patterns" {
  description = "The filter pattern of each alarm."
  value       = { for name, one in local.patterns : name => one.pattern }
}
