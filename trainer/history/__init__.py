"""Every model that was decided about, looked at again.

slices    the records that a model learned from, in the log or kept after they are gone from it
rebuild   a model learned again from them
span      a range of the log, from times or offsets
replayed  models that score the same records side by side, and their alerts
rescore   a range through several models, their alerts beside the workshops' reports
runs      a decision as a run of MLflow
track     MLflow as a view of all decisions
"""
