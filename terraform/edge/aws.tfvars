# An edge: bridge, scorers, mosquitto and Kafka for about 100 000 cars with one sample every 10 s each.
site = "edge"
cidr = "10.20.0.0/16"

node_groups = {
  general = { machine = "m7i.xlarge", disk_gb = 50, nodes_min = 3, nodes_max = 6 }
}
