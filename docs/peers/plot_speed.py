#!/usr/bin/env python3
"""Draws docs/inference.svg: milliseconds over top-1, of the figures in docs/inference.md.

    python3 -m venv venv && venv/bin/pip install matplotlib
    venv/bin/python docs/peers/plot_speed.py docs/inference.svg
"""
import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

# Label, milliseconds of one image on two threads, top-1 among ten classes in percent.
OURS = [
    ("f32", 4.81, 99.3),
    ("f32, 75 % zeros", 2.79, 97.3),
    ("f32, 90 % zeros", 2.09, 93.1),
    ("int8", 1.26, 99.4),
    ("int8, 75 % zeros in blocks", 0.92, 94.7),
]
PEERS = [
    ("OpenVINO f32", 4.44, 99.3),
    ("ONNX Runtime f32", 4.72, 99.3),
    ("OpenVINO int8", 1.66, 99.4),
    ("ONNX Runtime int8", 1.90, 99.4),
]


def main():
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "sparse", "font.size": 9})
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    for points, marker, color, name, below in (
        (OURS, "o", "#0b5fa5", "sparse-engine", False),
        (PEERS, "s", "#8a5a00", "ONNX Runtime, OpenVINO", True),
    ):
        axes.scatter([p[1] for p in points], [p[2] for p in points], marker=marker, color=color, label=name, zorder=3)
        for index, (label, ms, top1) in enumerate(points):
            offset = (6, -12 - 11 * (index % 2)) if below else (6, 5)
            axes.annotate(label, (ms, top1), offset, textcoords="offset points", color=color, fontsize=8)
    axes.set_xlabel("ms for one image, two threads (less is better)")
    axes.set_ylabel("top-1 among ten classes, %")
    axes.set_title("MobileNetV1 at 224², pruned and rounded without training, Intel Xeon", fontsize=9)
    axes.set_xlim(0, 6.6)
    axes.set_ylim(92, 100.5)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
