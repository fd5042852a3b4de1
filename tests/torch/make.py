"""Makes the files beside it: small MobileNetV1s under the names of other programs, with an input and its logits.

python make.py FOLDER            (torch 2.x, numpy, safetensors)

Every net has scale 0.0625 (2 to 64 channels), random weights and random running statistics; the logits are torch's.
"""

import pickle
import sys
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

BLOCKS = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
BLOCKS += [(512, 512, 1)] * 5 + [(512, 1024, 2), (1024, 1024, 1)]
SCALE = 0.0625
SECTIONS = [1, 2, 2, 6, 2]


def net(classes, seed):
    """Layers as (kind, stride, weight, [scale, offset, mean, variance]), then the head's weight and bias."""
    g = torch.Generator().manual_seed(seed)
    width = lambda c: int(c * SCALE)
    rand = lambda *shape: torch.rand(*shape, generator=g)

    def layer(kind, stride, *shape):
        weight = (2 * rand(*shape) - 1) * (6 / (shape[1] * shape[2] * shape[3])) ** 0.5
        n = shape[0]
        return kind, stride, weight, [0.5 + rand(n), 0.4 * rand(n), 0.2 * rand(n) - 0.1, 0.5 + rand(n)]

    layers = [layer("stem", 2, width(32), 3, 3, 3)]
    for inputs, outputs, stride in BLOCKS:
        layers.append(layer("dw", stride, width(inputs), 1, 3, 3))
        layers.append(layer("pw", 1, width(outputs), width(inputs), 1, 1))
    return layers, 2 * rand(classes, width(1024)) - 1, rand(classes) - 0.5


