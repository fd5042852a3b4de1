#!/usr/bin/env python3
"""Time of PyTorch's training step, to be set beside `sparse-train bench train`.

    python3 -m venv venv && venv/bin/pip install torch torchvision
    LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4 venv/bin/python docs/peers/pytorch_step.py

tcmalloc (Debian: libtcmalloc-minimal4) keeps freed activations; without it PyTorch takes about half as long again.
"""
import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn

# Output channels and stride of the separable blocks (Howard et al. 2017, table 1).
BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]

# Our names of torchvision's networks.
TORCHVISION = {"MobileNetV2": "mobilenet_v2", "ResNet18": "resnet18", "ResNet34": "resnet34", "ResNet50": "resnet50"}


def convolution(inputs, outputs, kernel, stride, groups=1):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def mobilenet(classes):
    layers, channels = convolution(3, 32, 3, 2), 32
    for outputs, stride in BLOCKS:
        layers += convolution(channels, channels, 3, stride, groups=channels)
        layers += convolution(channels, outputs, 1, 1)
        channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def network(name):
    if name == "MobileNet":
        return mobilenet(1000)
    import torchvision

    return getattr(torchvision.models, TORCHVISION[name])(num_classes=1000)


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--model", choices=["MobileNet", *TORCHVISION], default="MobileNet")
    flags.add_argument("--batch", type=int, default=32)
    flags.add_argument("--size", type=int, default=224)
    flags.add_argument("--threads", type=int, default=2)
    flags.add_argument("--steps", type=int, default=8)
    flags.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    args = flags.parse_args()
    torch.set_num_threads(args.threads)
    model = network(args.model).train().to(memory_format=torch.channels_last)
    images = torch.randn(args.batch, 3, args.size, args.size).to(memory_format=torch.channels_last)
    labels = torch.randint(1000, (args.batch,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=3e-5, foreach=True)
    times = []
    for _ in range(args.steps + 2):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.precision == "bf16"):
            loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    median = statistics.median(times[2:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"images_per_second": args.batch / median, "step_ms": median * 1e3, "peak_rss_bytes": peak}))


if __name__ == "__main__":
    main()
