"""A fleet of simulated cars, each with an MQTT connection of its own.

__main__ → worker_pool   the parent process: starts the workers, serves the sum of their counts
  clock                  the time of a run; a start waits until the clock of the machine is set
  worker → pipeline      a worker process: its loop samples a group of cars per tick
    fleet                the physics of the cars: one step at a time
      trips, driving, powertrain, chassis, sensors, faults; scenario, cars: their parameters
    journal              what the cars keep on disk: how far they have counted, their last samples
    uplink, workshop     which samples and reports to send, and which are acknowledged
    connections          the MQTT connections of the worker, on one epoll
"""

import sys

from contract.schema import OWN_FOLDER, VARIABLE

if OWN_FOLDER is not None:
    # Checked at import because the physics is set up for the project's own signals.
    print(f"settings: {VARIABLE}: the simulator supports the project's own schemas only", file=sys.stderr)
    sys.exit(2)
