#!/usr/bin/env python3
"""Makes a file of 8 bits, as ONNX Runtime quantises it, of one that `sparse-train export --to onnx` wrote, to be timed by `engines.py`.

    python3 -m venv venv && venv/bin/pip install onnx onnxruntime openvino
    venv/bin/python docs/peers/quantized.py FILE.onnx OUT.onnx
    venv/bin/python docs/peers/engines.py OUT.onnx --batch 1 --threads 2

Weights are INT8 with a scale for each output channel, activations UINT8, in the QDQ form, which both engines compute in integers. Ranges are those
of random images: good for timing alone.
"""
import argparse

import numpy
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static


class Random(CalibrationDataReader):
    def __init__(self, name, size):
        self.images = iter(numpy.random.default_rng(0).standard_normal((4, 1, 3, size, size), numpy.float32))
        self.name = name

    def get_next(self):
        image = next(self.images, None)
        return None if image is None else {self.name: image}


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("model")
    flags.add_argument("output")
    flags.add_argument("--size", type=int, default=224)
    given = flags.parse_args()
    name = onnx.load(given.model).graph.input[0].name
    quantize_static(
        given.model,
        given.output,
        Random(name, given.size),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


if __name__ == "__main__":
    main()
