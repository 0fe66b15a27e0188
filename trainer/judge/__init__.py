"""The judgement: a candidate beside the champion and the baselines, on cars that no model learned from."""
