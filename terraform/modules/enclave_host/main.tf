# The parent instance: it starts the enclave, relays ciphertext, and is trusted with nothing but availability.

locals {
  role_arn = "arn:${var.partition}:iam::${var.account_id}:role/${aws_iam_role.parent.name}"

  policy_registers = {
    pcr0 = var.approved_registers["pcr0"]
    further_pcrs = [
      for index in ["1", "2", "3", "8"] : {
        sid    = "DenyReleaseUnlessPCR${index}"
        key    = "kms:RecipientAttestation:PCR${index}"
        values = var.approved_registers["pcr${index}"]
      } if length(lookup(var.approved_registers, "pcr${index}", [])) > 0
    ]
  }
}

# --- the role: only what the relay needs ---------------------------------------------------------------------------

resource "aws_iam_role" "parent" {
  name        = var.name
  description = "pcrgate: the parent of an enclave. Its calls carry the enclave's attestation; by itself it opens nothing."
  tags        = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "release" {
  name = "release-to-measured-enclave"
  role = aws_iam_role.parent.id
  policy = jsonencode(jsondecode(templatefile(
    "${path.module}/../../../kms_policies/templates/parent_role.json.tftpl",
    merge(local.policy_registers, { key_arns = values(var.key_arns) })
  )))
}

resource "aws_iam_role_policy" "sealed_weights" {
  count = length(var.bucket_arns) > 0 ? 1 : 0

  name = "read-sealed-weights"
  role = aws_iam_role.parent.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "ReadSealedWeights"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:GetObjectVersion"]
          Resource = [for arn in var.bucket_arns : "${arn}/*"]
        },
        {
          Sid      = "ListSealedWeights"
          Effect   = "Allow"
          Action   = ["s3:ListBucket", "s3:GetBucketLocation"]
          Resource = var.bucket_arns
        },
      ],
      length(var.bucket_key_arns) == 0 ? [] : [
        {
          Sid       = "OpenTheBucketsOwnEncryption"
          Effect    = "Allow"
          Action    = ["kms:Decrypt"]
          Resource  = var.bucket_key_arns
          Condition = { StringEquals = { "kms:ViaService" = ["s3.${var.region}.amazonaws.com"] } }
        },
      ],
    )
  })

  lifecycle {
    precondition {
      condition     = length(setintersection(var.bucket_key_arns, values(var.key_arns))) == 0
      error_message = "A gated key encrypts a bucket: give the bucket another key, S3 cannot attest."
    }
  }
}

resource "aws_iam_instance_profile" "parent" {
  name = var.name
  role = aws_iam_role.parent.name
  tags = var.tags
}

# --- the network: in by the service's port, out to the endpoints -----------------------------------------------------

resource "aws_security_group" "host" {
  name        = "${var.name}-host"
  description = "pcrgate parent: in by the service port, out to the KMS and S3 endpoints"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-host" })
}

resource "aws_vpc_security_group_ingress_rule" "service_from_network" {
  for_each = toset(var.client_cidrs)

  security_group_id = aws_security_group.host.id
  description       = "agents of a named network"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = var.service_port
  to_port           = var.service_port
}

resource "aws_vpc_security_group_ingress_rule" "service_from_group" {
  for_each = toset(var.client_security_group_ids)

  security_group_id            = aws_security_group.host.id
  description                  = "agents or load balancer of a named group"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = var.service_port
  to_port                      = var.service_port
}

resource "aws_vpc_security_group_egress_rule" "to_kms" {
  security_group_id            = aws_security_group.host.id
  description                  = "the relay to KMS; TLS ends in the enclave"
  referenced_security_group_id = aws_security_group.endpoint.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443

  lifecycle {
    ignore_changes = [description] # emulators forget it; it is set when the rule is made
  }
}

resource "aws_vpc_security_group_egress_rule" "to_s3" {
  security_group_id = aws_security_group.host.id
  description       = "sealed weights and the host's packages"
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443

  lifecycle {
    ignore_changes = [description] # emulators forget it; it is set when the rule is made
  }
}

resource "aws_security_group" "endpoint" {
  name        = "${var.name}-kms-endpoint"
  description = "pcrgate KMS endpoint: in from the parent alone"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-kms-endpoint" })
}

