terraform {
  required_version = ">= 1.11"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50, < 8.0"
    }
  }
  # The address of the state comes from state.gcs.tfbackend (README.md), because every user has a bucket of their own.
  backend "gcs" {}
}

provider "google" {
  project        = var.project_id
  region         = var.region
  default_labels = { project = "connected-cars", site = var.site }
}
