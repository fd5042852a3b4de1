"""Makes the files beside it: small networks as PyTorch exports them, with an input and ONNX Runtime's scores.

python make.py FOLDER            (torch 2.x, numpy, onnx, onnxruntime, safetensors)

Weights and running statistics are random. NAME.onnx is the model; io.safetensors holds NAME.input [2, C, H, W] and
NAME.logits [2, classes], which are ONNX Runtime's for that file.
"""

import io
import sys
from pathlib import Path

import numpy
import onnx
import onnxruntime
import torch
from safetensors.numpy import save_file
from torch import nn


class Residual(nn.Module):
    """A block of ResNet; the shortcut is a convolution if the shape changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.a, self.a_bn = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.b, self.b_bn = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.short = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.b_bn(self.b(torch.relu(self.a_bn(self.a(x)))))
        return torch.relu(y + self.short(x))


class ResNet(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
                                  nn.MaxPool2d(3, 2, 1))
        self.blocks = nn.Sequential(Residual(4, 4, 1), Residual(4, 8, 2))
        self.head, self.fc = head, nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.head(self.blocks(self.stem(x))))


class View(nn.Module):
    """Global mean, then a view: Shape, Gather and Concat in the file."""

    def forward(self, x):
        x = nn.functional.adaptive_avg_pool2d(x, 1)
        return x.view(x.size(0), -1)


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class Inverted(nn.Module):
    """A block of MobileNetV2."""

    def __init__(self, inputs, outputs, stride, factor):
        super().__init__()
        wide, self.adds = inputs * factor, stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


class MobileNet(nn.Module):
    """With the normalisation of the image in the network."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU6())
        self.blocks = nn.Sequential(Inverted(4, 4, 1, 2), Inverted(4, 6, 2, 3), Inverted(6, 6, 1, 3))
        self.fc = nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 5))

    def forward(self, x):
        x = self.blocks(self.stem((x - self.mean) / self.deviation))
        return self.fc(x.mean([2, 3]))


class Grouped(nn.Module):
    """Groups, dilation, even kernels, padding that counts or not, a matrix without a bias and one with."""

    def __init__(self, counts):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, (5, 3), (1, 2), (2, 1)), nn.ReLU(), nn.AvgPool2d(3, 2, 1, count_include_pad=counts),
            nn.Conv2d(6, 8, 5, 1, 4, dilation=2, groups=2), nn.Hardtanh(-0.5, 2.0), nn.AvgPool2d((2, 1)))
        self.first, self.bias = nn.Linear(8 * 4 * 4, 7, bias=False), nn.Parameter(torch.rand(7))
        self.second = nn.Linear(7, 5)

    def forward(self, x):
        x = self.body(x).flatten(1)
        x = torch.relu(torch.matmul(x, self.first.weight.t()) + self.bias)
        return torch.softmax(self.second(x), 1)


# Name, network, height and width, operator set, and whether batch norm stays apart and shapes are computed in the file.
NETS = [
    ("resnet_9", ResNet(View()), (32, 24), 9, True),
    ("resnet_13", ResNet(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())), (32, 24), 13, False),
    ("resnet_17", ResNet(View()), (32, 24), 17, True),
    ("mobilenet_9", MobileNet(), (16, 20), 9, False),
    ("mobilenet_13", MobileNet(), (16, 20), 13, True),
    ("mobilenet_18", MobileNet(), (16, 20), 18, False),
    ("grouped_9", Grouped(True), (15, 16), 9, True),
    ("grouped_13", Grouped(False), (15, 16), 13, False),
    ("grouped_17", Grouped(True), (15, 16), 17, False),
]


def randomize(net, g):
    for name, tensor in list(net.named_parameters()) + list(net.named_buffers()):
        if tensor.dtype != torch.float32 or name in ("mean", "deviation"):
            continue
        values = torch.rand(tensor.shape, generator=g)
        fan_in = max(tensor[0].numel(), 1) if tensor.dim() > 1 else 1
        # Weights around zero; scales, biases, means and variances around what they are in trained networks.
        bound = (6 / fan_in) ** 0.5
        tensor.data = (2 * values - 1) * bound if tensor.dim() > 1 else 0.5 + 0.5 * values


def export(net, x, opset, keeps):
    file = io.BytesIO()
    mode = torch.onnx.TrainingMode.PRESERVE if keeps else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(net, x, file, dynamo=False, opset_version=opset, do_constant_folding=not keeps, training=mode,
                      input_names=["image"], output_names=["scores"],
                      dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}})
    return onnx.load_from_string(file.getvalue())


def main():
    folder, g, tensors = Path(sys.argv[1]), torch.Generator().manual_seed(1), {}
    for name, net, size, opset, keeps in NETS:
        randomize(net, g)
        net.eval()
        x = torch.rand(2, 3, *size, generator=g)
        model = export(net, x, opset, keeps)
        for node in model.graph.node:
            node.doc_string = ""
        data = model.SerializeToString()
        (folder / f"{name}.onnx").write_bytes(data)
        scores = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"image": x.numpy()})[0]
        difference = numpy.abs(scores - net(x).detach().numpy()).max() / numpy.abs(scores).max()
        print(name, len(data), f"{difference:.1e}", sorted({node.op_type for node in model.graph.node}), flush=True)
        tensors |= {f"{name}.input": x.numpy(), f"{name}.logits": scores}
    save_file(tensors, folder / "io.safetensors")


if __name__ == "__main__":
    main()
