#!/usr/bin/env python3
"""Times of ONNX Runtime and OpenVINO on a file that `sparse-train export --to onnx` wrote, beside `sparse-train bench infer`.

    python3 -m venv venv && venv/bin/pip install onnxruntime openvino
    venv/bin/python docs/peers/engines.py FILE.onnx --batch 1 --threads 2

Zeros make no difference to either, so one dense file stands for every sparsity.
"""
import argparse
import json
import statistics
import time

import numpy
import onnxruntime
import openvino


def milliseconds(run, runs):
    for _ in range(10):
        run()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def onnx_runtime(path, threads, image):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: image})


def open_vino(path, threads, image):
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape({0: list(image.shape)})
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer({0: image})


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("model")
    flags.add_argument("--batch", type=int, default=1)
    flags.add_argument("--size", type=int, default=224)
    flags.add_argument("--threads", type=int, default=2)
    flags.add_argument("--runs", type=int, default=60)
    given = flags.parse_args()
    image = numpy.random.default_rng(0).standard_normal((given.batch, 3, given.size, given.size), numpy.float32)
    for name, engine in ("onnxruntime", onnx_runtime), ("openvino", open_vino):
        median = milliseconds(engine(given.model, given.threads, image), given.runs)
        print(json.dumps({"engine": name, "batch": given.batch, "threads": given.threads, "median_ms": median}))


if __name__ == "__main__":
    main()
