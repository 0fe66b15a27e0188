"""`make compat`: the message path over other MQTT brokers and Kafkas, with user and password, and its ledger.

Of each combination a fleet, a bridge and two scorers run; the bridge and a scorer are killed under load. Then
every record must be in Kafka, and be scored once. docs/compatibility.md says what to set for others.
"""

from collections.abc import Sequence

from loadtest.compat import run
from loadtest.compat.settings import Settings
from plumbing.settings import load


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 where every combination ran and lost nothing."""
    settings = load(
        Settings, prefix="COMPAT", argv=arguments, description=__doc__, command="python -m loadtest compat"
    )
    return run.main(settings)
