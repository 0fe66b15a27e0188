"""What the alerts foresaw: each is matched with the workshops' reports, as they arrive.

An alert claims that its car fails within the horizon. The claim ends with the car's next repair: what stays
open after it says nothing new. Of an alert is known that it was

- confirmed: a failure that occurred after it, within the claim, was reported;
- late: it was told while a broken component had not been repaired: true, but of no use;
- false: the horizon, and what a report may take, are over, and nothing of this was reported;
- pending: none of these yet. It counts for nothing.

A reported failure was foreseen where it confirms an alert, else missed. Nothing depends on the order in which
alerts and reports arrive: a verdict is drawn from all that is there, and one report more can turn it.
"""

import math
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from contract.hypotheses import without_wheel

Verdict = Literal["confirmed", "late", "false", "pending"]

# Beyond it alerts are counted and not matched: a model that alarms on everything must not fill the memory.
ALERTS_MAX = 200_000
_LISTED_MAX = 10_000  # in the JSON file, of each
# The row of all components together.
ALL = "all"


@dataclass
class JudgedAlert:
    """An alert. Times are seconds since 1970: of the sample that opened it, and of its scoring."""

    alert_id: str
    car_id: str
    component: str  # the hypothesis, "" for none
    opened_s: float
    told_s: float
    model_version: int
    verdict: Verdict = "pending"
    lead_s: float | None = None  # from its telling to the failure that confirms it
    failed: str = ""  # the component whose failure confirms it


@dataclass
class ReportedFailure:
    """A failure that a workshop reported; `repaired_s` infinite: not that one knew."""

    car_id: str
    component: str
    failed_s: float
    repaired_s: float = math.inf
    lead_s: float | None = None  # from the first alert that it confirms; None: missed


@dataclass(frozen=True)
class ForesightTally:
    """How many, of a kind of component or of all.

    `right`: confirmed, and the component that failed is the one they named. Alerts count for the component
    that they name, failures for the one that failed.
    """

    confirmed: int = 0
    right: int = 0
    late: int = 0
    false: int = 0
    pending: int = 0
    failures: int = 0
    leads_s: tuple[float, ...] = ()

    @property
    def alerts(self) -> int:
        """All of them."""
        return self.confirmed + self.late + self.false + self.pending

    @property
    def foreseen(self) -> int:
        """Failures with an alert before them."""
        return len(self.leads_s)

    @property
    def precision(self) -> float | None:
        """Confirmed ones among those that were confirmed or false; None: of nothing yet."""
        judged = self.confirmed + self.false
        return self.confirmed / judged if judged else None

    @property
    def recall(self) -> float | None:
        """Foreseen ones among the failures; None: of nothing yet."""
        return self.foreseen / self.failures if self.failures else None

    @property
    def median_lead_s(self) -> float | None:
        """Before failure, of the foreseen ones."""
        return median(self.leads_s) if self.leads_s else None

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        counts = ("confirmed", "right", "late", "false", "pending", "failures", "foreseen")
        shares = ("precision", "recall", "median_lead_s")
        return {"alerts": self.alerts} | {name: getattr(self, name) for name in (*counts, *shares)}


@dataclass
class _Car:
    """What is known of one car; `told` are (alert_id, action) and report ids: both can come twice."""

    alerts: list[JudgedAlert] = field(default_factory=list)
    # (occurred at, s; component), as reported
    failed: list[tuple[float, str]] = field(default_factory=list)
    repaired: list[tuple[float, str]] = field(default_factory=list)
    failures: list[ReportedFailure] = field(default_factory=list)
    told: set[str] = field(default_factory=set)


