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
  name               = "enclave-parent"
  account_id         = "444455556666"
  region             = "eu-central-1"
  ami_id             = "ami-0123456789abcdef0"
  enclave_memory_mib = 4096
  vpc_id             = "vpc-0123456789abcdef0"
  subnet_id          = "subnet-0123456789abcdef0"
  route_table_ids    = ["rtb-0123456789abcdef0"]
  client_cidrs       = ["10.20.0.0/16"]
  key_arns           = { weights = "arn:aws:kms:eu-central-1:111122223333:key/12345678-90ab-cdef-1234-567890abcdef" }
  bucket_arns        = ["arn:aws:s3:::sealed-weights"]
  approved_registers = {
    pcr0 = ["1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f"]
  }
}

run "starts_enclaves_and_opens_nothing_else" {
  command = plan

  assert {
    condition     = aws_launch_template.parent.enclave_options[0].enabled
    error_message = "Enclaves are off."
  }

  assert {
    condition = (
      aws_launch_template.parent.metadata_options[0].http_tokens == "required" &&
      aws_launch_template.parent.metadata_options[0].http_put_response_hop_limit == 1
    )
    error_message = "The metadata service answers without a token, or over more than one hop."
  }

  assert {
    condition     = strcontains(base64decode(aws_launch_template.parent.user_data), "memory_mib: 4096\ncpu_count: 2\n")
    error_message = "The allocator is told something else than the variables say."
  }

  assert {
    condition     = startswith(base64decode(aws_launch_template.parent.user_data), "#!/bin/bash\n")
    error_message = "The user data is not a script."
  }

  assert {
    condition     = aws_launch_template.parent.block_device_mappings[0].ebs[0].encrypted == "true"
    error_message = "The root volume is not encrypted."
  }


  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.service_from_network : [rule.cidr_ipv4, rule.from_port, rule.to_port]] == [["10.20.0.0/16", 8443, 8443]]
    error_message = "Something else than the service can be reached."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.service_from_group) == 0
    error_message = "A group that nobody named is let in."
  }

  assert {
    condition     = aws_vpc_endpoint.kms.private_dns_enabled && alltrue([for statement in jsondecode(aws_vpc_endpoint.kms.policy).Statement : can(statement.Condition.ArnEquals["aws:PrincipalArn"])])
    error_message = "The KMS endpoint serves others than the parent."
  }


  assert {
    condition = one([
      for statement in jsondecode(aws_iam_role_policy.release.policy).Statement : statement if statement.Sid == "DenyReleaseUnlessPCR0"
    ]).Condition.StringNotEqualsIgnoreCase["kms:RecipientAttestation:PCR0"] == [var.approved_registers.pcr0[0]]
    error_message = "The role's policy does not carry the keys' condition."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.sealed_weights[0].policy).Statement : statement.Sid] == ["ReadSealedWeights", "ListSealedWeights"]
    error_message = "The role may do more with the bucket than read."
  }
}
