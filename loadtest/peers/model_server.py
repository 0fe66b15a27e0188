"""MLServer with our detector as its only model, on 127.0.0.1."""

import json
from pathlib import Path

from contract.manifest import unpack
from contract.topics import Topic
from loadtest.bench.run import BenchRun
from loadtest.peers.v2 import ANSWERS, MODEL, REQUESTS
from local import topics
from local.deployment import ENVIRONMENT
from local.supervisor import Child
from plumbing import web

_NAME = "mlserver"
_READY_WITHIN_S = 60.0
_TIMEOUT_S = 0.5
# Without this MLServer writes a line for every message.
_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"mlserver.kafka": {"level": "WARNING"}},
}


def start(run: BenchRun, interpreter: str, model: bytes, kafka: bool) -> tuple[Child, str]:
    """A server of the graph in a model record, and the address at which a served scorer asks it.

    Raises WorldDown where it does not become ready.
    """
    http, grpc, folder = run.ports.scorer(1), run.ports.scorer(2), run.folder / _NAME
    folder.mkdir(exist_ok=True)
    tflite = folder / f"{MODEL}.tflite"
    tflite.write_bytes(unpack(model)[1])
    (folder / "settings.json").write_text(
        json.dumps(server_settings(http, grpc, run.edge if kafka else None))
    )
    (folder / "model-settings.json").write_text(json.dumps(model_settings(tflite)))
    if kafka:
        topics.create("edge", run.edge, [Topic(REQUESTS, partitions=1), Topic(ANSWERS, partitions=1)])
    argv = [interpreter, "-m", "mlserver.cli.main", "start", str(folder)]
    server = Child(_NAME, argv, lambda: _is_ready(http), restart=False, env=ENVIRONMENT)
    run.supervisor.start(server)
    run.supervisor.wait_ready([_NAME], _READY_WITHIN_S)
    return server, run.edge if kafka else f"127.0.0.1:{grpc}"


def server_settings(http: int, grpc: int, kafka: str | None) -> dict[str, object]:
    """MLServer's settings.json: one process that neither logs nor counts each request, which is cheapest."""
    topics = {
        "kafka_enabled": True,
        "kafka_servers": kafka,
        "kafka_topic_input": REQUESTS,
        "kafka_topic_output": ANSWERS,
    }
    return {
        "debug": False,
        "host": "127.0.0.1",
        "http_port": http,
        "grpc_port": grpc,
        "metrics_endpoint": None,
        "parallel_workers": 0,
        "logging_settings": _LOGGING,
        **({} if kafka is None else topics),
    }


def model_settings(tflite: Path) -> dict[str, object]:
    """MLServer's model-settings.json."""
    return {
        "name": MODEL,
        "implementation": "loadtest.peers.mlserver_runtime.Detector",
        "parameters": {"uri": str(tflite.resolve())},
    }


def _is_ready(port: int) -> bool:
    """Whether the server says that it can run the model."""
    try:
        with web.opened(f"http://127.0.0.1:{port}/v2/models/{MODEL}/ready", timeout_s=_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
