"""`python -m trainer launch`: the training as a Job in a Kubernetes cluster, started and followed."""
