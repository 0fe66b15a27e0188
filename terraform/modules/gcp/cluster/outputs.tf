output "name" {
  description = "Name of the cluster, available once its nodes exist."
  value       = google_container_cluster.this.name
  depends_on  = [google_container_node_pool.this]
}

output "endpoint" {
  description = "Address of the API server."
  value       = google_container_cluster.this.endpoint
}

output "node_service_account" {
  description = "Account of the nodes, as a member of IAM policies; the registry lets it pull."
  value       = google_service_account.node.member
}
