"""The goals of the model, compared with the scorecard."""

from dataclasses import dataclass

from quality.scorecard import Card

OURS, AUTOENCODER, LINEAR = "ours", "autoencoder_stateless", "linear_conditional"
_TIMES_AUTOENCODER = 3.0
_EACH_FAULT, _MOST_FAULTS, _MOST_COUNT = 0.5, 0.8, 5
_LEAD_H = 0.5


@dataclass(frozen=True)
class Goal:
    """One goal and the figure reached."""

    text: str
    figure: str
    reached: bool


def goals(card: Card) -> list[Goal]:
    """The goals that the detectors of this run can show."""
    detectors = card["detectors"]
    if OURS not in detectors:
        return []
    ours = detectors[OURS]
    recalls = {kind: row["recall_at_0.1"] for kind, row in ours["per_fault"].items()}
    low = [f"{kind} {recall:.2f}" for kind, recall in recalls.items() if recall < _EACH_FAULT]
    high = sum(recall >= _MOST_FAULTS for recall in recalls.values())
    lead = ours["median_lead_h"]
    return [
        *([_over_autoencoder(ours, detectors[AUTOENCODER])] if AUTOENCODER in detectors else []),
        *([_over_linear(ours, detectors[LINEAR])] if LINEAR in detectors else []),
        Goal(f"recall of each fault at least {_EACH_FAULT}", ", ".join(low) or "none below", not low),
        Goal(
            f"recall of {_MOST_COUNT} faults at least {_MOST_FAULTS}",
            f"{high} of {len(recalls)}",
            high >= _MOST_COUNT,
        ),
        Goal(
            f"median lead at least {_LEAD_H:g} h of driving",
            "-" if lead is None else f"{lead:.1f} h",
            lead is not None and lead >= _LEAD_H,
        ),
    ]


def _over_autoencoder(ours: Card, autoencoder: Card) -> Goal:
    mine, other = ours["recall_at_0.1"], autoencoder["recall_at_0.1"]
    times = mine / other if other else float("inf")
    text = f"recall at 0.1 at least {_TIMES_AUTOENCODER:g} times the stateless autoencoder's"
    return Goal(text, f"{mine:.2f} / {other:.2f} = {times:.1f}", times >= _TIMES_AUTOENCODER)


def _over_linear(ours: Card, linear: Card) -> Goal:
    """Ours must lead by more than the larger of the two spreads between seeds."""
    ahead = ours["recall_at_0.1"] - linear["recall_at_0.1"]
    spreads = [row["spread"]["recall_at_0.1"] for row in (ours, linear)]
    text = "recall at 0.1 above the linear conditional model's by more than the spread between seeds"
    if None in spreads:
        return Goal(text, f"{ahead:+.2f}, one seed has no spread", reached=False)
    return Goal(text, f"{ahead:+.3f}, spread {max(spreads):.3f}", ahead > max(spreads))
