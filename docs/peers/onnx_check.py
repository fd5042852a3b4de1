#!/usr/bin/env python3
"""Checks an ONNX file with onnx.checker and runs it in ONNX Runtime.

    python3 -m venv venv && venv/bin/pip install onnx onnxruntime safetensors
    venv/bin/python docs/peers/onnx_check.py MODEL.onnx [REFERENCE.safetensors [PREFIX]]

The reference holds `input` [N, C, H, W] and `logits` [N, classes], after PREFIX and a dot if one is given; printed is the
greatest difference from it, as a share of the greatest of its numbers. Without one, the input is random.
"""
import sys

import numpy
import onnx
import onnxruntime
from safetensors.numpy import load_file


def main():
    model, reference = onnx.load(sys.argv[1]), {}
    # The checker's inference of types does not know that a sparse initializer may stand for a dense tensor.
    onnx.checker.check_model(model, full_check=not model.graph.sparse_initializer)
    print(f"{sys.argv[1]}: onnx.checker finds nothing wrong; operator set {model.opset_import[0].version}")
    print(f"  {len(model.graph.node)} nodes, {len(model.graph.initializer)} dense and "
          f"{len(model.graph.sparse_initializer)} sparse constants, {model.ByteSize()} bytes")
    for entry in model.metadata_props:
        print(f"  {entry.key} = {entry.value}")
    if len(sys.argv) > 2:
        reference = load_file(sys.argv[2])
    prefix = f"{sys.argv[3]}." if len(sys.argv) > 3 else ""
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    shape = [side if isinstance(side, int) else 2 for side in image.shape]
    x = reference.get(f"{prefix}input", numpy.random.default_rng(0).random(shape, numpy.float32))
    scores = session.run(None, {image.name: x})[0]
    print(f"  ONNX Runtime: {image.name} {list(x.shape)} gives {session.get_outputs()[0].name} {list(scores.shape)}")
    if reference:
        expected = reference[f"{prefix}logits"]
        print(f"  greatest relative difference: {numpy.abs(scores - expected).max() / numpy.abs(expected).max():.2e}")


if __name__ == "__main__":
    main()
