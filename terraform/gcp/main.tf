# One site on GCP, an edge or the cloud depending on its variables (../edge/gcp.tfvars, ../cloud/gcp.tfvars).

locals {
  name  = "${var.project}-${var.site}"
  zones = [for letter in var.zones : "${var.region}-${letter}"]
}

module "network" {
  source = "../modules/gcp/network"
  name   = local.name
  region = var.region
  cidr   = var.cidr
}

module "cluster" {
  source              = "../modules/gcp/cluster"
  name                = local.name
  project_id          = var.project_id
  region              = var.region
  zones               = local.zones
  network_id          = module.network.network_id
  subnetwork_id       = module.network.subnetwork_id
  pods_range_name     = module.network.pods_range_name
  services_range_name = module.network.services_range_name
  api_cidrs           = var.api_cidrs
  deletable           = var.deletable
  node_groups = { for name, group in var.node_groups : name => {
    machine   = group.machine
    disk_gb   = group.disk_gb
    nodes_min = group.nodes_min
    nodes_max = group.nodes_max
    gpu = group.gpu == null ? null : {
      type  = group.gpu.type
      zones = [for letter in group.gpu.zones : "${var.region}-${letter}"]
    }
  } }
}

module "registry" {
  source          = "../modules/gcp/registry"
  name            = local.name
  project_id      = var.project_id
  region          = var.region
  images_kept_max = var.images_kept_max
  reader          = module.cluster.node_service_account
}
