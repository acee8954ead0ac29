# The same deployment against a running twin: AWS_ENDPOINT_URL and AWS_CA_BUNDLE lead there (`pcrgate twin env`). Two
# accounts, an administrator that Terraform runs as, and a network that the example expects to be there already.

terraform {
  required_version = ">= 1.6"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
}

provider "aws" {
  alias             = "keys"
  region            = var.region
  access_key        = var.credentials[var.key_account_id].access_key_id
  secret_key        = var.credentials[var.key_account_id].secret_access_key
  s3_use_path_style = true

  assume_role {
    role_arn = var.administrators[0]
  }
}

provider "aws" {
  alias             = "workload"
  region            = var.region
  access_key        = var.credentials[var.workload_account_id].access_key_id
  secret_key        = var.credentials[var.workload_account_id].secret_access_key
  s3_use_path_style = true
}

locals {
  # From a measurements file or from the variable, as the caller likes.
  measurements = var.measurements_file == null ? var.measurements : jsondecode(file(var.measurements_file)).measurements
}

resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11:A network in a twin carries nothing.
  #checkov:skip=CKV2_AWS_12:A network in a twin carries nothing.
  provider             = aws.workload
  cidr_block           = "10.20.0.0/16"
  enable_dns_support   = true
  enable_dns_hostnames = true
}

resource "aws_subnet" "this" {
  provider   = aws.workload
  vpc_id     = aws_vpc.this.id
  cidr_block = "10.20.1.0/24"
}

resource "aws_route_table" "this" {
  provider = aws.workload
  vpc_id   = aws_vpc.this.id
}

module "deployment" {
  source    = "../../modules/deployment"
  providers = { aws.keys = aws.keys, aws.workload = aws.workload }

  name                    = var.name
  region                  = var.region
  key_account_id          = var.key_account_id
  workload_account_id     = var.workload_account_id
  administrators          = var.administrators
  publisher_principals    = var.publisher_principals
  manifest_publisher_keys = var.manifest_publisher_keys
  manifest_floor_epoch    = var.manifest_floor_epoch
  measurements            = local.measurements
  vpc_id                  = aws_vpc.this.id
  subnet_id               = aws_subnet.this.id
  route_table_ids         = [aws_route_table.this.id]
  ami_id                  = var.ami_id
  client_cidrs            = ["10.20.0.0/16"]
  bucket                  = "${var.name}-weights"
  trail_bucket            = "${var.name}-trail"
  force_destroy           = true
  development_roots       = var.development_roots
  ca_bundle               = var.ca_bundle
  noncurrent_days         = null # the provider takes a minute to see that a life cycle holds, and a twin keeps nothing anyway
  record_expiry_days      = null
}
