"""Makes the files of tests/onnx/quantised: small networks in the QDQ form, with an input and ONNX Runtime's scores.

python quantised.py FOLDER         (torch 2.x, numpy, onnx, onnxruntime, safetensors)
python quantised.py scores FOLDER  the scores of FOLDER/*.onnx for FOLDER/io.safetensors, into FOLDER/scores.safetensors

Weights are random. NAME.onnx is the model: of `quantize_static` of ONNX Runtime, or of PyTorch's exporter with its fake quantisation in the
network. io.safetensors holds `input` [8, 3, 16, 12] for all of them and NAME.logits [8, classes], which are ONNX Runtime's for that file.
"""
import io
import sys
import warnings
from pathlib import Path

import numpy
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from safetensors.numpy import load_file, save_file
from torch import nn

warnings.simplefilter("ignore")
onnxruntime.set_default_logger_severity(3)
CLASSES = 5


def layer(inputs, outputs, kernel, stride=1, groups=1, activation=nn.ReLU):
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), activation())


class MobileNet(nn.Sequential):
    """A small MobileNetV1."""

    def __init__(self):
        blocks, channels = [layer(3, 8, 3, 2, activation=nn.ReLU6)], 8
        for outputs, stride in [(12, 1), (16, 2), (16, 1)]:
            blocks += [layer(channels, channels, 3, stride, channels), layer(channels, outputs, 1, activation=nn.ReLU6)]
            channels = outputs
        super().__init__(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


class Residual(nn.Module):
    """A sum, a greatest number, and two results side by side."""

    def __init__(self):
        super().__init__()
        self.stem, self.pool = layer(3, 6, 5, 2), nn.MaxPool2d(3, 1, 1)
        self.a, self.b = layer(6, 8, 3), layer(8, 6, 3, activation=nn.Identity)
        self.left, self.right = layer(6, 4, 1), layer(6, 6, 3, activation=nn.Hardswish)
        self.fc = nn.Linear(10 * 4 * 3, CLASSES)

    def forward(self, x):
        x = self.pool(self.stem(x))
        x = torch.relu(x + self.b(self.a(x)))
        x = nn.functional.max_pool2d(torch.cat([self.left(x), self.right(x)], 1), 2)
        return self.fc(x.reshape(x.size(0), -1))


class Fake(nn.Module):
    """With PyTorch's own fake quantisation of activations and weights, which the exporter writes as QDQ."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 1, 1, groups=2)
        self.fc = nn.Linear(8, CLASSES)

    def freeze(self):
        """The scales of the weights are constants."""
        for name in ["first", "second", "fc"]:
            scales = getattr(self, name).weight.detach().abs().flatten(1).amax(1) / 127
            self.register_buffer(f"{name}_scales", scales)
            self.register_buffer(f"{name}_zeros", torch.zeros(len(scales)).int())
        self.scale = float(self.fc_scales.max())

    def forward(self, x):
        def steps(x, scale, zero):
            return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255)

        def weight(name):
            scales, zeros = getattr(self, f"{name}_scales"), getattr(self, f"{name}_zeros")
            return torch.fake_quantize_per_channel_affine(getattr(self, name).weight, scales, zeros, 0, -128, 127)

        x = steps(x, 1 / 255, 0)
        x = steps(torch.relu(nn.functional.conv2d(x, weight("first"), self.first.bias, 2, 1)), 0.02, 0)
        x = nn.functional.conv2d(x, weight("second"), self.second.bias, 1, 1, 1, 2)
        x = steps(nn.functional.hardtanh(x, -1.5, 1.5), 0.012, 128)
        x = steps(x.mean((2, 3)), 0.012, 128)
        fc = torch.fake_quantize_per_tensor_affine(self.fc.weight, self.scale, 0, -128, 127)
        return nn.functional.linear(x, fc, self.fc.bias)


def randomize(net, g):
    for name, tensor in list(net.named_parameters()) + list(net.named_buffers()):
        if tensor.dtype != torch.float32:
            continue
        values = torch.rand(tensor.shape, generator=g)
        if tensor.dim() > 1:
            tensor.data = (2 * values - 1) * (6 / tensor[0].numel()) ** 0.5
        else:
            tensor.data = values - 0.5 if name.endswith(("bias", "running_mean")) else 0.5 + values


class Images(CalibrationDataReader):
    def __init__(self, x):
        self.images = iter([{"image": image[None].numpy()} for image in x])

    def get_next(self):
        return next(self.images, None)


def export(net, x):
    file = io.BytesIO()
    torch.onnx.export(net, (x,), file, dynamo=False, opset_version=14, input_names=["image"], output_names=["scores"],
                      dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}})
    model = onnx.load_from_string(file.getvalue())
    for node in model.graph.node:
        node.doc_string = ""
    return model


U8, S8 = QuantType.QUInt8, QuantType.QInt8
# Name, network, types of activations and weights, and the other settings of `quantize_static`.
STATIC = [
    ("mobilenet_channel_u8", MobileNet, U8, S8, {"per_channel": True}),
    ("mobilenet_tensor_s8", MobileNet, S8, S8, {}),
    ("mobilenet_channel_s8_reduced", MobileNet, S8, S8, {"per_channel": True, "reduce_range": True}),
    ("residual_channel_u8", Residual, U8, S8, {"per_channel": True}),
    ("residual_tensor_u8u8", Residual, U8, U8, {"reduce_range": True}),
    ("residual_channel_s8_symmetric", Residual, S8, S8, {"per_channel": True, "extra_options": {"ActivationSymmetric": True}}),
    ("residual_twins", Residual, U8, S8, {"extra_options": {"DedicatedQDQPair": True, "UseQDQContribOps": True}}),
]


def scores(data, x):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def make(folder):
    torch.manual_seed(1)
    g = torch.Generator().manual_seed(1)
    x = torch.rand(8, 3, 16, 12, generator=g)
    tensors, models = {"input": x.numpy()}, {}
    for name, kind, activations, weights, settings in STATIC:
        net = kind()
        randomize(net, g)
        net.eval()
        models[name] = export(net, x), net, (activations, weights, settings)
    net = Fake()
    randomize(net, g)
    net.freeze()
    models["fake_quantised"] = export(net.eval(), x), net, None
    for name, (model, net, settings) in models.items():
        path = folder / f"{name}.onnx"
        if settings is None:
            onnx.save(model, path)
        else:
            activations, weights, more = settings
            quantize_static(model, path, Images(x), quant_format=QuantFormat.QDQ, activation_type=activations, weight_type=weights, **more)
        data = path.read_bytes()
        tensors[f"{name}.logits"] = scores(data, x.numpy())
        difference = numpy.abs(tensors[f"{name}.logits"] - net(x).detach().numpy()).max() / numpy.abs(tensors[f"{name}.logits"]).max()
        operators = sorted({node.op_type for node in onnx.load_from_string(data).graph.node})
        print(name, len(data), f"{difference:.1e}", *operators, flush=True)
    save_file(tensors, folder / "io.safetensors")


def score(folder):
    x = load_file(folder / "io.safetensors")["input"]
    paths = sorted(folder.glob("*.onnx"))
    save_file({path.stem: numpy.ascontiguousarray(scores(path.read_bytes(), x)) for path in paths}, folder / "scores.safetensors")


if __name__ == "__main__":
    score(Path(sys.argv[2])) if sys.argv[1] == "scores" else make(Path(sys.argv[1]))
