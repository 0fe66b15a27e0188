terraform {
  required_version = ">= 1.11"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50, < 8.0"
    }
  }
  # Where the state is comes from state.gcs.tfbackend (README.md): it is other people's bucket, not this file's.
  backend "gcs" {}
}

provider "google" {
  project        = var.project_id
  region         = var.region
  default_labels = { project = "connected-cars", site = var.site }
}
