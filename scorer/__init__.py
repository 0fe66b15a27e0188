"""Telemetry in, anomalies out: every record is scored once, by models that can change meanwhile.

    telemetry ──► Batch ──► score ──► Results ──► anomalies, alerts, dead letters, audit, car-state, evidence

- `pipeline.Pipeline` is the loop: it reads a `batch.Batch`, calls `scoring.score`, gives the outcome to
  `results.Results` (which keeps the order of writing) and commits offsets once that is delivered.
- `scoring.score` decodes the batch and calls `detector.AnomalyDetector`, which owns all that is known of the
  cars: `cars.CarTable` (a row for each car, found by `index.Index`), `seen.SeenSequences` (is a record new,
  late or repeated?), `generations.Generations` (the models at work and their states), `alerts.Alerts`,
  `evidence.Counts` (what each model did), `trial.Trial` (a challenger beside the models at work).
- `model_feed.ModelFeed` follows the models topic and verifies each `model.Model` before the detector gets it.
- `assignment.Assignment` finds where a new partition goes on; `snapshots.Snapshots` writes the states of the
  cars to car-state and restores them.
"""
