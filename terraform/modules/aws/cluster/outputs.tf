output "name" {
  description = "Name of the cluster, once its nodes and add-ons are there."
  value       = aws_eks_cluster.this.name
  depends_on  = [aws_eks_node_group.this, aws_eks_addon.on_nodes]
}

output "endpoint" {
  description = "Address of the API server."
  value       = aws_eks_cluster.this.endpoint
}

output "workload_role_arns" {
  description = "Roles by workload; the cluster autoscaler's stands in its installation command."
  value       = { for name, role in aws_iam_role.workload : name => role.arn }
}
