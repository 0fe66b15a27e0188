# One ECR repository an image. Every site has its own, so that an edge starts pods while the cloud is away.

resource "aws_ecr_repository" "this" {
  for_each = var.images
  name     = "${var.name}/${each.key}"
  # Tags are immutable: an image that ran yesterday under a tag must run today under it.
  image_tag_mutability = "IMMUTABLE"
  force_delete         = var.deletable

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each   = aws_ecr_repository.this
  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "keep the newest"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = var.images_kept_max }
      action       = { type = "expire" }
    }]
  })
}
