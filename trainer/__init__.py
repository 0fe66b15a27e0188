"""A job: a bounded slice of the replicated log, a model, its proof, and its publication."""
