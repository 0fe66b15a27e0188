"""A job: from a bounded slice of the replicated log to a published model. Read train.py first.

slice        records between fixed offsets, so that it can be read again       reading, log_slice, capacity
split        each car is for training, calibration or test, for ever           split
window       how long a car is watched, and how far back it is averaged        model/state
constants    statistics of the training cars: regression, limits, norm         model/constants
graph        raw signals and a car's state to score and new state, as TFLite   model/graph
replay       the graph over the past of many cars                              model/replay
judgement    threshold, recall and false alarms on held-out cars               judge/
gate         what a candidate must show to be published                        judge/gate
exam         a champion's held-out cars, on which the next candidate is judged  judge/exam
publication  the champion on `models`, every decision on `models.log`          publication
history      models of the past: rebuilt, rescored side by side, shown in MLflow   history/
trial        what is decided about the model on trial beside the champion      trial
watch        decisions on evidence, and trainings where the fleet drifts        watch/
launch       the job in a Kubernetes cluster                                   launch/
"""
