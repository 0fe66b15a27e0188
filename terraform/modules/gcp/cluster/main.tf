# A regional GKE cluster with its node pools. Nodes run under an account of their own that may write logs and
# metrics and nothing else. GKE includes the autoscaler, the storage driver and NVIDIA's device plugin.

# ---- control plane

resource "google_container_cluster" "this" {
  name                = var.name
  location            = var.region # regional: the API server survives the loss of a zone
  node_locations      = var.zones
  network             = var.network_id
  subnetwork          = var.subnetwork_id
  deletion_protection = !var.deletable

  # GKE requires an initial pool; the pools below replace it.
  remove_default_node_pool = true
  initial_node_count       = 1

  # Even for these minutes not under the project's default account, which has nearly all rights.
  node_config {
    service_account = google_service_account.node.email
  }

  lifecycle {
    ignore_changes = [node_config] # gone with that pool
  }

  release_channel {
    channel = "REGULAR"
  }

  # Dataplane V2 enforces network policies; without it they are accepted but not enforced.
  datapath_provider = "ADVANCED_DATAPATH"
  networking_mode   = "VPC_NATIVE"

  ip_allocation_policy {
    cluster_secondary_range_name  = var.pods_range_name
    services_secondary_range_name = var.services_range_name
  }

  private_cluster_config {
    enable_private_nodes    = true
    enable_private_endpoint = length(var.api_cidrs) == 0
  }

  master_authorized_networks_config {
    dynamic "cidr_blocks" {
      for_each = toset(var.api_cidrs)
      content {
        cidr_block = cidr_blocks.value
      }
    }
  }

  # Pods reach GCP through their own service account.
  workload_identity_config {
    workload_pool = "${var.project_id}.svc.id.goog"
  }

  depends_on = [google_project_iam_member.node]
}

# ---- nodes

resource "google_service_account" "node" {
  project      = var.project_id
  account_id   = "${var.name}-node"
  display_name = "Nodes of ${var.name}"
}

resource "google_project_iam_member" "node" {
  project = var.project_id
  role    = "roles/container.defaultNodeServiceAccount" # writes logs and metrics, nothing else
  member  = google_service_account.node.member
}

resource "google_container_node_pool" "this" {
  for_each = var.node_groups
  name     = each.key
  cluster  = google_container_cluster.this.id
  # Not every zone has GPUs.
  node_locations     = each.value.gpu == null ? var.zones : each.value.gpu.zones
  initial_node_count = each.value.gpu == null ? 1 : 0

  # Counts all zones together, as on AWS, so that the same number means the same size.
  autoscaling {
    total_min_node_count = each.value.nodes_min
    total_max_node_count = each.value.nodes_max
    location_policy      = each.value.gpu == null ? "BALANCED" : "ANY"
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  node_config {
    machine_type    = each.value.machine
    disk_size_gb    = each.value.disk_gb
    disk_type       = "pd-balanced"
    image_type      = "COS_CONTAINERD"
    service_account = google_service_account.node.email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"] # the account's roles are the limit
    labels          = { "connected-cars/nodes" = each.key }

    dynamic "guest_accelerator" {
      for_each = each.value.gpu[*]
      content {
        type  = guest_accelerator.value.type
        count = 1
        gpu_driver_installation_config {
          gpu_driver_version = "LATEST"
        }
      }
    }

    # Only the trainer may be scheduled on these expensive nodes, or they would never scale back to 0.
    dynamic "taint" {
      for_each = each.value.gpu[*]
      content {
        key    = "nvidia.com/gpu"
        value  = "present"
        effect = "NO_SCHEDULE"
      }
    }

    # Pods see the identity of their own service account, never the node's.
    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    shielded_instance_config {
      enable_secure_boot          = each.value.gpu == null # it refuses NVIDIA's unsigned drivers
      enable_integrity_monitoring = true
    }
  }

  lifecycle {
    ignore_changes = [initial_node_count] # the autoscaler's from now on
  }
}
