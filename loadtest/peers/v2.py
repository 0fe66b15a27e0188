"""The names that our detector has on a model server, and one record as JSON of the V2 protocol."""

import json
import math

import numpy as np

from plumbing.tflite import Floats

MODEL = "detector"  # its name on the server
REQUESTS, ANSWERS = "served-requests", "served-answers"  # topics
INPUTS, OUTPUTS = ("signals", "state"), ("score", "contribution", "state")


def request(signals: Floats, state: Floats) -> bytes:
    """A request with one car's signals (K,) and state (S,); null stands for NaN, which JSON has not."""
    tensors = [
        {"name": name, "shape": [1, len(values)], "datatype": "FP32", "data": _numbers(values)}
        for name, values in zip(INPUTS, (signals, state), strict=True)
    ]
    return json.dumps({"inputs": tensors}).encode()


def results_of(answer: bytes) -> tuple[Floats, Floats, Floats]:
    """(score (1,), contribution (K,), state after (S,)) in an answer."""
    outputs = {output["name"]: output["data"] for output in json.loads(answer)["outputs"]}
    score, contribution, after = (np.array(outputs[name], np.float32) for name in OUTPUTS)
    return score, contribution, after


def _numbers(values: Floats) -> list[float | None]:
    numbers = values.tolist()
    return [None if math.isnan(x) else x for x in numbers] if np.isnan(values).any() else numbers
