variable "name" {
  description = "Name of the site; repositories are <name>/<image>."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 40 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "images" {
  description = "Images to keep, one repository each."
  type        = set(string)

  validation {
    condition     = length(var.images) > 0 && alltrue([for image in var.images : can(regex("^[a-z][a-z0-9-]*$", image))])
    error_message = "images must be at least one name of lower-case letters, digits and hyphens."
  }
}

variable "images_kept_max" {
  description = "Newest images kept in each repository; older ones are deleted."
  type        = number

  validation {
    condition     = var.images_kept_max >= 5 && floor(var.images_kept_max) == var.images_kept_max
    error_message = "images_kept_max must be a whole number of at least 5: fewer leave nothing to roll back to."
  }
}

variable "deletable" {
  description = "Let `terraform destroy` delete repositories that still hold images."
  type        = bool
  nullable    = false
}