resource "aws_vpc_security_group_ingress_rule" "endpoint_from_host" {
  security_group_id            = aws_security_group.endpoint.id
  description                  = "the parent's relay"
  referenced_security_group_id = aws_security_group.host.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443

  lifecycle {
    ignore_changes = [description] # emulators forget it; it is set when the rule is made
  }
}

resource "aws_vpc_endpoint" "kms" {
  vpc_id              = var.vpc_id
  service_name        = "com.amazonaws.${var.region}.kms"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = [var.subnet_id]
  security_group_ids  = [aws_security_group.endpoint.id]
  private_dns_enabled = true
  tags                = merge(var.tags, { Name = "${var.name}-kms" })

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TheGatedKeysByTheParent"
        Effect    = "Allow"
        Principal = { AWS = "*" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey", "kms:GetKeyPolicy"]
        Resource  = values(var.key_arns)
        Condition = { ArnEquals = { "aws:PrincipalArn" = local.role_arn } }
      },
      {
        Sid       = "RandomnessByTheParent"
        Effect    = "Allow"
        Principal = { AWS = "*" }
        Action    = ["kms:GenerateRandom"]
        Resource  = "*" # GenerateRandom has no key
        Condition = { ArnEquals = { "aws:PrincipalArn" = local.role_arn } }
      },
    ]
  })
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = var.vpc_id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.route_table_ids
  tags              = merge(var.tags, { Name = "${var.name}-s3" })

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid       = "PackagesOfTheHost"
          Effect    = "Allow"
          Principal = { AWS = "*" }
          Action    = ["s3:GetObject"]
          Resource  = ["arn:${var.partition}:s3:::al2023-repos-${var.region}-*/*"]
        },
      ],
      length(var.bucket_arns) == 0 ? [] : [
        {
          Sid       = "SealedWeightsByTheParent"
          Effect    = "Allow"
          Principal = { AWS = "*" }
          Action    = ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:GetBucketLocation"]
          Resource  = concat(var.bucket_arns, [for arn in var.bucket_arns : "${arn}/*"])
          Condition = { ArnEquals = { "aws:PrincipalArn" = local.role_arn } }
        },
      ],
    )
  })
}

# --- the instance ----------------------------------------------------------------------------------------------------

resource "aws_launch_template" "parent" {
  name                   = var.name
  description            = "pcrgate: a parent with enclaves on"
  image_id               = var.ami_id
  instance_type          = var.instance_type
  update_default_version = true
  tags                   = var.tags

  enclave_options {
    enabled = true
  }

  # One hop: a container or the enclave's relay cannot ask for the role's credentials, only the host itself.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  iam_instance_profile {
    name = aws_iam_instance_profile.parent.name
  }

  monitoring {
    enabled = true
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      encrypted             = true
      volume_size           = var.root_volume_gib
      volume_type           = "gp3"
      delete_on_termination = true
    }
  }

  vpc_security_group_ids = [aws_security_group.host.id]

  user_data = base64encode(templatefile("${path.module}/user_data.sh.tftpl", {
    memory_mib = var.enclave_memory_mib
    cpu_count  = var.enclave_cpu_count
  }))
}

resource "aws_instance" "parent" {
  #checkov:skip=CKV_AWS_8:The root volume is encrypted by the launch template, which the check does not follow.
  #checkov:skip=CKV_AWS_79:IMDSv2 is required by the launch template, with one hop.
  #checkov:skip=CKV_AWS_126:Detailed monitoring is on in the launch template.
  #checkov:skip=CKV_AWS_135:Every type that holds an enclave is optimized for EBS by itself; the argument changes nothing.
  #checkov:skip=CKV2_AWS_41:The role is attached through the launch template's instance profile.
  subnet_id                   = var.subnet_id
  associate_public_ip_address = false
  tags                        = merge(var.tags, { Name = var.name })

  launch_template {
    id      = aws_launch_template.parent.id
    version = aws_launch_template.parent.latest_version
  }

  # What the launch template says is read back as the instance's own. The public address is refused when the instance is
  # made; emulators report one all the same.
  lifecycle {
    ignore_changes = [user_data, user_data_base64, associate_public_ip_address]
  }

  depends_on = [aws_iam_role_policy.release, aws_vpc_endpoint.kms, aws_vpc_endpoint.s3]
}
