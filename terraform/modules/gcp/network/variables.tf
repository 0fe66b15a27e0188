variable "name" {
  description = "Name of the site and prefix of the names of its resources."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,28}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 30 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "region" {
  description = "GCP region, for example europe-west3."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must look like europe-west3."
  }
}

variable "cidr" {
  description = "Private address range of the site, /14 to /17: half of it for pods, a sixteenth each for nodes and services. It must not overlap the ranges of sites to be connected."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && can(regex("^10\\..*/(14|15|16|17)$", var.cidr))
    error_message = "cidr must be a range in 10.0.0.0/8 from /14 to /17, for example 10.40.0.0/16."
  }
}
