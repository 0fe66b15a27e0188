# The cloud: Kafka with the replicated telemetry, and the trainer, which has a GPU node only while it runs.
site = "cloud"
cidr = "10.50.0.0/16"

node_groups = {
  general = { machine = "e2-standard-2", disk_gb = 50, nodes_min = 3, nodes_max = 6 }
  gpu = {
    machine   = "g2-standard-4"
    disk_gb   = 100
    nodes_min = 0
    nodes_max = 1
    gpu       = { type = "nvidia-l4", zones = ["a"] }
  }
}
