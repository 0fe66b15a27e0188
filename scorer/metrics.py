"""The metrics of the scorer."""

from prometheus_client import Counter, Gauge, Histogram

scored = Counter("scorer_scored_records", "Records scored")
duplicates = Counter(
    "scorer_duplicate_records", "Records left out because their (car_id, seq) was scored before"
)
late = Counter("scorer_late_records", "Records scored although a newer one of the same car was scored before")
crowded = Counter(
    "scorer_crowded_records", "Records that moved no state, because their car sent too many at once"
)
believed_again = Counter(
    "scorer_believed_again", "Cars whose seq ran ahead or began anew, believed after 64 samples in a row"
)
skipped = Counter(
    "scorer_skipped_records",
    "Records that nobody will score, because they were deleted first or the group's offset was set forward",
    ["reason"],
)
rejected = Counter("scorer_rejected_records", "Records sent to telemetry.rejected", ["reason"])
anomalies = Counter("scorer_anomalies", "Records with a score over the threshold")
alerts_opened = Counter("scorer_alerts_opened", "Alerts opened: the smoothed score went over the threshold")
alerts_closed = Counter("scorer_alerts_closed", "Alerts closed")
open_alerts = Gauge("scorer_open_alerts", "Alerts open among the known cars")
lag = Gauge("scorer_lag_records", "Records in this replica's partitions that are not scored yet")
partitions = Gauge("scorer_assigned_partitions", "Telemetry partitions of this replica")
forgotten = Counter("scorer_forgotten_cars", "Cars forgotten, here and in car-state", ["reason"])
cars = Gauge("scorer_known_cars", "Cars seen in this replica's partitions")
cars_learning = Gauge("scorer_learning_cars", "Known cars that the newest model has not learned yet")
cars_behind = Gauge("scorer_behind_cars", "Known cars that an older model still scores")
cars_strange = Gauge(
    "scorer_strange_cars",
    "Known cars of a kind that their model has not learned, so that it does not judge them",
)
relearned = Counter(
    "scorer_relearned_cars", "Cars learned anew because a signal says that they are others: a new firmware"
)
relearning_put_off = Counter(
    "scorer_relearning_put_off",
    "Samples not learned from: by them their car is another one, but not for long, or too often",
)
states_written = Counter("scorer_states_written", "Car states written to car-state")
states_restored = Counter("scorer_states_restored", "Car states read back from car-state")
states_refused = Counter(
    "scorer_states_refused", "Car states not used, so that the car is learned anew", ["reason"]
)
evidence_lost = Counter(
    "scorer_evidence_lost", "Records for scores.evidence that Kafka did not take, or that were too many"
)
model_version = Gauge("scorer_model_version", "Version of the model in use; 0: none yet")
challenger_version = Gauge(
    "scorer_challenger_version", "Version of the model on trial beside the one in use; 0: none"
)
challenger_share = Gauge("scorer_challenger_share", "Share of the cars that the challenger may score")
challenger_learning = Gauge(
    "scorer_challenger_learning_cars", "Known cars on trial that the challenger has not learned yet"
)
challenger_open = Gauge(
    "scorer_challenger_open_alerts", "Known cars whose level by the challenger is over its threshold"
)
challengers_dropped = Counter(
    "scorer_challengers_dropped", "Challengers withdrawn because they could not be run"
)
model_swaps = Counter("scorer_model_swaps", "Models taken into use")
model_refusals = Counter("scorer_model_refusals", "Model records not taken into use", ["reason"])
swap_seconds = Histogram(
    "scorer_model_swap_seconds",
    "How long scoring stood still while a model was verified, whether it was taken into use or refused",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
batch_age_seconds = Histogram(
    "scorer_batch_age_seconds",
    "Time from the oldest sample of a batch to its score",
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0),
)
batch_records = Histogram(
    "scorer_batch_records",
    "Records in a batch",
    buckets=(1, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 4_000, 8_000, 16_000),
)
assignment_seconds = Histogram(
    "scorer_assignment_seconds",
    "How long partitions stood still while their state was read back",
    buckets=(0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)

# Each series begins at the start with 0: one that began with its first record would show no increase.
for _metric, _reasons in {
    skipped: ("deleted", "set_forward"),
    rejected: (
        "missing_key", "bad_frame", "unknown_schema", "impossible_time", "impossible_seq", "malformed_record",
    ),
    forgotten: ("unseen", "too_many"),
    states_refused: ("too_many", "malformed", "not_finite", "unknown_model"),
    model_refusals: (
        "bad_frame", "unknown_schema", "malformed_record", "malformed_manifest", "unknown_manifest_version",
        "other_signals", "too_large", "bad_checksum", "unusable_graph", "golden_vectors",
    ),
}.items():  # fmt: skip
    for _reason in _reasons:
        _metric.labels(_reason)
