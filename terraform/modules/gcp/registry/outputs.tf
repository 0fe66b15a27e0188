output "prefix" {
  description = "Prefix of image names: <registry>/<image>:<tag>."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.this.repository_id}"
}

output "host" {
  description = "Host to log in to."
  value       = "${var.region}-docker.pkg.dev"
}
