"""The life of a model, measured on simulated fleets: which models are published, and how cars get them."""
