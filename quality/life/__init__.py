"""The life of a model, measured on simulated fleets: what happens to the cars when a newer model comes."""