def same(x, stride):
    """TensorFlow's SAME padding of a 3x3 kernel."""
    pads = []
    for size in (x.shape[3], x.shape[2]):
        total = max(3 - (stride if size % stride == 0 else size % stride), 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def logits(model, x, relu6, tf, eps):
    layers, weight, bias = model
    for kind, stride, w, (scale, offset, mean, variance) in layers:
        groups = w.shape[0] if kind == "dw" else 1
        padding = 0 if kind == "pw" or tf else 1
        x = F.conv2d(same(x, stride) if tf and kind != "pw" else x, w, None, stride, padding, 1, groups)
        x = F.batch_norm(x, mean, variance, scale, offset, False, 0.1, eps)
        x = F.relu6(x) if relu6 else F.relu(x)
    return F.linear(x.mean((2, 3)), weight, bias)


def place(block):
    """Section and place within it of a block from 0."""
    for section, count in enumerate(SECTIONS):
        if block < count:
            return section, block
        block -= count


TORCH_BN = ["weight", "bias", "running_mean", "running_var"]
PADDLE_BN = ["weight", "bias", "_mean", "_variance"]
TF_BN = ["gamma", "beta", "moving_mean", "moving_variance"]


def timm(i, kind):
    s, b = place(i)
    return {"stem": ("conv_stem.weight", "bn1."), "dw": (f"blocks.{s}.{b}.conv_dw.weight", f"blocks.{s}.{b}.bn1."),
            "pw": (f"blocks.{s}.{b}.conv_pw.weight", f"blocks.{s}.{b}.bn2.")}[kind]


def plain(i, kind):
    return {"stem": ("model.0.0.weight", "model.0.1."), "dw": (f"model.{i + 1}.0.weight", f"model.{i + 1}.1."),
            "pw": (f"model.{i + 1}.3.weight", f"model.{i + 1}.4.")}[kind]


def sections(i, kind):
    s, b = place(i)
    part = {"dw": "depth", "pw": "point"}.get(kind)
    prefix = "input." if kind == "stem" else f"sections.{s}.{b}.{part}."
    return prefix + "conv.weight", prefix + "bn."


def hugging_face(i, kind):
    prefix = "mobilenet_v1." + {"stem": "conv_stem.", "dw": f"layer.{2 * i}.", "pw": f"layer.{2 * i + 1}."}[kind]
    return prefix + "convolution.weight", prefix + "normalization."


def slim(i, kind):
    part = {"stem": "Conv2d_0", "dw": f"Conv2d_{i + 1}_depthwise", "pw": f"Conv2d_{i + 1}_pointwise"}[kind]
    weights = "depthwise_weights" if kind == "dw" else "weights"
    return f"MobilenetV1/{part}/{weights}", f"MobilenetV1/{part}/BatchNorm/"


def clas(i, kind):
    part = {"dw": "depthwise_conv", "pw": "pointwise_conv"}.get(kind)
    prefix = "conv." if kind == "stem" else f"blocks.{i}.{part}."
    return prefix + "conv.weight", prefix + "bn."


def clas_2020(i, kind):
    names = ["conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv4_1", "conv4_2"]
    names += [f"conv5_{n}" for n in range(1, 7)] + ["conv6"]
    part = {"dw": "_depthwise_conv", "pw": "_pointwise_conv"}.get(kind)
    prefix = "conv1." if kind == "stem" else f"{names[i]}.{part}."
    return prefix + "_conv.weight", prefix + "_batch_norm."


def named(model, names, norm, counters=False):
    state, block = {}, -1
    for kind, _, weight, values in model[0]:
        block += kind == "dw"
        conv, bn = names(block, kind)
        state[conv] = weight
        state |= {bn + n: value for n, value in zip(norm, values)}
        if counters:
            state[bn + "num_batches_tracked"] = torch.tensor(7)
    return state


def rounded(model):
    """The weights as f16 holds them."""
    r = lambda t: t.half().float()
    return [(k, s, r(w), [r(v) for v in values]) for k, s, w, values in model[0]], r(model[1]), r(model[2])


folder = Path(sys.argv[1])
x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
io = {"x": x}

# timm's names, a checkpoint of a training run in parallel: prefix, wrapper, counters, channels-last weights, and all
# batch norm scales as views of one storage.
model = net(10, 2)
state = named(model, timm, TORCH_BN, counters=True) | {"classifier.weight": model[1], "classifier.bias": model[2]}
scales = [name for name in state if ".bn2.weight" in name]
flat = torch.cat([state[name] for name in scales])
for name, view in zip(scales, flat.split([len(state[name]) for name in scales])):
    state[name] = view
state = {f"module.{n}": t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for n, t in state.items()}
torch.save({"epoch": 3, "arch": "mobilenetv1_100", "state_dict": state, "best": 1.5}, folder / "timm.pth")
io["timm"] = logits(model, x, True, False, 1e-5)

# The names of STR, with a head without bias, in the format before PyTorch 1.6.
model = net(10, 3)
model = model[0], model[1], torch.zeros(10)
state = named(model, plain, TORCH_BN) | {"fc.weight": model[1][:, :, None, None]}
torch.save({"state_dict": state}, folder / "str.pt", _use_new_zipfile_serialization=False)
io["str"] = logits(model, x, False, False, 1e-5)

# SparseML's names in half precision, each a Parameter.
model = rounded(net(10, 4))
state = named(model, sections, TORCH_BN) | {"classifier.fc.weight": model[1], "classifier.fc.bias": model[2]}
torch.save({n: torch.nn.Parameter(t.half()) for n, t in state.items()}, folder / "sparseml.pth")
io["sparseml"] = logits(model, x, False, False, 1e-5)

# TF-slim's names and those of its port by Hugging Face: the same net with a background class.
model = net(11, 5)
state = named(model, hugging_face, TORCH_BN, counters=True) | {"classifier.weight": model[1], "classifier.bias": model[2]}
save_file({n: t.contiguous() for n, t in state.items()}, folder / "hugging_face.safetensors")
state = {n: t.permute(2, 3, 0, 1) if "depthwise_w" in n else t.permute(2, 3, 1, 0) if t.dim() == 4 else t
         for n, t in named(model, slim, TF_BN).items()}
head = "MobilenetV1/Logits/Conv2d_1c_1x1/"
state |= {head + "weights": model[1].t()[None, None], head + "biases": model[2]}
save_file({n: t.contiguous() for n, t in state.items()}, folder / "slim.safetensors")
io["tf"] = logits(model, x, True, True, 1e-3)

# PaddleClas' names, now and in 2020, as pickles of protocols 4 and 2.
model = net(10, 6)
for name, names, head, protocol in (("clas", clas, "fc", 4), ("clas_2020", clas_2020, "out", 2)):
    state = named(model, names, PADDLE_BN) | {head + ".weight": model[1].t(), head + ".bias": model[2]}
    arrays = {n: numpy.asfortranarray(t.numpy()) if n == head + ".weight" else t.numpy() for n, t in state.items()}
    (folder / f"{name}.pdparams").write_bytes(pickle.dumps(arrays, protocol))
io["clas"] = logits(model, x, False, False, 1e-5)

save_file({n: t.contiguous() for n, t in io.items()}, folder / "io.safetensors")
