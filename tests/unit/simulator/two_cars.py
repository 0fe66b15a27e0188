"""Two cars with their uplink, for the tests of what they send."""

from pathlib import Path

import mqtt5
import numpy as np

from contract.records import single_object_header
from contract.schema import get
from contract.telemetry import SIGNALS, prefix
from simulator.journal import Identity, Journal, path_of
from simulator.metrics import WorkerCounts
from simulator.uplink import PACKET_IDS, CarConnection, Uplink
from tests.payloads import read_payload

K = len(SIGNALS)

RING = 12
ACKNOWLEDGED_KEPT = 8  # two thirds of the ring
SCHEMA = get("telemetry", 1)


class TwoCars:
    """Two cars with their uplink, and the messages that they sent."""

    def __init__(self, run_dir: Path) -> None:
        identity = Identity(seed=1, first=0, cars=2, ring=RING, scenario=0, epoch_ms=0)
        self.journal = Journal(path_of(run_dir, 0), identity)
        self.counts = WorkerCounts()
        self.cars = [CarConnection(f"car-00000{i}", ("127.0.0.1", 1), None, index=i) for i in range(2)]
        prefixes = [single_object_header(SCHEMA) + prefix(SCHEMA, car.id) for car in self.cars]
        self.wire: list[tuple[str, int, bool]] = []  # car, seq, duplicate
        self.broken = False
        count = len(SCHEMA.names("float"))
        self.uplink = Uplink(self.cars, prefixes, self.journal, self.counts, self._send, signal_count=count)
        self.now = 100.0

    def _send(self, car: CarConnection, data: bytes) -> bool:
        if self.broken:
            car.online = False
            return False
        packet, _ = mqtt5.read(memoryview(data))
        assert isinstance(packet, mqtt5.PublishPacket)
        _, record = read_payload(packet.payload)
        assert packet.topic == f"fleet/v1/{record['car_id']}/telemetry"
        assert packet.packet_id == record["seq"] % PACKET_IDS + 1
        assert packet.qos == mqtt5.QoS.AT_LEAST_ONCE
        self.wire.append((car.id[-1], record["seq"], packet.duplicate))
        return True

    def connect(self, *, present: bool = False, window: int = 100, delivering: bool = True) -> None:
        for car in self.cars:
            car.online, car.window = True, window
            self.uplink.connected(car, session_present=present)
            car.delivering = delivering or present
        self.uplink.catch_up(self.now)

    def disconnect(self) -> None:
        for car in self.cars:
            car.online = False

    def sample(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 1
            self.uplink.sample(slice(0, 2), 1_700_000_000_000, np.ones((2, K), np.float32), self.now)
            self.uplink.catch_up(self.now)

    def answer(self, seq: int, code: int = 0, car: int = 0) -> None:
        handle = self.uplink.refused if code else self.uplink.delivered
        handle(self.cars[car], seq % PACKET_IDS + 1, self.now)
        self.uplink.catch_up(self.now)

    def sent(self, car: str = "0") -> list[int]:
        return [seq for sender, seq, _ in self.wire if sender == car]
