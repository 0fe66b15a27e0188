"""Where samples come from, as audit records and car states say it."""

from dataclasses import dataclass


@dataclass
class Source:
    """The group that scores, and the log that it reads.

    An offset means nothing without its log: a topic that is deleted and made again begins at 0.
    """

    group: str = ""
    topic_id: str = ""  # of telemetry, as of the last takeover; empty where Kafka gives topics no ids

    def is_mine(self, topic_id: str) -> bool:
        """Whether offsets under this id are of the log as it is now; where an id is not known, they are."""
        return not topic_id or not self.topic_id or topic_id == self.topic_id
