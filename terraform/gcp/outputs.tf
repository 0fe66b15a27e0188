output "cluster_name" {
  description = "Name of the cluster."
  value       = module.cluster.name
}

output "registry" {
  description = "What stands before /<image>:<tag>."
  value       = module.registry.prefix
}

output "kubeconfig_command" {
  description = "Type this next: kubectl then talks to the cluster."
  value       = "gcloud container clusters get-credentials ${module.cluster.name} --region ${var.region} --project ${var.project_id} && kubectl config rename-context gke_${var.project_id}_${var.region}_${module.cluster.name} ${module.cluster.name}"
}

output "registry_login_command" {
  description = "Then this, to push the images."
  value       = "gcloud auth print-access-token | buildah login --username oauth2accesstoken --password-stdin ${module.registry.host}"
}

output "apply_command" {
  description = "And last, after the operators (docs/operations.md), this."
  value       = "kubectl --context ${module.cluster.name} apply -k k8s/clusters/${startswith(var.site, "edge") ? "edge" : "cloud"}"
}
