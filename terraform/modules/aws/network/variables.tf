variable "name" {
  description = "Name of the site and prefix of the names of its resources."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 40 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "region" {
  description = "AWS region, for example eu-central-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must look like eu-central-1."
  }
}

variable "zones" {
  description = "Availability zones, at least two: EKS refuses fewer. A zone must not be removed while it is in use."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 4 && length(distinct(var.zones)) == length(var.zones)
    error_message = "zones must be two to four different availability zones."
  }

  validation {
    condition     = alltrue([for zone in var.zones : startswith(zone, var.region)])
    error_message = "every zone must be one of the region, for example eu-central-1a."
  }
}

variable "cidr" {
  description = "Private address range of the VPC, /16 to /20. It must not overlap the ranges of sites to be connected."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && can(regex("^(10|172|192)\\..*/(16|17|18|19|20)$", var.cidr))
    error_message = "cidr must be a private IPv4 range from /16 to /20, for example 10.20.0.0/16."
  }
}

variable "nat_per_zone" {
  description = "One NAT gateway per zone (survives the loss of a zone) instead of a single one (cheaper)."
  type        = bool
  nullable    = false
}
