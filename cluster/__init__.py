"""A real Kubernetes on this machine without Docker: control plane, one node, images."""
