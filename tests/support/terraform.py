"""Terraform and its AWS provider as the laptop's deployment finds them; tests without them are skipped visibly."""

from local.terraform_places import MISSING, Terraform, find_terraform

__all__ = ["MISSING", "Terraform", "find_terraform"]
