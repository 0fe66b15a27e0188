output "prefix" {
  description = "Prefix of image names: <registry>/<image>:<tag>."
  value       = trimsuffix(values(aws_ecr_repository.this)[0].repository_url, "/${keys(aws_ecr_repository.this)[0]}")
}

output "host" {
  description = "Host to log in to."
  value       = split("/", values(aws_ecr_repository.this)[0].repository_url)[0]
}
