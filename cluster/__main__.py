"""python -m cluster: a Kubernetes with clusters/local in it and the brokers beside it, until Ctrl-C."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cluster import cluster as clusters
from cluster import images, overlay
from cluster.cluster import LocalCluster
from local.deployment import Deployment, Plan
from plumbing import life, log, settings
from plumbing.settings import setting

_LOOK_S = 1.0


@dataclass(frozen=True)
class Settings:
    """Flags, environment (KUBERNETES_HERE_…) or these defaults."""

    run_dir: Path = setting(
        "folder for everything that the run keeps; emptied at the start", default=Path("var/cluster")
    )
    cars: int = setting("cars of the fleet", default=500)
    rate_hz: float = setting("samples per second of each car", default=2.0)
    port_offset: int = setting("added to every port, to run beside another deployment", default=0)


def main() -> None:
    """Entry point."""
    life.main(_run)


def _run() -> int:
    argv, command = sys.argv[1:], "python -m cluster"
    chosen = settings.load(
        Settings, prefix="KUBERNETES_HERE", argv=argv, description=__doc__, command=command
    )
    log.configure("cluster", "text")
    stop = life.Stop().install()
    programs = clusters.build(print)
    brokers = chosen.run_dir / "brokers"
    plan = Plan(run_dir=brokers, cars=chosen.cars, rate_hz=chosen.rate_hz, shards=1,
                port_offset=chosen.port_offset, fleet_dir=brokers / "fleet")  # fmt: skip
    cluster = LocalCluster(programs, chosen.run_dir / "kubernetes", chosen.port_offset)
    deployment = Deployment(plan)
    try:
        print("starting control plane, node and brokers")
        cluster.start_control_plane()
        cluster.start_node()
        deployment.start_brokers()
        deployment.start_mirror()
        folder = overlay.of_plan(chosen.run_dir / "overlay", plan, images.tags(), cluster.api_port)
        cluster.kubectl("apply", "-k", folder)
        print(
            f"up. In another shell:\n"
            f"  export KUBECONFIG={cluster.kubeconfig} PATH={programs}:$PATH\n"
            f"  kubectl get pods\n"
            f"  var/venv/bin/python -m trainer launch\n"
            f"  kubectl scale deployment scorer --replicas=3\n"
            f"Ctrl-C here ends it"
        )
        while not stop.requested:
            cluster.supervisor.tick()
            deployment.supervisor.tick()
            time.sleep(_LOOK_S)
    finally:
        print("stopping")
        try:
            cluster.stop()
        finally:
            deployment.stop()
    return 0


if __name__ == "__main__":
    main()
