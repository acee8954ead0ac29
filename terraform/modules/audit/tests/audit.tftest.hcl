# The real provider, never contacted.

provider "aws" {
  #checkov:skip=CKV_AWS_41:No credentials: the provider asks for some, and is never let near AWS.
  region                      = "eu-central-1"
  access_key                  = "AKIAOFFLINE000000000"
  secret_key                  = "not-a-secret"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  name                   = "pcrgate-audit"
  account_id             = "111122223333"
  region                 = "eu-central-1"
  key_arns               = { weights = "arn:aws:kms:eu-central-1:111122223333:key/12345678-90ab-cdef-1234-567890abcdef" }
  data_event_bucket_arns = ["arn:aws:s3:::sealed-weights"]
  trail_bucket           = "pcrgate-trail"
  alarm_emails           = ["security@example.com"]
}

run "records_everything_and_alarms_for_what_must_not_happen" {
  command = plan

  assert {
    condition     = aws_cloudtrail.this.is_multi_region_trail && aws_cloudtrail.this.enable_log_file_validation
    error_message = "The trail leaves Regions out, or its files can be changed unnoticed."
  }

  assert {
    condition     = toset(flatten([for selector in aws_cloudtrail.this.advanced_event_selector : [for field in selector.field_selector : field.equals if field.field == "eventCategory"]])) == toset(["Management", "Data"])
    error_message = "KMS calls or object calls are not recorded."
  }


  assert {
    condition = keys(aws_cloudwatch_metric_alarm.this) == [
      "create-grant", "put-key-policy", "release-denied", "release-without-recipient", "schedule-key-deletion", "trail-changed",
    ]
    error_message = "An alarm is missing."
  }

  assert {
    condition = alltrue([
      for name, alarm in aws_cloudwatch_metric_alarm.this :
      alarm.metric_name == aws_cloudwatch_log_metric_filter.this[name].metric_transformation[0].name &&
      alarm.namespace == aws_cloudwatch_log_metric_filter.this[name].metric_transformation[0].namespace
    ])
    error_message = "An alarm listens to a metric that no filter feeds."
  }

  assert {
    condition     = alltrue([for filter in aws_cloudwatch_log_metric_filter.this : length(filter.pattern) <= 1024])
    error_message = "A pattern is longer than CloudWatch takes."
  }
}
