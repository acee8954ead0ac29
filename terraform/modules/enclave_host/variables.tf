variable "name" {
  description = "Name of the host; role, instance profile, launch template and security groups are named after it."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{0,39}$", var.name))
    error_message = "name is 1 to 40 characters a-z, 0-9 and dash: choose another name."
  }
}

variable "account_id" {
  description = "Account that the host runs in, twelve digits."
  type        = string

  validation {
    condition     = can(regex("^\\d{12}$", var.account_id))
    error_message = "account_id is twelve digits: give the account that the host runs in."
  }
}

variable "partition" {
  description = "Partition of the account: aws or aws-us-gov. In aws-cn the endpoints have other names, which nobody has tried."
  type        = string
  default     = "aws"

  validation {
    condition     = contains(["aws", "aws-us-gov"], var.partition)
    error_message = "partition is aws or aws-us-gov: give the one that the account belongs to."
  }
}

variable "region" {
  description = "Region that the host runs in; its keys are of the same Region."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-\\d$", var.region))
    error_message = "region is a Region's code, such as eu-central-1."
  }
}

variable "ami_id" {
  description = "The host's image, pinned by id. It is not trusted with secrets, but it should not change by itself either."
  type        = string

  validation {
    condition     = can(regex("^ami-[0-9a-f]{8,17}$", var.ami_id))
    error_message = "ami_id is an id such as ami-0123456789abcdef0: look up Amazon Linux 2023 for your Region once, and pin what you found."
  }
}

variable "instance_type" {
  description = "An instance type with enclaves: at least 4 vCPUs (2 for Graviton), no T family, no bare metal."
  type        = string
  default     = "m6i.2xlarge"

  validation {
    condition     = can(regex("^[a-z0-9-]+\\.[0-9a-z]+$", var.instance_type)) && !can(regex("^t\\d|\\.metal|\\.(nano|micro|small|medium)$", var.instance_type))
    error_message = "instance_type cannot hold an enclave: use a Nitro type of at least 4 vCPUs, not of the T family and not bare metal, such as m6i.2xlarge."
  }
}

variable "enclave_memory_mib" {
  description = "Memory reserved for the enclave in huge pages: at least four times the image, and room for the weights."
  type        = number

  validation {
    condition     = var.enclave_memory_mib >= 64 && floor(var.enclave_memory_mib / 2) * 2 == var.enclave_memory_mib
    error_message = "enclave_memory_mib is an even number from 64: huge pages have 2 MiB, and the allocator takes no less than 64 MiB."
  }
}

variable "enclave_cpu_count" {
  description = "vCPUs reserved for the enclave: whole cores, so an even number where a core has two threads."
  type        = number
  default     = 2

  validation {
    condition     = var.enclave_cpu_count >= 1 && floor(var.enclave_cpu_count) == var.enclave_cpu_count
    error_message = "enclave_cpu_count is a whole number from 1 (from 2, and even, where a core has two threads)."
  }
}

variable "root_volume_gib" {
  description = "Size of the host's root volume."
  type        = number
  default     = 30
}

variable "vpc_id" {
  description = "The VPC that the host and its endpoints are in."
  type        = string
}

variable "subnet_id" {
  description = "The private subnet that the host and the KMS endpoint are in."
  type        = string
}

variable "route_table_ids" {
  description = "Route tables of that subnet, for the S3 gateway endpoint."
  type        = list(string)
}

variable "service_port" {
  description = "TCP port of the parent service; the only way in."
  type        = number
  default     = 8443

  validation {
    condition     = var.service_port >= 1024 && var.service_port <= 65535
    error_message = "service_port is 1024 to 65535: the service does not run as root."
  }
}

variable "client_cidrs" {
  description = "Networks that agents call from; empty when only security groups are named."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.client_cidrs : can(cidrhost(cidr, 0)) && !can(regex("/[0-7]$", cidr))])
    error_message = "client_cidrs holds something that is not a network, or one as wide as the Internet: name the networks that agents call from."
  }
}

variable "client_security_group_ids" {
  description = "Security groups that agents, or their load balancer, are in."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "key_arns" {
  description = "Full ARNs of the gated keys, by class; usually not known before they are made."
  type        = map(string)

  validation {
    condition     = length(var.key_arns) > 0
    error_message = "key_arns is empty: give the gated keys, for example { weights = module.weights_key.key_arn }."
  }
}

variable "approved_registers" {
  description = "Approved values by register, as pcr_gated_key outputs them: the role's policy carries the same conditions as the keys'."
  type        = map(list(string))
  nullable    = false

  validation {
    condition     = length(lookup(var.approved_registers, "pcr0", [])) > 0
    error_message = "approved_registers has no pcr0: pass module.KEY.approved_registers of a key whose attester is enclave."
  }

  validation {
    condition = alltrue(flatten([
      for values in values(var.approved_registers) : [for value in values : can(regex("^[0-9a-f]{96}$", value)) && !can(regex("^0+$", value))]
    ]))
    error_message = "approved_registers holds something else than non-zero measurements of 96 lower-case hex digits: pass module.KEY.approved_registers."
  }
}

variable "bucket_arns" {
  description = "Buckets of sealed weights that the host reads."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.bucket_arns : can(regex("^arn:aws(-us-gov|-cn)?:s3:::[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", arn))])
    error_message = "bucket_arns holds something else than bucket ARNs: name each bucket, without wildcard and without /*."
  }
}

variable "bucket_key_arns" {
  description = "Customer managed keys that those buckets are encrypted with; empty with AWS's own key."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "tags" {
  description = "Tags of everything that takes tags."
  type        = map(string)
  default     = {}
}
