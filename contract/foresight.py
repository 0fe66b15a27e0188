"""What the alerts foresaw: each alert is matched with the workshops' reports as they arrive.

An alert claims that its car fails within the horizon. The claim ends with the car's next repair: an alert
that stays open across it says nothing about the next fault. The verdict on an alert is

- confirmed: a failure that occurred after it, within the claim, was reported;
- late: it was raised while a broken component was not yet repaired, which is true but of no use;
- false: a workshop inspected the car because of it and found nothing; or the horizon, and the time that a
  report may take, are over; and none of these;
- pending: none of these yet; it counts for nothing.

An inspection that finds nothing ends no claim: a failure that follows within it was overlooked, and confirms
the alert. A report of one that names no alert speaks for all alerts of the car that were raised before it.

A reported failure that confirms an alert was foreseen, any other was missed. The order in which alerts and
reports arrive does not matter: verdicts are drawn from all that is known, and one more report can change one.
"""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from contract import maintenance

Verdict = Literal["confirmed", "late", "false", "pending"]

# Beyond it alerts are counted but not matched: a model that alarms on everything must not fill the memory.
ALERTS_MAX = 200_000
_LISTED_MAX = 10_000  # alerts, and failures, in the JSON file
ALL = "all"  # the row of all components together


@dataclass
class JudgedAlert:
    """An alert and the verdict on it; times are s since 1970."""

    alert_id: str
    car_id: str
    component: str  # the component that it names, "" for none
    opened_s: float  # time stamp of the sample that opened it
    told_s: float  # when that sample was scored
    model_version: int
    signal: str = ""  # the one with the largest share in its score
    verdict: Verdict = "pending"
    lead_s: float | None = None  # from told_s to the failure that confirms it
    failed: str = ""  # the component whose failure confirms it
    inspected: bool = False  # a workshop looked for its reason and found nothing


@dataclass
class ReportedFailure:
    """A failure that a workshop reported; times are s since 1970."""

    car_id: str
    component: str
    failed_s: float
    repaired_s: float = math.inf  # infinite while no repair is known
    lead_s: float | None = None  # from the first alert that it confirms; None: missed


@dataclass(frozen=True)
class ForesightTally:
    """Counts of alerts and failures, of one kind of component or of all.

    An alert counts for the component that it names, a failure for the component that failed.
    """

    alerts: int  # whatever the verdict
    confirmed: int
    right: int  # confirmed alerts that named the component that failed
    late: int
    false: int
    pending: int
    failures: int
    foreseen: int  # failures with an alert before them
    precision: float | None  # confirmed over confirmed and false alerts; None without any of these
    recall: float | None  # foreseen failures over all; None without a failure
    median_lead_s: float | None  # from alert to failure, over the foreseen failures


@dataclass
class _CarHistory:
    """What is known of one car."""

    alerts: list[JudgedAlert] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)  # (s since 1970, component) as reported
    repaired: list[tuple[float, str]] = field(default_factory=list)
    inspected: list[tuple[float, str]] = field(default_factory=list)  # (s since 1970, alert id, "" for none)
    failures: list[ReportedFailure] = field(default_factory=list)
    seen_ids: set[str] = field(default_factory=set)  # of alerts and reports: both can arrive twice