class AlertVerdicts:
    """Takes alerts and reports in any order, as decoded records, and keeps the verdicts.

    `horizon_s`: a failure so long after an alert confirms it. `report_s`: a report comes at most so long
    after the failure; one that comes later still turns the verdict.
    """

    def __init__(self, horizon_s: float = 14 * 86_400.0, report_s: float = 86_400.0) -> None:
        self.horizon_s, self.report_s = horizon_s, report_s
        self.left_out = 0  # alerts beyond ALERTS_MAX
        self._cars: dict[str, _Car] = defaultdict(_Car)
        self._count = 0

    def take(self, news: deque[tuple[str, dict[str, Any]]]) -> None:
        """Take away all that was heard, (type, record); other types are none of its business."""
        while news:
            name, record = news.popleft()
            if name == "alert":
                self.take_alert(record)
            elif name == "maintenance":
                self.take_report(record)

    def take_alert(self, record: Mapping[str, Any]) -> None:
        """One record of topic `alerts`. What closes one changes no verdict: the claim was made."""
        car = self._cars[record["car_id"]]
        if record["action"] != "opened" or record["alert_id"] in car.told:
            return
        if self._count >= ALERTS_MAX:
            self.left_out += 1
            return
        self._count += 1
        car.told.add(record["alert_id"])
        car.alerts.append(
            JudgedAlert(
                alert_id=record["alert_id"],
                car_id=record["car_id"],
                component=record["component"],
                opened_s=record["opened_at"] / 1000,
                told_s=record["scored_at"] / 1000,
                model_version=record["model_version"],
            )
        )
        self._judge(car)

    def take_report(self, record: Mapping[str, Any]) -> None:
        """One record of topic `maintenance`."""
        car = self._cars[record["car_id"]]
        if record["report_id"] in car.told:
            return
        car.told.add(record["report_id"])
        reported = car.failed if record["action"] == "failed" else car.repaired
        reported.append((record["occurred_at"] / 1000, record["component"]))
        reported.sort()
        car.failures = _failures(record["car_id"], car.failed, car.repaired)
        self._judge(car)

    def alerts(self, now_s: float) -> list[JudgedAlert]:
        """All alerts with the verdicts of now, in the order of their telling."""
        every = [alert for car in self._cars.values() for alert in car.alerts]
        for alert in every:
            if alert.verdict in ("pending", "false"):
                over_s = alert.told_s + self.horizon_s + self.report_s
                alert.verdict = "false" if now_s > over_s else "pending"
        return sorted(every, key=lambda alert: (alert.told_s, alert.alert_id))

    def failures(self, since_s: float) -> list[ReportedFailure]:
        """Reported failures that occurred at or after `since_s`: before, nobody was watching."""
        every = [failure for car in self._cars.values() for failure in car.failures]
        return sorted(
            (failure for failure in every if failure.failed_s >= since_s),
            key=lambda failure: (failure.failed_s, failure.car_id),
        )

    def tallies(self, now_s: float, since_s: float) -> dict[str, ForesightTally]:
        """By kind of component, in order; `all` comes last. Failures before `since_s` do not count."""
        alerts, failures = self.alerts(now_s), self.failures(since_s)
        named, failed = {kind(a.component) for a in alerts}, {kind(f.component) for f in failures}
        tallies = {
            name: _tally(
                [alert for alert in alerts if kind(alert.component) == name],
                [failure for failure in failures if kind(failure.component) == name],
            )
            for name in sorted(named | failed)
        }
        return tallies | {ALL: _tally(alerts, failures)}

    def as_dict(self, now_s: float, since_s: float) -> dict[str, Any]:
        """For the JSON file; infinity, which JSON does not know, is null there."""
        tallies = self.tallies(now_s, since_s)
        failures = self.failures(since_s)
        return {
            "horizon_s": self.horizon_s,
            "report_s": self.report_s,
            "failures_before_the_first_model": len(self.failures(-math.inf)) - len(failures),
            "alerts_left_out": self.left_out,
            "all": tallies.pop(ALL).as_dict(),
            "per_component": {name: tally.as_dict() for name, tally in tallies.items()},
            "alerts": [vars(alert) for alert in self.alerts(now_s)[:_LISTED_MAX]],
            "failures": [
                vars(failure) | ({"repaired_s": None} if math.isinf(failure.repaired_s) else {})
                for failure in failures[:_LISTED_MAX]
            ],
        }

    def _judge(self, car: _Car) -> None:
        """Draw the verdicts of a car anew."""
        for failure in car.failures:
            failure.lead_s = None
        for alert in car.alerts:
            alert.verdict, alert.lead_s, alert.failed = "pending", None, ""
            claimed_until_s = min(
                [alert.told_s + self.horizon_s, *(at for at, _ in car.repaired if at >= alert.told_s)]
            )
            for failure in car.failures:
                lead_s = failure.failed_s - alert.told_s
                if lead_s >= 0 and failure.failed_s <= claimed_until_s:
                    if alert.lead_s is None:
                        alert.verdict, alert.lead_s, alert.failed = "confirmed", lead_s, failure.component
                    failure.lead_s = max(lead_s, failure.lead_s or 0.0)
                elif lead_s < 0 and alert.opened_s <= failure.repaired_s and alert.verdict == "pending":
                    alert.verdict = "late"


def _failures(
    car_id: str, failed: list[tuple[float, str]], repaired: list[tuple[float, str]]
) -> list[ReportedFailure]:
    """Each failure with the repair of its component that followed; both lists are in order of time."""
    return [
        ReportedFailure(
            car_id,
            component,
            at,
            next((done for done, part in repaired if part == component and done >= at), math.inf),
        )
        for at, component in failed
    ]


def _tally(alerts: list[JudgedAlert], failures: list[ReportedFailure]) -> ForesightTally:
    verdicts = [alert.verdict for alert in alerts]
    return ForesightTally(
        confirmed=verdicts.count("confirmed"),
        right=sum(alert.verdict == "confirmed" and alert.component == alert.failed for alert in alerts),
        late=verdicts.count("late"),
        false=verdicts.count("false"),
        pending=verdicts.count("pending"),
        failures=len(failures),
        leads_s=tuple(failure.lead_s for failure in failures if failure.lead_s is not None),
    )


def kind(component: str) -> str:
    """The component without its wheel; every sensor is a `sensor`, no component is `unknown`."""
    if component.endswith("_sensor"):
        return "sensor"
    return without_wheel(component) or "unknown"
