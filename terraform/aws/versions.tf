terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }
  # Where the state is comes from state.s3.tfbackend (README.md): it is other people's bucket, not this file's.
  backend "s3" {}
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = "connected-cars", site = var.site }
  }
}
