variable "name" {
  description = "Name of the site and of the cluster."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 40 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes. Raise it by one at a time."
  type        = string

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "kubernetes_version must look like 1.35."
  }
}

variable "subnet_ids" {
  description = "Private subnets of the nodes, in at least two zones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids must be at least two: EKS refuses fewer zones."
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

variable "log_retention_days" {
  description = "Days that the control plane's audit log is kept."
  type        = number

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "log_retention_days must be one that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545 or 731."
  }
}

variable "node_groups" {
  description = "Groups of nodes by name. With gpu, nodes get NVIDIA's drivers and a taint that only the trainer tolerates; with nodes_min 0 they exist only while it runs."
  type = map(object({
    machine   = string
    disk_gb   = number
    nodes_min = number
    nodes_max = number
    gpu       = optional(bool, false)
  }))

  validation {
    condition     = anytrue([for group in var.node_groups : !group.gpu && group.nodes_min >= 1])
    error_message = "node_groups needs one without gpu and with nodes_min of at least 1, for everything that always runs."
  }

  validation {
    condition     = alltrue([for group in var.node_groups : group.nodes_min >= 0 && group.nodes_max >= max(group.nodes_min, 1)])
    error_message = "node_groups: nodes_min must not be negative, nodes_max at least nodes_min and at least 1."
  }

  validation {
    condition     = alltrue([for group in var.node_groups : can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9]+$", group.machine))])
    error_message = "node_groups: machine must be an EC2 instance type like m7i.xlarge."
  }

  validation {
    condition     = alltrue([for group in var.node_groups : group.disk_gb >= (group.gpu ? 60 : 20)])
    error_message = "node_groups: disk_gb must be at least 20, with gpu 60 (drivers and TensorFlow)."
  }
}
