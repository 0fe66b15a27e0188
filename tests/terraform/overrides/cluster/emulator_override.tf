terraform {
  required_providers {
    aws = {
      version = "3.39.0"
    }
  }
}


resource "aws_eks_node_group" "this" {
  ami_type = each.value.gpu ? "AL2_x86_64_GPU" : "AL2_x86_64" # the newest that 3.39 lets through

  scaling_config {
    min_size     = max(each.value.nodes_min, 1) # 3.39 refuses 0
    max_size     = each.value.nodes_max
    desired_size = max(each.value.nodes_min, 1)
  }

  lifecycle {
    # moto invents a remote access that nobody asked for; all else must be as it was planned.
    ignore_changes = [scaling_config[0].desired_size, remote_access]
  }
}

# moto has no add-ons.
resource "aws_eks_addon" "before_nodes" {
  for_each = toset([])
}

resource "aws_eks_addon" "on_nodes" {
  for_each = toset([])
}
