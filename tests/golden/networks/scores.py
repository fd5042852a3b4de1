"""Scores of torchvision's and timm's networks with weights by formula: writes scores.json beside itself.

Run: python tests/golden/networks/scores.py        (torch, torchvision, timm; nothing is downloaded)

A tensor's seed is its place in the state dict, so that the test makes the same file out of names and shapes alone.
"""

import json
import pathlib

import timm
import torch
import torchvision
from make import numbers

CLASSES, IMAGES, SIDE = 10, 2, 64
NETWORKS = {
    "torchvision": ["mobilenet_v2", "resnet18", "resnet34", "resnet50"],
    "timm": ["mobilenetv2_100", "resnet18", "resnet34", "resnet50"],
}


def values(name, shape, seed):
    count = 1
    for side in shape:
        count *= side
    v = numbers(count, seed)
    if len(shape) > 1:
        fan_in = count // shape[0]
        v = v * (6 / fan_in) ** 0.5
    elif name.endswith("running_var") or name.endswith("weight"):
        v = 1 + v / 4
    else:
        v = v / 4
    return v.float().reshape(shape)


def scores(network):
    state = network.state_dict()
    tensors = [(name, list(tensor.shape)) for name, tensor in state.items() if tensor.is_floating_point()]
    for seed, (name, shape) in enumerate(tensors):
        state[name] = values(name, shape, seed)
    network.load_state_dict(state)
    images = numbers(IMAGES * 3 * SIDE * SIDE, len(tensors)).float().reshape(IMAGES, 3, SIDE, SIDE)
    with torch.no_grad():
        return {"tensors": tensors, "scores": network.eval()(images).flatten().tolist()}


def main():
    networks = {}
    for name in NETWORKS["torchvision"]:
        networks[f"torchvision {name}"] = scores(getattr(torchvision.models, name)(num_classes=CLASSES))
    for name in NETWORKS["timm"]:
        networks[f"timm {name}"] = scores(timm.create_model(name, num_classes=CLASSES))
    golden = {"classes": CLASSES, "images": IMAGES, "side": SIDE, "networks": networks}
    (pathlib.Path(__file__).parent / "scores.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
