"""The scorecard of the models: which failures are foreseen, how long before, at how many false alarms."""
