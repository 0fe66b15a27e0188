output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Subnets of the nodes, one per zone; available only once their route to the internet exists."
  value       = [for zone in var.zones : aws_subnet.private[zone].id]
  # A node that cannot reach the registry while it boots never joins the cluster.
  depends_on = [aws_route.nat, aws_route_table_association.private, aws_vpc_endpoint.s3]
}

output "public_subnet_ids" {
  description = "Subnets of the load balancers, one per zone."
  value       = [for zone in var.zones : aws_subnet.public[zone].id]
}
