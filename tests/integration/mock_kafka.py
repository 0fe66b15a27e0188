"""A Kafka without a JVM: the mock cluster of librdkafka in a process of its own, up in 0.1 s.

Real clients connect to it and use its produce, fetch, offset and group requests (KIP-848 too). It keeps
records in memory, at most 5 MB a partition, and has no transactions, no retention and no restart: tests of
those use the fixtures `edge_kafka` and `cloud_kafka`.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

_CONSUMER_GROUP_HEARTBEAT = 68  # key of the request
_REBALANCE_DELAY_MS = 100
_HEARTBEAT_MS, _SESSION_TIMEOUT_MS = 200, 3_000


class MockKafka:
    """One mock cluster with its topics; it can be stopped from answering for a while."""

    def __init__(self, partitions: Mapping[str, int], *, classic: bool = False) -> None:
        """`partitions`: topic to the number of its partitions. `classic`: it knows no other groups."""
        import confluent_kafka

        (library,) = (Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka-*")
        arguments = [f"{name}:{count}" for name, count in partitions.items()] + ["classic"] * classic
        self._process = subprocess.Popen(
            [sys.executable, "-ES", __file__, str(library), *arguments],
            stdin=subprocess.PIPE,  # it ends when this process ends
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.bootstrap = self._process.stdout.readline().strip()
        if not self.bootstrap:
            self.close()
            raise AssertionError("the mock cluster did not start")

    def pause(self) -> None:
        """Kafka answers nobody (SIGSTOP)."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Kafka answers again."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the cluster; its records are gone."""
        self._process.kill()
        self._process.communicate()


def _serve(library: str, topics: list[str], *, classic: bool) -> None:
    """Run a cluster until stdin ends; its address is the first line of stdout."""
    kafka = ctypes.CDLL(library)
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(kafka, name).restype = ctypes.c_void_p
    kafka.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    error = ctypes.create_string_buffer(512)
    settings = ctypes.c_void_p(kafka.rd_kafka_conf_new())
    kafka.rd_kafka_conf_set(settings, b"log_level", b"0", error, len(error))
    owner = ctypes.c_void_p(kafka.rd_kafka_new(0, settings, error, len(error)))
    cluster = ctypes.c_void_p(kafka.rd_kafka_mock_cluster_new(owner, 1))
    _name_the_controller(cluster)
    address = kafka.rd_kafka_mock_cluster_bootstraps(cluster).decode()
    ready = threading.Event()
    threading.Thread(target=_keep_awake, args=(address, ready)).start()
    kafka.rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(cluster, _HEARTBEAT_MS)
    kafka.rd_kafka_mock_set_group_consumer_session_timeout_ms(cluster, _SESSION_TIMEOUT_MS)
    kafka.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, _REBALANCE_DELAY_MS)
    if classic:
        kafka.rd_kafka_mock_set_apiversion(cluster, _CONSUMER_GROUP_HEARTBEAT, -1, -1)
    for topic in topics:
        name, _, partitions = topic.rpartition(":")
        failed = kafka.rd_kafka_mock_topic_create(cluster, name.encode(), int(partitions), 1)
        assert not failed, f"topic {topic}: error {failed}"
    ready.set()
    print(address, flush=True)
    sys.stdin.read()
    os._exit(0)


def _name_the_controller(cluster: ctypes.c_void_p) -> None:
    """Make broker 1 the controller, which answers who asks for topic ids; without this it is a broker 0.

    No function sets it: it stands in the cluster's structure behind its name (32 bytes) and a pointer.
    """
    assert cluster.value is not None
    assert ctypes.string_at(cluster.value).startswith(b"mockCluster"), "librdkafka's structure has changed"
    ctypes.c_int32.from_address(cluster.value + 32 + ctypes.sizeof(ctypes.c_void_p)).value = 1


def _keep_awake(address: str, ready: threading.Event) -> None:
    """Connect again and again: otherwise a call can wait for the end of the cluster's poll of 1 s."""
    host, _, port = address.rpartition(":")
    while not ready.wait(0.005):
        socket.create_connection((host, int(port))).close()


if __name__ == "__main__":
    _serve(sys.argv[1], [each for each in sys.argv[2:] if each != "classic"], classic="classic" in sys.argv)
