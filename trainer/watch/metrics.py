"""The metrics of the watcher."""

from prometheus_client import Counter, Gauge

drift_share = Gauge(
    "trainer_drift_share",
    "Share of the judged cars that send clearly less or more of a signal than they used to",
    ["signal", "direction"],
)
cars = Gauge("trainer_known_cars", "Cars of all edges, by the champion's evidence")
cars_learning = Gauge("trainer_learning_cars", "Of these: not learned by the champion")
cars_strange = Gauge("trainer_strange_cars", "Of these: of a kind that the champion does not know")
broken_share = Gauge("trainer_broken_share", "Share of the records with a value that no sound sensor sends")
evidence_age = Gauge(
    "trainer_evidence_age_seconds",
    "Time since the end of the newest minute that the scorers have counted, or else since the last decision",
)
judged = Counter(
    "trainer_judged_records", "Records of learned cars that the scorers of an edge judged", ["edge"]
)
opened = Counter("trainer_opened_alerts", "Alerts that the scorers of an edge opened", ["edge"])
log_records = Gauge(
    "trainer_models_log_records", "Decisions in models.log: models published, refused, promoted or withdrawn"
)
drifting = Gauge("trainer_drifting", "1 while the champion's cars drift, else 0")
champion_version = Gauge("trainer_champion_version", "Version of the champion; 0: none")
challenger_version = Gauge("trainer_challenger_version", "Version of the challenger; 0: no trial")
trial_car_weeks = Gauge(
    "trainer_trial_car_weeks", "Car-weeks of driving that a model has judged in the trial", ["version"]
)
trial_openings = Gauge(
    "trainer_trial_openings", "Alerts that a model opened in the trial, or would have", ["version"]
)
trial_unexplained = Gauge(
    "trainer_trial_unexplained_openings", "Of these: that no report explains (yet)", ["version"]
)
trial_waits = Gauge("trainer_trial_held", "1 while a challenger that is ready waits for a person, else 0")
precision = Gauge(
    "trainer_model_precision", "Of a model's alerts with a verdict: confirmed by a failure", ["version"]
)
recall = Gauge(
    "trainer_model_recall",
    "Of the failures reported since the model came: foreseen by its alerts",
    ["version"],
)
lead = Gauge(
    "trainer_model_lead_seconds",
    "From a model's alert to the failure that it foresaw, in the median",
    ["version"],
)
alerts = Gauge("trainer_model_alerts", "Alerts of a model, by what became of them", ["version", "verdict"])
decisions = Counter("trainer_decisions", "Decisions that the watcher took", ["action"])
trainings = Counter("trainer_trainings", "Trainings that the watcher started and that ended", ["status"])

# Each series begins at the start with 0: one that began with its first event would show no increase.
for _action in ("promote", "withdraw"):
    decisions.labels(_action)
for _status in ("0", "1", "2", "3"):  # a training that was killed has another
    trainings.labels(_status)
