"""Whether this replica is in its consumer group.

One without partitions can be a spare, or shut out: of a Kafka that does not know the group's protocol the
client says nothing. Only the group's own list of members tells the two apart.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient

_log = logging.getLogger("scorer")

_ASK_EVERY_S, _ANSWER_S_MAX = 1.0, 5.0
_WARN_AFTER_S = 10.0


class Membership:
    """Asks the group every second, without waiting, until it has said yes."""

    def __init__(self, admin: Callable[[], AdminClient], consumer: Consumer, group_id: str) -> None:
        self._make_admin, self._consumer, self._group_id = admin, consumer, group_id
        self._admin: AdminClient | None = None  # most replicas have partitions before they would ask
        self._answer: Future[Any] | None = None
        self._refused = False  # the question; it is logged once
        self._asked_at = self._warn_at = 0.0  # the latter 0 before the first call

    def confirmed(self, now: float) -> bool:
        """Whether the group's last answer names this replica; `now` is time.monotonic()."""
        if not self._warn_at:
            self._asked_at, self._warn_at = now, now + _WARN_AFTER_S
        if self._answer is not None and self._answer.done():
            answer, self._answer = self._answer, None
            if self._is_named(answer):
                self._admin = None
                return True
        if self._answer is None and now - self._asked_at >= _ASK_EVERY_S:
            self._asked_at = now
            self._admin = self._admin or self._make_admin()
            asked = self._admin.describe_consumer_groups([self._group_id], request_timeout=_ANSWER_S_MAX)
            self._answer = asked[self._group_id]
        if now >= self._warn_at:
            self._warn_at = float("inf")
            _log.warning(
                "not in the consumer group %s after %.0f s: Kafka before 4.0 and some other brokers know "
                "only --group-protocol classic", self._group_id, _WARN_AFTER_S,
            )  # fmt: skip
        return False

    def _is_named(self, answer: Future[Any]) -> bool:
        try:
            members = answer.result().members
        except KafkaException as error:
            if not self._refused:
                self._refused = True
                _log.warning("Kafka does not describe the consumer group %s: %s", self._group_id, error)
            return False
        return self._consumer.memberid() in {member.member_id for member in members}
