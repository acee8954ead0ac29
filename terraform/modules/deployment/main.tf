# Keys, host, bucket and audit put together, over two accounts. There are no keys here but gated ones, so that
# `pcrgate policy prove` can hold every key of a plan to the same question.

locals {
  # Built from account and name, and not read from the resources: the key policies must be known when they are planned.
  parent_arn    = "arn:${var.partition}:iam::${var.workload_account_id}:role/${var.name}-parent"
  publisher_arn = "arn:${var.partition}:iam::${var.workload_account_id}:role/${var.name}-publisher"

  registers   = module.key[var.classes[0]].approved_registers
  key_arns    = { for class, key in module.key : class => key.key_arn }
  sealed_arns = { for class, arn in local.key_arns : class => arn if class != "session" }
}

module "key" {
  source    = "../pcr_gated_key"
  for_each  = toset(var.classes)
  providers = { aws = aws.keys }

  name                 = "${var.name}-${each.key}"
  class                = each.key
  account_id           = var.key_account_id
  workload_account_ids = var.workload_account_id == var.key_account_id ? [] : [var.workload_account_id]
  administrators       = var.administrators
  publishers           = each.key == "session" ? [] : [local.publisher_arn]
  parents              = [local.parent_arn]
  measurements         = var.measurements
  deletion_window_days = var.deletion_window_days
  existing_principals  = [module.host.role_exists, aws_iam_role.publisher.unique_id]
  tags                 = var.tags
}

resource "aws_iam_role" "publisher" {
  provider    = aws.workload
  name        = "${var.name}-publisher"
  description = "pcrgate: seals weights and credentials, and can open nothing"
  tags        = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { AWS = var.publisher_principals }
    }]
  })
}

resource "aws_iam_role_policy" "publisher" {
  provider = aws.workload
  count    = length(setsubtract(var.classes, ["session"])) > 0 ? 1 : 0
  name     = "seal"
  role     = aws_iam_role.publisher.id

  policy = jsonencode(jsondecode(templatefile(
    "${path.module}/../../../kms_policies/templates/publisher_role.json.tftpl",
    { key_arns = values(local.sealed_arns) }
  )))
}

module "host" {
  source    = "../enclave_host"
  providers = { aws = aws.workload }

  name               = "${var.name}-parent"
  account_id         = var.workload_account_id
  partition          = var.partition
  region             = var.region
  ami_id             = var.ami_id
  instance_type      = var.instance_type
  enclave_memory_mib = var.enclave_memory_mib
  enclave_cpu_count  = var.enclave_cpu_count
  root_volume_gib    = var.root_volume_gib
  vpc_id             = var.vpc_id
  subnet_id          = var.subnet_id
  route_table_ids    = var.route_table_ids
  service_port       = var.service_port
  client_cidrs       = var.client_cidrs
  key_arns           = local.key_arns
  approved_registers = local.registers
  bucket_arns        = [module.bucket.bucket_arn]
  tags               = var.tags
}

module "bucket" {
  source    = "../weights_bucket"
  providers = { aws = aws.workload }

  bucket              = var.bucket
  account_id          = var.workload_account_id
  partition           = var.partition
  readers             = [local.parent_arn]
  writers             = [local.publisher_arn]
  existing_principals = [module.host.role_exists, aws_iam_role.publisher.unique_id]
  object_lock         = var.object_lock
  noncurrent_days     = var.noncurrent_days
  force_destroy       = var.force_destroy
  tags                = var.tags
}

module "audit" {
  source    = "../audit"
  providers = { aws = aws.keys }

  name                   = "${var.name}-audit"
  account_id             = var.key_account_id
  partition              = var.partition
  region                 = var.region
  key_arns               = local.key_arns
  data_event_bucket_arns = var.workload_account_id == var.key_account_id ? [module.bucket.bucket_arn] : []
  trail_bucket           = var.trail_bucket
  alarm_emails           = var.alarm_emails
  record_expiry_days     = var.record_expiry_days
  force_destroy          = var.force_destroy
  tags                   = var.tags
}
