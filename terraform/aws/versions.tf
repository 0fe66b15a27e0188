terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }
  # The address of the state comes from state.s3.tfbackend (README.md), because every user has a bucket of their own.
  backend "s3" {}
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = "connected-cars", site = var.site }
  }
}
