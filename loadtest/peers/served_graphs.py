"""Graphs that run in MLServer, with the method of plumbing.tflite.Interpreter.

Needs the environment of mlserver.txt.
"""

import time
from typing import Any

import numpy as np
import tritonclient.grpc as triton  # type: ignore[import-not-found]
from confluent_kafka import Consumer, Producer, TopicPartition

from loadtest.peers.v2 import ANSWERS, INPUTS, MODEL, OUTPUTS, REQUESTS, request, results_of
from plumbing.life import WorldDown
from plumbing.tflite import Floats

_ANSWERED_WITHIN_S = 60.0

Results = tuple[Floats, Floats, Floats]


class Grpc:
    """One call of the V2 protocol a batch; arrays travel as the bytes of one element, the cheapest form."""

    def __init__(self, address: str) -> None:
        self._client = triton.InferenceServerClient(address)

    def run(self, signals: Floats, state: Floats) -> Results:
        """As Interpreter.run."""
        inputs = [self._input(name, values) for name, values in zip(INPUTS, (signals, state), strict=True)]
        answer = self._client.infer(MODEL, inputs, client_timeout=_ANSWERED_WITHIN_S)
        score, contribution, after = (self._output(answer.as_numpy(name)) for name in OUTPUTS)
        return score.reshape(-1), contribution.reshape(signals.shape), after.reshape(state.shape)

    def _input(self, name: str, values: Floats) -> Any:
        tensor = triton.InferInput(name, [1], "BYTES")
        return tensor.set_data_from_numpy(np.array([values.astype(np.float32, copy=False).tobytes()], object))

    def _output(self, values: Any) -> Floats:
        return np.frombuffer(values[0], np.float32)


class GrpcFloats(Grpc):
    """One call a batch with float tensors, as the clients of the protocol send arrays."""

    def _input(self, name: str, values: Floats) -> Any:
        tensor = triton.InferInput(name, list(values.shape), "FP32")
        return tensor.set_data_from_numpy(np.ascontiguousarray(values, np.float32))

    def _output(self, values: Any) -> Floats:
        return values  # type: ignore[no-any-return]


class GrpcEach(GrpcFloats):
    """One call a record, each after the answer to the one before."""

    def run(self, signals: Floats, state: Floats) -> Results:
        """As Interpreter.run."""
        call = super().run
        rows = [call(signals[row : row + 1], state[row : row + 1]) for row in range(len(signals))]
        score, contribution, after = map(np.concatenate, zip(*rows, strict=True))
        return score, contribution, after


class Kafka:
    """One message of the V2 protocol a record to a topic, and its answer from another one."""

    def __init__(self, bootstrap: str) -> None:
        settings = {"bootstrap.servers": bootstrap}
        self._producer = Producer({**settings, "linger.ms": 5})
        self._consumer = Consumer({**settings, "group.id": "served-answers", "fetch.wait.max.ms": 5})
        answers = TopicPartition(ANSWERS, 0)
        # An offset, not OFFSET_END: that is looked up later, and could miss the first answer.
        _, end = self._consumer.get_watermark_offsets(answers, timeout=_ANSWERED_WITHIN_S)
        self._consumer.assign([TopicPartition(ANSWERS, 0, end)])
        self._calls = 0

    def run(self, signals: Floats, state: Floats) -> Results:
        """As Interpreter.run: returns once all answers are there."""
        self._calls += 1
        for row, values in enumerate(zip(signals, state, strict=True)):
            key = f"{self._calls}-{row}"
            self._producer.produce(REQUESTS, request(*values), key, headers={"mlserver-model": MODEL})
            self._producer.poll(0)
        answers: dict[int, Results] = {}
        deadline = time.monotonic() + _ANSWERED_WITHIN_S
        while len(answers) < len(signals):
            self._producer.poll(0)
            for message in self._consumer.consume(1_000, 0.1):
                call, _, number = (message.key() or b"").decode().partition("-")
                if call == str(self._calls):
                    answers[int(number)] = results_of(message.value() or b"")
            if time.monotonic() > deadline:
                missing = len(signals) - len(answers)
                raise WorldDown(
                    f"{missing} of {len(signals)} answers have not come within {_ANSWERED_WITHIN_S:.0f} s"
                )
        score, contribution, after = map(
            np.stack, zip(*(answers[row] for row in range(len(signals))), strict=True)
        )
        return score.reshape(-1), contribution, after


PLACES: dict[str, type[Grpc] | type[Kafka]] = {
    "grpc": Grpc,
    "grpc-floats": GrpcFloats,
    "grpc-each": GrpcEach,
    "kafka": Kafka,
}
