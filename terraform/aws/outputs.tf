output "cluster_name" {
  description = "Name of the cluster."
  value       = module.cluster.name
}

output "registry" {
  description = "What stands before /<image>:<tag>."
  value       = module.registry.prefix
}

output "autoscaler_role_arn" {
  description = "Role of the service account kube-system/cluster-autoscaler."
  value       = module.cluster.workload_role_arns["autoscaler"]
}

output "kubeconfig_command" {
  description = "Type this next: kubectl then talks to the cluster."
  value       = "aws eks update-kubeconfig --region ${var.region} --name ${module.cluster.name} --alias ${module.cluster.name}"
}

output "registry_login_command" {
  description = "Then this, to push the images."
  value       = "aws ecr get-login-password --region ${var.region} | buildah login --username AWS --password-stdin ${module.registry.host}"
}

output "apply_command" {
  description = "And last, after the operators (docs/operations.md), this."
  value       = "kubectl --context ${module.cluster.name} apply -k k8s/clusters/${startswith(var.site, "edge") ? "edge" : "cloud"}"
}
