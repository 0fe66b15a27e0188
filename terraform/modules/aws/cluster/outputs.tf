output "name" {
  description = "Name of the cluster, available once its nodes and add-ons exist."
  value       = aws_eks_cluster.this.name
  depends_on  = [aws_eks_node_group.this, aws_eks_addon.on_nodes]
}

output "endpoint" {
  description = "Address of the API server."
  value       = aws_eks_cluster.this.endpoint
}

output "workload_role_arns" {
  description = "Role ARNs by workload, for example of the cluster autoscaler."
  value       = { for name, role in aws_iam_role.workload : name => role.arn }
}
