"""A scorer as it is usually written with Quix Streams: fastavro decodes, and every record is one TFLite call.

It runs in an environment of its own (quix.txt), without the packages of this project:

    python quix_app.py BOOTSTRAP TOPIC OUT_TOPIC SCHEMA_FILE TFLITE_FILE THRESHOLD RECORDS

The last line of its output is JSON: the records, and seconds and CPU seconds from the first to the last one.
"""

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from quixstreams import Application  # type: ignore[import-not-found]
from quixstreams.models import Deserializer  # type: ignore[import-not-found]

_FRAME_BYTES = 5


class Avro(Deserializer):  # type: ignore[misc]
    """Decodes a record behind the Confluent framing; the schema id is ignored."""

    def __init__(self, schema: Any) -> None:
        super().__init__()
        self._schema = schema

    def __call__(self, value: bytes, ctx: Any) -> Any:
        return fastavro.schemaless_reader(io.BytesIO(value[_FRAME_BYTES:]), self._schema, None)


class Scorer:
    """The model, and (wall clock, CPU) in s at the first and at the last record."""

    def __init__(self, tflite: bytes, names: list[str], threshold: float, records: int) -> None:
        self._model = Interpreter(model_content=tflite, num_threads=1)
        self._model.allocate_tensors()
        self._in = self._model.get_input_details()[0]["index"]
        ranks = {len(one["shape"]): one["index"] for one in self._model.get_output_details()}
        self._out, self._names, self._threshold, self._records = ranks[1], names, threshold, records
        self.count, self.began, self.ended = 0, (0.0, 0.0), (0.0, 0.0)

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        if self.count == 0:
            self.began = time.monotonic(), time.process_time()
        self._model.set_tensor(self._in, np.array([[record[name] for name in self._names]], np.float32))
        self._model.invoke()
        score = float(self._model.get_tensor(self._out)[0])
        self.count += 1
        if self.count == self._records:
            self.ended = time.monotonic(), time.process_time()
        return {"car_id": record["car_id"], "seq": record["seq"], "score": score,
                "anomaly": not score <= self._threshold}  # fmt: skip


def main() -> None:
    """Score the given number of records, then exit."""
    bootstrap, topic, out, schema_file, tflite_file, threshold, records = sys.argv[1:]
    schema: Any = fastavro.parse_schema(json.loads(Path(schema_file).read_text()))
    names = [field["name"] for field in schema["fields"] if field["type"] == "float"]
    scorer = Scorer(Path(tflite_file).read_bytes(), names, float(threshold), int(records))
    app = Application(
        broker_address=bootstrap,
        consumer_group="bench-quix",
        auto_offset_reset="earliest",
        auto_create_topics=False,
        # The settings of our own clients, so that the frameworks are compared and not client settings.
        consumer_extra_config={"fetch.queue.backoff.ms": 5, "allow.auto.create.topics": False},
        producer_extra_config={"linger.ms": 5, "compression.type": "lz4"},
        loglevel="WARNING",
    )
    scored = app.dataframe(app.topic(topic, value_deserializer=Avro(schema))).apply(scorer)
    scored = scored[scored["anomaly"]]
    scored.to_topic(app.topic(out, value_serializer="json"))
    app.run(count=int(records), timeout=60)
    wall_s, cpu_s = (after - before for before, after in zip(scorer.began, scorer.ended, strict=True))
    print(json.dumps({"records": scorer.count, "wall_s": wall_s, "cpu_s": cpu_s}), flush=True)


if __name__ == "__main__":
    main()
