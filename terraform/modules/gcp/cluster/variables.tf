variable "name" {
  description = "Name of the site and of the cluster."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,23}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 25 lower-case letters, digits and hyphens (the nodes' account adds five, GCP allows 30)."
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
  description = "GCP region of the cluster."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must look like europe-west3."
  }
}

variable "zones" {
  description = "Zones of the nodes."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 1 && alltrue([for zone in var.zones : startswith(zone, "${var.region}-")])
    error_message = "zones must be of the region, for example europe-west3-a."
  }
}

variable "network_id" {
  description = "Id of the VPC."
  type        = string

  validation {
    condition     = length(var.network_id) > 0
    error_message = "network_id must not be empty."
  }
}

variable "subnetwork_id" {
  description = "Id of the nodes' subnet."
  type        = string

  validation {
    condition     = length(var.subnetwork_id) > 0
    error_message = "subnetwork_id must not be empty."
  }
}

variable "pods_range_name" {
  description = "Name of the subnet's secondary range for pods."
  type        = string

  validation {
    condition     = length(var.pods_range_name) > 0
    error_message = "pods_range_name must not be empty."
  }
}

variable "services_range_name" {
  description = "Name of the subnet's secondary range for services."
  type        = string

  validation {
    condition     = length(var.services_range_name) > 0
    error_message = "services_range_name must not be empty."
  }
}

variable "api_cidrs" {
  description = "Public address ranges that may reach the API server; an empty list allows only addresses inside the VPC."
  type        = list(string)

  validation {
    condition     = alltrue([for cidr in var.api_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "api_cidrs must be ranges like 203.0.113.7/32, and not the whole world."
  }
}

variable "deletable" {
  description = "Let `terraform destroy` delete the cluster."
  type        = bool
  nullable    = false
}

variable "node_groups" {
  description = "Pools of nodes by name; nodes_min and nodes_max count all zones together. With gpu, nodes get that accelerator and a taint that only the trainer tolerates; with nodes_min 0 they exist only while it runs."
  type = map(object({
    machine   = string
    disk_gb   = number
    nodes_min = number
    nodes_max = number
    gpu       = optional(object({ type = string, zones = list(string) }))
  }))

  validation {
    condition     = anytrue([for group in var.node_groups : group.gpu == null && group.nodes_min >= 1])
    error_message = "node_groups needs one without gpu and with nodes_min of at least 1, for everything that always runs."
  }

  validation {
    condition     = alltrue([for group in var.node_groups : group.nodes_min >= 0 && group.nodes_max >= max(group.nodes_min, 1)])
    error_message = "node_groups: nodes_min must not be negative, nodes_max at least nodes_min and at least 1."
  }

  validation {
    condition     = alltrue([for group in var.node_groups : group.gpu == null || try(length(group.gpu.zones), 0) > 0])
    error_message = "node_groups: gpu.zones must name a zone that has the accelerator."
  }

  validation {
    condition     = alltrue([for group in var.node_groups : group.disk_gb >= (group.gpu == null ? 20 : 60)])
    error_message = "node_groups: disk_gb must be at least 20, with gpu 60 (drivers and TensorFlow)."
  }
}
