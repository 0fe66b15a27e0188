terraform {
  required_providers {
    aws = {
      version = "3.39.0"
    }
  }

  backend "local" {}
}

# moto takes any key.
provider "aws" {
  access_key                  = "emulated"
  secret_key                  = "emulated"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = false

  endpoints {
    cloudwatchlogs = var.emulator
    ec2            = var.emulator
    ecr            = var.emulator
    eks            = var.emulator
    iam            = var.emulator
    sts            = var.emulator
  }
}
