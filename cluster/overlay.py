"""The overlay for `kubectl apply -k`: clusters/local with the ports, image tags and folder of this run."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from cluster.images import name
from local.deployment import Plan
from local.java import ROOT
from local.store import quoted

NAMESPACE = "connected-cars"
# The user of the images (Dockerfile).
USER = 10001
_VOLUME = Path(__file__).with_name("volume.yaml").read_text(encoding="utf-8")


def of_plan(folder: Path, plan: Plan, tags: Mapping[str, str], api_port: int) -> Path:
    """Write the overlay with the plan's ports and cars and the images' `tags` by service; returns `folder`.

    The watcher's pod finds the API server at `api_port` of this machine. The plan's fleet folder becomes the
    volume of the journals, where the ledger reads what the cars sent.
    """
    fleet = plan.fleet_dir or plan.run_dir / "fleet"
    folder.mkdir(parents=True, exist_ok=True)
    fleet.mkdir(parents=True, exist_ok=True)
    os.chown(fleet, USER, USER)
    brokers = plan.mqtt_brokers
    edge, cloud = f"127.0.0.1:{plan.ports.edge}", f"127.0.0.1:{plan.ports.cloud}"
    settings = {
        "simulator": {
            "SIMULATOR_MQTT_BROKERS": brokers,
            "SIMULATOR_CARS": str(plan.cars),
            "SIMULATOR_RATE_HZ": str(plan.rate_hz),
            "SIMULATOR_SEED": str(plan.seed),
            **{f"SIMULATOR_{name.upper()}": str(value) for name, value in plan.changes.items()},
        },
        "bridge": {"BRIDGE_MQTT_BROKERS": brokers, "BRIDGE_KAFKA_BOOTSTRAP": edge},
        "scorer": {"SCORER_KAFKA_BOOTSTRAP": edge},
        "trainer": {"TRAINER_KAFKA_BOOTSTRAP": cloud},
        "watcher": {"WATCHER_KAFKA_BOOTSTRAP": cloud},
    }
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(ROOT / "k8s/clusters/local", folder.resolve()), "volume.yaml"],
        "configMapGenerator": [
            {
                "name": f"{service}-settings",
                "namespace": NAMESPACE,
                "behavior": "merge",
                "literals": [f"{key}={value}" for key, value in literals.items()],
            }
            for service, literals in settings.items()
        ],
        "patches": [{"target": {"kind": "Deployment", "name": "watcher"}, "patch": _api_server(api_port)}],
        "images": [{"name": name(service, "").rstrip(":"), "newTag": tag} for service, tag in tags.items()],
    }
    volume = _VOLUME.format(namespace=NAMESPACE, fleet=quoted(fleet.resolve()))
    (folder / "volume.yaml").write_text(volume, encoding="utf-8")
    (folder / "kustomization.yaml").write_text(json.dumps(kustomization, indent=1), encoding="utf-8")
    return folder


def _api_server(port: int) -> str:
    """A patch that names the API server: without a pod network its service's address leads nowhere."""
    address = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
    path = "/spec/template/spec/containers/0/env/-"
    return json.dumps(
        [{"op": "add", "path": path, "value": {"name": n, "value": v}} for n, v in address.items()]
    )
