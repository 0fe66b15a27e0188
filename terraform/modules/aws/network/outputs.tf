output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Subnets of the nodes, one a zone. Known only once they can reach out."
  value       = [for zone in var.zones : aws_subnet.private[zone].id]
  # A node that cannot reach the registry when it boots never joins.
  depends_on = [aws_route.nat, aws_route_table_association.private, aws_vpc_endpoint.s3]
}

output "public_subnet_ids" {
  description = "Subnets of the load balancers, one a zone."
  value       = [for zone in var.zones : aws_subnet.public[zone].id]
}
