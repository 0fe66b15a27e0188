output "cluster_name" {
  description = "Name of the cluster."
  value       = module.cluster.name
}

output "registry" {
  description = "Prefix of image names: <registry>/<image>:<tag>."
  value       = module.registry.prefix
}

output "autoscaler_role_arn" {
  description = "Role of the service account kube-system/cluster-autoscaler."
  value       = module.cluster.workload_role_arns["autoscaler"]
}

output "kubeconfig_command" {
  description = "The next command: it points kubectl at the cluster."
  value       = "aws eks update-kubeconfig --region ${var.region} --name ${module.cluster.name} --alias ${module.cluster.name}"
}

output "registry_login_command" {
  description = "The command after that: it logs buildah in to push the images."
  value       = "aws ecr get-login-password --region ${var.region} | buildah login --username AWS --password-stdin ${module.registry.host}"
}

output "apply_command" {
  description = "The last command, after the operators are installed (k8s/README.md)."
  value       = "kubectl --context ${module.cluster.name} apply -k k8s/clusters/${startswith(var.site, "edge") ? "edge" : "cloud"}"
}