class AlertVerdicts:
    """Takes decoded alerts and reports in any order and keeps the verdict on each alert."""

    def __init__(self, horizon_s: float = 14 * 86_400.0, report_s: float = 86_400.0) -> None:
        """An alert is confirmed by a failure within `horizon_s`, reported at most `report_s` later.

        A report that takes longer still changes the verdict.
        """
        self.horizon_s, self.report_s = horizon_s, report_s
        self.left_out = 0  # alerts beyond ALERTS_MAX
        self._cars: dict[str, _CarHistory] = defaultdict(_CarHistory)
        self._count = 0
        self._unjudged: set[str] = set()  # cars with news: judged when somebody asks, not once an alert

    def take(self, news: deque[tuple[str, dict[str, Any]]]) -> None:
        """Take all (type, record) pairs out of the queue; types other than these two are ignored."""
        while news:
            name, record = news.popleft()
            if name == "alert":
                self.take_alert(record)
            elif name == "maintenance":
                self.take_report(record)

    def take_alert(self, record: Mapping[str, Any]) -> None:
        """Take one record of topic `alerts`. Closing an alert does not change its verdict."""
        car = self._cars[record["car_id"]]
        if record["action"] != "opened" or record["alert_id"] in car.seen_ids:
            return
        if self._count >= ALERTS_MAX:
            self.left_out += 1
            return
        self._count += 1
        car.seen_ids.add(record["alert_id"])
        car.alerts.append(
            JudgedAlert(
                alert_id=record["alert_id"],
                car_id=record["car_id"],
                component=record["component"],
                opened_s=record["opened_at"] / 1000,
                told_s=record["scored_at"] / 1000,
                model_version=record["model_version"],
                signal=record["signals"][0]["name"] if record.get("signals") else "",
            )
        )
        self._unjudged.add(record["car_id"])

    def take_report(self, record: Mapping[str, Any]) -> None:
        """Take one record of topic `maintenance`."""
        car = self._cars[record["car_id"]]
        if record["report_id"] in car.seen_ids:
            return
        car.seen_ids.add(record["report_id"])
        self._unjudged.add(record["car_id"])
        at_s, action = record["occurred_at"] / 1000, maintenance.action(record)
        if action == maintenance.INSPECTED:
            car.inspected.append((at_s, record.get("alert_id") or ""))
            return
        reported = car.failed if action == maintenance.FAILED else car.repaired
        reported.append((at_s, record["component"]))
        reported.sort()
        car.failures = [ReportedFailure(record["car_id"], part, at) for at, part in car.failed]
        for failure in car.failures:
            repairs = (
                at for at, part in car.repaired if part == failure.component and at >= failure.failed_s
            )
            failure.repaired_s = next(repairs, math.inf)

    def alerts(self, now_s: float) -> list[JudgedAlert]:
        """All alerts with their verdicts at `now_s`, in the order in which they were raised."""
        self._judge_all()
        alerts = [alert for car in self._cars.values() for alert in car.alerts]
        for alert in alerts:
            if alert.verdict in ("pending", "false"):
                over_s = alert.told_s + self.horizon_s + self.report_s
                alert.verdict = "false" if alert.inspected or now_s > over_s else "pending"
        return sorted(alerts, key=lambda alert: (alert.told_s, alert.alert_id))

    def failures(self, since_s: float) -> list[ReportedFailure]:
        """Reported failures that occurred at or after `since_s`, in order of time."""
        self._judge_all()
        failures = [f for car in self._cars.values() for f in car.failures if f.failed_s >= since_s]
        return sorted(failures, key=lambda failure: (failure.failed_s, failure.car_id))

    def tallies(self, now_s: float, since_s: float) -> dict[str, ForesightTally]:
        """A tally for each kind of component in order, then `all`. Failures before `since_s` do not count."""
        alerts, failures = self.alerts(now_s), self.failures(since_s)
        kinds = {kind(alert.component) for alert in alerts} | {kind(f.component) for f in failures}
        tallies = {
            name: _tally(
                [alert for alert in alerts if kind(alert.component) == name],
                [failure for failure in failures if kind(failure.component) == name],
            )
            for name in sorted(kinds)
        }
        return tallies | {ALL: _tally(alerts, failures)}

    def as_dict(self, now_s: float, since_s: float) -> dict[str, Any]:
        """The content for the JSON file; an infinite `repaired_s` is null there."""
        tallies = self.tallies(now_s, since_s)
        failures = self.failures(since_s)
        return {
            "horizon_s": self.horizon_s,
            "report_s": self.report_s,
            "failures_before_the_first_model": len(self.failures(-math.inf)) - len(failures),
            "alerts_left_out": self.left_out,
            "all": vars(tallies.pop(ALL)),
            "per_component": {name: vars(tally) for name, tally in tallies.items()},
            "alerts": [vars(alert) for alert in self.alerts(now_s)[:_LISTED_MAX]],
            "failures": [
                vars(failure) | ({"repaired_s": None} if math.isinf(failure.repaired_s) else {})
                for failure in failures[:_LISTED_MAX]
            ],
        }

    def _judge_all(self) -> None:
        for car_id in self._unjudged:
            self._judge(self._cars[car_id])
        self._unjudged.clear()

    def _judge(self, car: _CarHistory) -> None:
        """Draw the verdicts on a car's alerts anew."""
        for failure in car.failures:
            failure.lead_s = None
        for alert in car.alerts:
            alert.verdict, alert.lead_s, alert.failed = "pending", None, ""
            alert.inspected = any(
                alert.alert_id == alert_id if alert_id else alert.told_s <= at
                for at, alert_id in car.inspected
            )
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


def _tally(alerts: list[JudgedAlert], failures: list[ReportedFailure]) -> ForesightTally:
    count = Counter(alert.verdict for alert in alerts)
    leads_s = [failure.lead_s for failure in failures if failure.lead_s is not None]
    judged = count["confirmed"] + count["false"]
    return ForesightTally(
        alerts=len(alerts),
        confirmed=count["confirmed"],
        right=sum(alert.verdict == "confirmed" and alert.component == alert.failed for alert in alerts),
        late=count["late"],
        false=count["false"],
        pending=count["pending"],
        failures=len(failures),
        foreseen=len(leads_s),
        precision=count["confirmed"] / judged if judged else None,
        recall=len(leads_s) / len(failures) if failures else None,
        median_lead_s=median(leads_s) if leads_s else None,
    )


def kind(component: str) -> str:
    """The kind of a component: `tire_1_2` is a `tire`, every sensor is a `sensor`, "" is `unknown`."""
    if component.endswith("_sensor"):
        return "sensor"
    return component.rstrip("_0123456789") or "unknown"
