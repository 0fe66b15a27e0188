output "network_id" {
  description = "Id of the VPC."
  value       = google_compute_network.this.id
}

output "subnetwork_id" {
  description = "Id of the nodes' subnet; available only once its route to the internet exists."
  value       = google_compute_subnetwork.nodes.id
  depends_on  = [google_compute_router_nat.this]
}

output "pods_range_name" {
  description = "Name of the secondary range of the pods."
  value       = google_compute_subnetwork.nodes.secondary_ip_range[0].range_name
}

output "services_range_name" {
  description = "Name of the secondary range of the services."
  value       = google_compute_subnetwork.nodes.secondary_ip_range[1].range_name
}
