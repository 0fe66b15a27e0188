# One site on AWS, an edge or the cloud depending on its variables (../edge/aws.tfvars, ../cloud/aws.tfvars).

locals {
  name = "${var.project}-${var.site}"
}

module "network" {
  source       = "../modules/aws/network"
  name         = local.name
  region       = var.region
  zones        = [for letter in var.zones : "${var.region}${letter}"]
  cidr         = var.cidr
  nat_per_zone = var.nat_per_zone
}

module "cluster" {
  source             = "../modules/aws/cluster"
  name               = local.name
  kubernetes_version = var.kubernetes_version
  subnet_ids         = module.network.private_subnet_ids
  api_cidrs          = var.api_cidrs
  log_retention_days = var.log_retention_days
  node_groups        = var.node_groups
}

module "registry" {
  source          = "../modules/aws/registry"
  name            = local.name
  images          = var.images
  images_kept_max = var.images_kept_max
  deletable       = var.deletable
}
