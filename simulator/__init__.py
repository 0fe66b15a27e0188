"""The fleet: physics of many cars at once, their faults, and one MQTT connection for each of them."""

import sys

from contract.schema import VARIABLE, own_folder

if own_folder() is not None:
    # At import: without its signals the physics cannot even be set up.
    print(f"settings: {VARIABLE}: the simulator drives the project's own cars only", file=sys.stderr)
    sys.exit(2)
