"""The smallest detectors with the trainer's signature, as TFLite bytes of any width, without TensorFlow."""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tflite
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_TYPES = {
    np.dtype(np.float32): tflite.TensorType.FLOAT32,
    np.dtype(np.int32): tflite.TensorType.INT32,
    np.dtype(np.bool_): tflite.TensorType.BOOL,
}
_F4 = np.dtype(np.float32)


class _Graph:
    """A TFLite graph under construction. Tensors are numbers; how many rows n they have is dynamic."""

    def __init__(self) -> None:
        self._subgraph = tflite.SubGraphT()
        self._subgraph.tensors, self._subgraph.operators = [], []
        self._model = tflite.ModelT()
        self._model.version, self._model.description = 3, "made by tests/graphs.py"
        self._model.subgraphs, self._model.operatorCodes = [self._subgraph], []
        self._model.buffers = [tflite.BufferT()]  # the first buffer is empty by convention

    def constant(self, value: Any, dtype: Any = np.float32) -> int:
        """A tensor with these values."""
        array = np.ascontiguousarray(value, dtype)
        return self._tensor(array.dtype, list(array.shape), np.frombuffer(array.tobytes(), np.uint8))

    def rows(self, *columns: int, dtype: Any = _F4) -> int:
        """A tensor (n, columns), or (n,)."""
        tensor = self._tensor(np.dtype(dtype), [1, *columns], None)
        self._subgraph.tensors[tensor].shapeSignature = [-1, *columns]
        return tensor

    def _tensor(self, dtype: np.dtype[Any], shape: list[int], data: Any) -> int:
        tensor, buffer = tflite.TensorT(), tflite.BufferT()
        buffer.data = data
        tensor.name, tensor.type, tensor.shape = f"t{len(self._subgraph.tensors)}", _TYPES[dtype], shape
        tensor.buffer = len(self._model.buffers)
        self._model.buffers.append(buffer)
        self._subgraph.tensors.append(tensor)
        return len(self._subgraph.tensors) - 1

    def do(self, name: str, inputs: list[int], output: int, **options: Any) -> int:
        """An operator; options by their names in the TFLite schema. Returns its output."""
        code = tflite.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(tflite.BuiltinOperator, name.upper())
        code.version = 1
        operator = tflite.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = (
            len(self._model.operatorCodes),
            inputs,
            [output],
        )
        kind = {"sum": "Reducer"}.get(name, name.title().replace("_", "")) + "Options"
        if hasattr(tflite, f"{kind}T"):
            operator.builtinOptionsType = getattr(tflite.BuiltinOptions, kind)
            operator.builtinOptions = getattr(tflite, f"{kind}T")()
            vars(operator.builtinOptions).update(options)
        self._model.operatorCodes.append(code)
        self._subgraph.operators.append(operator)
        return output

    def packed(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The file."""
        self._subgraph.inputs, self._subgraph.outputs = inputs, outputs
        builder = flatbuffers.Builder(4096)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _standardised(graph: _Graph, signals: int, mean: Floats, spread: Floats) -> int:
    """z (n, K) = (signals - mean) / spread, 0 where a signal is missing."""
    width = len(mean)
    there = graph.do("equal", [signals, signals], graph.rows(width, dtype=np.bool_))
    away = graph.do("sub", [signals, graph.constant(mean)], graph.rows(width))
    z = graph.do("div", [away, graph.constant(spread)], graph.rows(width))
    return graph.do("select_v2", [there, z, graph.constant(np.zeros(width))], graph.rows(width))


def _norm(graph: _Graph, contribution: int) -> int:
    """score (n,): the root of the sum of the contributions (n, K)."""
    total = graph.do("sum", [contribution, graph.constant(1, np.int32)], graph.rows())
    return graph.do("sqrt", [total], graph.rows())


def detector(mean: Floats, spread: Floats) -> bytes:
    """Without state: score = sqrt(sum(z^2)), contribution = z^2; a missing signal counts 0."""
    graph = _Graph()
    signals = graph.rows(len(mean))
    z = _standardised(graph, signals, mean, spread)
    contribution = graph.do("mul", [z, z], graph.rows(len(mean)))
    return graph.packed([signals], [contribution, _norm(graph, contribution)])


def remembering(mean: Floats, spread: Floats, *, learning: float, share: float) -> bytes:
    """With state (n, 1 + 2 K): samples seen, baseline, deviation.

    z less the car's mean z in its first `learning` samples is smoothed by `share`: the deviation, 0 while the
    car is learned. contribution = deviation^2.
    """
    graph, width = _Graph(), len(mean)

    def do(name: str, *inputs: int, columns: int = width, dtype: Any = _F4, **options: Any) -> int:
        return graph.do(name, list(inputs), graph.rows(columns, dtype=dtype), **options)

    signals, state = graph.rows(width), graph.rows(1 + 2 * width)
    seen, baseline, deviation = (
        do(
            "strided_slice",
            state,
            *(graph.constant(corner, np.int32) for corner in ((0, first), (0, after), (1, 1))),
            columns=after - first,
            beginMask=1,
            endMask=1,
        )
        for first, after in ((0, 1), (1, 1 + width), (1 + width, 1 + 2 * width))
    )
    z = _standardised(graph, signals, mean, spread)
    learns = do("less", seen, graph.constant(learning), columns=1, dtype=np.bool_)
    learns = do("cast", learns, columns=1)
    seen = do("add", seen, learns, columns=1)
    step = do("div", do("mul", learns, do("sub", z, baseline)), seen)
    baseline = do("add", baseline, step)
    away = do("sub", do("sub", z, baseline), deviation)
    rate = do("mul", do("sub", graph.constant(1.0), learns, columns=1), graph.constant(share), columns=1)
    deviation = do("add", deviation, do("mul", rate, away))
    contribution = do("mul", deviation, deviation)
    after = do("concatenation", seen, baseline, deviation, columns=1 + 2 * width, axis=1)
    return graph.packed([signals, state], [contribution, _norm(graph, contribution), after])
