variable "name" {
  description = "Name of the site and of the repository."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 40 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "project_id" {
  description = "Id of the GCP project."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be 6 to 30 lower-case letters, digits and hyphens."
  }
}

variable "region" {
  description = "GCP region of the repository: the cluster's, so that pulling costs nothing."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must look like europe-west3."
  }
}

variable "images_kept_max" {
  description = "Newest versions kept of each image; older ones are deleted after 30 days."
  type        = number

  validation {
    condition     = var.images_kept_max >= 5 && floor(var.images_kept_max) == var.images_kept_max
    error_message = "images_kept_max must be a whole number of at least 5: fewer leave nothing to roll back to."
  }
}

variable "reader" {
  description = "Who may pull: the account of the nodes, as a member of IAM policies."
  type        = string

  validation {
    condition     = startswith(var.reader, "serviceAccount:")
    error_message = "reader must look like serviceAccount:name@project.iam.gserviceaccount.com."
  }
}
