"""Losses of five steps of small networks by PyTorch, in f64 and the first in f32: writes losses.json beside itself.

Run: python tests/golden/networks/make.py        (torch only; no data: weights and images follow from a formula)
"""

import json
import pathlib

import torch
import torch.nn.functional as F

SCALE, CLASSES, BATCH, SIDE, STEPS = 0.125, 7, 16, 64, 5
LR, MOMENTUM, DECAY = 0.01, 0.9, 1e-4


def numbers(count, seed):
    """The same numbers in [-1, 1) in any language: a hash of whole numbers below 2^63, and one division."""
    at = (torch.arange(count, dtype=torch.int64) + seed * 1000003) * 2654435761 % 2**31
    at = (at ^ (at >> 15)) * 2246822519 % 2**31
    return (at ^ (at >> 13)).double() / 2**30 - 1


class Net:
    """Parameters by the names of sparse-train, in the order in which they are first used."""

    def __init__(self, dtype):
        self.dtype, self.parameters, self.order = dtype, {}, []

    def tensor(self, name, shape, start):
        if name not in self.parameters:
            count = 1
            for side in shape:
                count *= side
            values = start(count, len(self.order)).reshape(shape).to(self.dtype)
            self.parameters[name] = values.requires_grad_()
            self.order.append(name)
        return self.parameters[name]

    def conv(self, x, name, outputs, kernel, stride=1, groups=1):
        inputs = x.shape[1] // groups
        bound = (6 / (inputs * kernel * kernel)) ** 0.5
        shape = (outputs, inputs, kernel, kernel)
        weight = self.tensor(f"{name}_weights", shape, lambda count, seed: numbers(count, seed) * bound)
        return F.conv2d(x, weight, stride=stride, padding=kernel // 2, groups=groups)

    def norm(self, x, name):
        shape = (x.shape[1],)
        scale = self.tensor(f"{name}_bn_scale", shape, lambda count, seed: 1 + numbers(count, seed) / 4)
        offset = self.tensor(f"{name}_bn_offset", shape, lambda count, seed: numbers(count, seed) / 4)
        return F.batch_norm(x, None, None, scale, offset, training=True, eps=1e-5)

    def layer(self, x, name, outputs, kernel, stride=1, groups=1, act=None):
        y = self.norm(self.conv(x, name, outputs, kernel, stride, groups), name)
        return act(y) if act else y

    def head(self, x, name):
        x = x.mean((2, 3))
        bound = (6 / x.shape[1]) ** 0.5
        shape = (x.shape[1], CLASSES)
        weight = self.tensor(f"{name}_weights", shape, lambda count, seed: numbers(count, seed) * bound)
        bias = self.tensor(f"{name}_offset", (CLASSES,), lambda count, seed: numbers(count, seed) / 4)
        return x @ weight + bias


def width(count):
    return int(count * SCALE)


def mobilenet_v2(net, x):
    x = net.layer(x, "conv1_1", width(32), 3, 2, act=F.relu6)
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for stage, (expansion, outputs, count, stride) in enumerate(stages, 2):
        for block in range(count):
            name, start = f"conv{stage}_{block + 1}", x
            hidden = x.shape[1] * expansion
            if expansion > 1:
                x = net.layer(x, f"{name}_expand", hidden, 1, act=F.relu6)
            x = net.layer(x, f"{name}_dwise", hidden, 3, stride if block == 0 else 1, hidden, act=F.relu6)
            x = net.layer(x, f"{name}_linear", width(outputs), 1)
            if block > 0:
                x = x + start
    return net.head(net.layer(x, "conv9", 1280, 1, act=F.relu6), "fc10")


def resnet(blocks, bottleneck):
    def forward(net, x):
        x = F.max_pool2d(net.layer(x, "conv1", width(64), 7, 2, act=F.relu), 3, 2, 1)
        for stage, count in enumerate(blocks):
            channels = width(64 * 2**stage)
            for block in range(count):
                name, start = f"res{stage + 2}{chr(97 + block)}", x
                stride = 2 if block == 0 and stage > 0 else 1
                outputs = channels * 4 if bottleneck else channels
                if bottleneck:
                    x = net.layer(x, f"{name}_branch2a", channels, 1, act=F.relu)
                    x = net.layer(x, f"{name}_branch2b", channels, 3, stride, act=F.relu)
                    x = net.layer(x, f"{name}_branch2c", outputs, 1)
                else:
                    x = net.layer(x, f"{name}_branch2a", channels, 3, stride, act=F.relu)
                    x = net.layer(x, f"{name}_branch2b", outputs, 3)
                if stride != 1 or start.shape[1] != outputs:
                    start = net.layer(start, f"{name}_branch1", outputs, 1, stride)
                x = F.relu(x + start)
        return net.head(x, "fc")

    return forward


NETWORKS = {
    "MobileNetV2": mobilenet_v2,
    "ResNet18": resnet([2, 2, 2, 2], False),
    "ResNet34": resnet([3, 4, 6, 3], False),
    "ResNet50": resnet([3, 4, 6, 3], True),
}


def losses(forward, dtype, steps):
    net, velocities, found = Net(dtype), {}, []
    for step in range(steps):
        images = numbers(BATCH * 3 * SIDE * SIDE, 1000 + step).reshape(BATCH, 3, SIDE, SIDE).to(dtype)
        labels = torch.tensor([(3 * image + step) % CLASSES for image in range(BATCH)])
        loss = F.cross_entropy(forward(net, images), labels)
        found.append(loss.item())
        gradients = torch.autograd.grad(loss, list(net.parameters.values()))
        with torch.no_grad():
            for (name, value), gradient in zip(net.parameters.items(), gradients):
                velocity = velocities.get(name, torch.zeros_like(value))
                velocities[name] = MOMENTUM * velocity + gradient + DECAY * value
                value -= LR * velocities[name]
    return found, net.order


def main():
    torch.set_num_threads(1)
    result = {"torch": torch.__version__, "scale": SCALE, "classes": CLASSES, "batch": BATCH, "side": SIDE}
    result.update({"lr": LR, "momentum": MOMENTUM, "decay": DECAY, "networks": {}})
    for name, forward in NETWORKS.items():
        double, order = losses(forward, torch.float64, STEPS)
        single, _ = losses(forward, torch.float32, 1)
        result["networks"][name] = {"f64": double, "f32": single, "order": order}
    path = pathlib.Path(__file__).with_name("losses.json")
    path.write_text(json.dumps(result, indent=1) + "\n")


main()
