# An edge: bridge, scorers, mosquitto and Kafka for about 100 000 cars with one sample every 10 s each.
site = "edge"
cidr = "10.40.0.0/16"

node_groups = {
  general = { machine = "e2-standard-4", disk_gb = 50, nodes_min = 3, nodes_max = 6 }
}
