# A deployment over two accounts. Copy this folder, change terraform.tfvars, and keep your measurements file beside it.

terraform {
  required_version = ">= 1.6"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }

  # State holds no secret, but whoever can write it can steer the next apply: keep it where the administrators are, with
  # versions and a lock. A backend is named with `terraform init -backend-config=...`.
}

# Runs as one of the keys' administrators: KMS refuses a policy that would shut out whoever puts it.
provider "aws" {
  alias               = "keys"
  region              = var.region
  allowed_account_ids = [var.key_account_id]

  assume_role {
    role_arn = var.administrators[0]
  }
}

provider "aws" {
  alias               = "workload"
  region              = var.region
  allowed_account_ids = [var.workload_account_id]

  assume_role {
    role_arn = var.workload_role_arn
  }
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

  # The file is signed. Terraform cannot check the signature, and a program called from here that did would be one more
  # thing to trust: the pipeline runs `pcrgate measurements verify` before it plans (docs/terraform.md).
  measurements = jsondecode(file("${path.module}/${var.measurements_file}")).measurements

  vpc_id          = var.vpc_id
  subnet_id       = var.subnet_id
  route_table_ids = var.route_table_ids
  ami_id          = var.ami_id
  client_cidrs    = var.client_cidrs
  bucket          = "${var.name}-weights-${var.workload_account_id}"
  trail_bucket    = "${var.name}-trail-${var.key_account_id}"
  alarm_emails    = var.alarm_emails
}
