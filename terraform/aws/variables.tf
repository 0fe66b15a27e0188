# The variables that a person sets. The modules validate them again, more strictly.

variable "site" {
  description = "The site: edge, cloud, or one of several edges, such as edge-berlin. The Terraform workspace has the same name."
  type        = string

  validation {
    condition     = can(regex("^(cloud|edge(-[a-z0-9]+)?)$", var.site))
    error_message = "site must be cloud, edge, or edge-<name>."
  }

  # All sites share this folder; the variables of another site would replace this site's cluster.
  validation {
    condition     = var.site == terraform.workspace
    error_message = "These variables belong to another site than the selected workspace; run: terraform workspace select -or-create ${var.site}"
  }
}

variable "project" {
  description = "Prefix of all names: <project>-<site>."
  type        = string
  default     = "connected-cars"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}[a-z0-9]$", var.project))
    error_message = "project must be 2 to 21 lower-case letters, digits and hyphens."
  }
}

variable "region" {
  description = "AWS region."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must look like eu-central-1."
  }
}

variable "zones" {
  description = "Letters of the availability zones."
  type        = list(string)
  default     = ["a", "b", "c"]

  validation {
    condition     = alltrue([for zone in var.zones : can(regex("^[a-f]$", zone))])
    error_message = "zones must be letters, for example [\"a\", \"b\", \"c\"]."
  }
}

variable "cidr" {
  description = "Address range of the site's VPC."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0))
    error_message = "cidr must be a range like 10.20.0.0/16."
  }
}

variable "nat_per_zone" {
  description = "One NAT gateway per zone (survives the loss of a zone) instead of a single one (cheaper)."
  type        = bool
  default     = false
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes."
  type        = string
  default     = "1.35"

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "kubernetes_version must look like 1.35."
  }
}

variable "api_cidrs" {
  description = "Public address ranges that may reach the API server; an empty list allows only addresses inside the VPC."
  type        = list(string)

  validation {
    condition     = alltrue([for cidr in var.api_cidrs : can(cidrhost(cidr, 0))])
    error_message = "api_cidrs must be ranges like 203.0.113.7/32."
  }
}

variable "log_retention_days" {
  description = "Days that the control plane's audit log is kept."
  type        = number
  default     = 30

  validation {
    condition     = var.log_retention_days >= 1
    error_message = "log_retention_days must be at least 1."
  }
}

variable "node_groups" {
  description = "Groups of nodes by name (modules/aws/cluster says what each field means)."
  type = map(object({
    machine   = string
    disk_gb   = number
    nodes_min = number
    nodes_max = number
    gpu       = optional(bool, false)
  }))

  validation {
    condition     = contains(keys(var.node_groups), "general")
    error_message = "node_groups must have a group named general."
  }
}

variable "images" {
  description = "Images of this project."
  type        = set(string)
  default     = ["simulator", "bridge", "scorer", "trainer"]

  validation {
    condition     = length(var.images) > 0
    error_message = "images must not be empty."
  }
}

variable "images_kept_max" {
  description = "How many of the newest images are kept in each repository."
  type        = number
  default     = 30

  validation {
    condition     = var.images_kept_max >= 5
    error_message = "images_kept_max must be at least 5."
  }
}

variable "deletable" {
  description = "Let `terraform destroy` delete repositories that still hold images. For trials."
  type        = bool
  default     = false
}
