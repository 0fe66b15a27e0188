"""The judgement: a candidate beside champion and baselines, on cars that no model has learned from.

held_out    calibration cars, healthy test cars, and failures: reported, or artificial (deviations)
baselines   simple detectors to beat
alarms      alerts in replayed scores, and the threshold for a budget of false ones
evaluate    one detector: its threshold, recall, false alarms, with their uncertainty over cars
comparison  all detectors, and the evidence for the gate
exam        held-out cars of the champion's own slice, on which a candidate is judged as well
bounds      values that no sound sensor sends
verify      the packed model, checked in a process without TensorFlow
gate        whether the evidence is good enough to publish
"""
