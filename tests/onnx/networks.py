"""Networks of torchvision with random weights, from both exporters of PyTorch, with the scores of ONNX Runtime.

    python networks.py twins FOLDER           small twins: the files of tests/onnx/networks
    python networks.py whole FOLDER [NAME..]  the networks themselves, for the test that has a Python (all, if none is named)

io.safetensors has an input for all, `input` [2, 3, H, W], and for each NAME_script.onnx and NAME_dynamo.onnx (with
NAME_dynamo.onnx.data, as that exporter writes it by default) NAME_EXPORTER.logits [2, classes]. Needs torch, torchvision, onnx, onnxscript, onnxruntime and
safetensors; the twins here are of torch 2.15, torchvision 0.29, onnx 1.23 and onnxruntime 1.32.
"""
import functools
import importlib
import sys
import warnings
from pathlib import Path

import numpy
import onnx
import onnxruntime
import torch
import torchvision
from safetensors.numpy import save_file
from torch import nn
from torchvision.models import densenet, efficientnet, mobilenetv3, regnet, shufflenetv2, squeezenet

warnings.simplefilter("ignore")
CLASSES = 5
# The package has a function of the same name.
googlenet = importlib.import_module("torchvision.models.googlenet")


def densenet_twin():
    return densenet.DenseNet(4, (2, 2), 6, bn_size=2, num_classes=CLASSES)


class SqueezeNet(nn.Sequential):
    def __init__(self):
        fires = [squeezenet.Fire(6, 3, 4, 4), nn.MaxPool2d(3, 2, ceil_mode=True), squeezenet.Fire(8, 3, 5, 5)]
        super().__init__(
            nn.Conv2d(3, 6, 3, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, ceil_mode=True), *fires, nn.Dropout(0.5),
            nn.Conv2d(10, CLASSES, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten())


class GoogLeNet(nn.Sequential):
    def __init__(self):
        conv = googlenet.BasicConv2d
        super().__init__(
            conv(3, 6, kernel_size=7, stride=2, padding=3), nn.MaxPool2d(3, 2, ceil_mode=True),
            googlenet.Inception(6, 3, 3, 4, 2, 3, 2), nn.MaxPool2d(2, 2, ceil_mode=True),
            googlenet.Inception(12, 4, 3, 4, 2, 3, 3), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Dropout(0.2),
            nn.Linear(14, CLASSES))


def shufflenet_twin():
    return shufflenetv2.ShuffleNetV2([1, 2, 1], [6, 8, 12, 16, 16], num_classes=CLASSES)


def efficientnet_twin():
    setting = [efficientnet.MBConvConfig(1, 3, 1, 8, 8, 1, 1.0, 1.0), efficientnet.MBConvConfig(2, 5, 2, 8, 8, 2, 1.0, 1.0)]
    return efficientnet.EfficientNet(setting, 0.2, num_classes=CLASSES, last_channel=16)


def regnet_twin():
    params = regnet.BlockParams([1, 2], [8, 12], [4, 4], [1.0, 1.0], [2, 2], 0.25)
    return regnet.RegNet(params, num_classes=CLASSES, stem_width=6, norm_layer=nn.BatchNorm2d)


def mobilenet_v3_twin():
    conf = functools.partial(mobilenetv3.InvertedResidualConfig, dilation=1, width_mult=1.0)
    setting = [conf(8, 3, 8, 8, True, "RE", 2), conf(8, 5, 16, 8, True, "HS", 1), conf(8, 3, 16, 16, False, "HS", 2)]
    return mobilenetv3.MobileNetV3(setting, 16, num_classes=CLASSES)


TWINS = {
    "densenet": densenet_twin, "squeezenet": SqueezeNet, "googlenet": GoogLeNet, "shufflenet_v2": shufflenet_twin,
    "efficientnet": efficientnet_twin, "regnet_y": regnet_twin, "mobilenet_v3": mobilenet_v3_twin,
}
WHOLE = [
    "densenet121", "squeezenet1_1", "googlenet", "shufflenet_v2_x1_0", "efficientnet_b0", "regnet_y_400mf",
    "mobilenet_v3_small", "mobilenet_v3_large", "resnet18", "mobilenet_v2",
]


def whole(name):
    more = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    return getattr(torchvision.models, name)(weights=None, **more)


def randomize(net, g):
    """Weights that keep results of a size, and statistics of batch norm as in trained networks."""
    for name, tensor in list(net.named_parameters()) + list(net.named_buffers()):
        if tensor.dtype != torch.float32:
            continue
        values = torch.rand(tensor.shape, generator=g)
        if tensor.dim() > 1:
            tensor.data = (2 * values - 1) * (6 / tensor[0].numel()) ** 0.5
        else:
            around_zero = name.endswith(("bias", "running_mean"))
            tensor.data = values - 0.5 if around_zero else 0.5 + values


def export(net, x, path, dynamo):
    dynamic = {"dynamic_shapes": ({0: torch.export.Dim("N")},)} if dynamo else {"dynamic_axes": {"x": {0: "N"}}}
    torch.onnx.export(net, (x,), path, dynamo=dynamo, input_names=["x"], output_names=["scores"], verbose=False, **dynamic)


def without_traces(path):
    """Takes out where in the sources of PyTorch each node comes from."""
    model = onnx.load(path, load_external_data=False)
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in [*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    Path(path).write_bytes(model.SerializeToString())


def main():
    kind, folder, names = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    nets = TWINS if kind == "twins" else {name: functools.partial(whole, name) for name in names or WHOLE}
    size = (33, 38) if kind == "twins" else (100, 92)
    torch.manual_seed(1)
    g = torch.Generator().manual_seed(1)
    x = torch.rand(2, 3, *size, generator=g)
    tensors = {"input": x.numpy()}
    for name, make in nets.items():
        net = make()
        randomize(net, g)
        net.eval()
        for exporter in ["script", "dynamo"]:
            path = folder / f"{name}_{exporter}.onnx"
            export(net, x, path, exporter == "dynamo")
            without_traces(path)
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            scores = session.run(None, {"x": x.numpy()})[0]
            difference = numpy.abs(scores - net(x).detach().numpy()).max() / numpy.abs(scores).max()
            operators = sorted({node.op_type for node in onnx.load(path, load_external_data=False).graph.node})
            print(path.name, path.stat().st_size, f"{difference:.1e}", *operators, flush=True)
            tensors[f"{name}_{exporter}.logits"] = scores
    save_file(tensors, folder / "io.safetensors")


if __name__ == "__main__":
    main()
