terraform {
  required_providers {
    aws = {
      version = "3.39.0"
    }
  }
}
