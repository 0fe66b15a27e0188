output "cluster_name" {
  description = "Name of the cluster."
  value       = module.cluster.name
}

output "registry" {
  description = "Prefix of image names: <registry>/<image>:<tag>."
  value       = module.registry.prefix
}

output "kubeconfig_command" {
  description = "The next command: it points kubectl at the cluster."
  value       = "gcloud container clusters get-credentials ${module.cluster.name} --region ${var.region} --project ${var.project_id} && kubectl config rename-context gke_${var.project_id}_${var.region}_${module.cluster.name} ${module.cluster.name}"
}

output "registry_login_command" {
  description = "The command after that: it logs buildah in to push the images."
  value       = "gcloud auth print-access-token | buildah login --username oauth2accesstoken --password-stdin ${module.registry.host}"
}

output "apply_command" {
  description = "The last command, after the operators are installed (k8s/README.md)."
  value       = "kubectl --context ${module.cluster.name} apply -k k8s/clusters/${startswith(var.site, "edge") ? "edge" : "cloud"}"
}
