# The cloud: Kafka with the replicated telemetry, and the trainer, which has a GPU node only while it runs.
site         = "cloud"
cidr         = "10.30.0.0/16"
nat_per_zone = true

node_groups = {
  general = { machine = "m7i.large", disk_gb = 50, nodes_min = 3, nodes_max = 6 }
  gpu     = { machine = "g6.xlarge", disk_gb = 100, nodes_min = 0, nodes_max = 1, gpu = true }
}
