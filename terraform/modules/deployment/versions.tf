terraform {
  required_version = ">= 1.6"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"

      # keys: the account that owns the keys, as one of their administrators. workload: the account that the host is in.
      configuration_aliases = [aws.keys, aws.workload]
    }
  }
}
