"""Makes the files in the folder odd beside it: small tensors in every form in which pickles hold them, and what they are.

python odd.py FOLDER            (torch 2.x, numpy, safetensors)

`expected.safetensors` has the tensors as torch.load and pickle.load give them, under FILE|DICTIONARY|NAME. What no reader
here gives numbers for is in `refused.pth`, one kind under each name.
"""

import argparse
import collections
import datetime
import io
import pickle
import random
import sys
import zipfile
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file

folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
g = torch.Generator().manual_seed(7)
expected = {}


def rand(*shape):
    return torch.rand(*shape, generator=g) * 2 - 1


def expect(file, dictionary, tensors):
    for name, tensor in tensors.items():
        value = tensor.detach() if isinstance(tensor, torch.Tensor) else torch.from_numpy(numpy.array(tensor, order="C"))
        expected[f"{file}|{dictionary}|{name}"] = value.resolve_neg().clone().contiguous()


def saved(file, object, tensors, dictionary="", **options):
    """Saves, and takes from torch.load what it gives under the same names."""
    torch.save(object, folder / file, **options)
    loaded = torch.load(folder / file, weights_only=False)
    for key in dictionary.split(".") if dictionary else []:
        loaded = loaded[key]
    expect(file, dictionary, {name: loaded[name] for name in tensors})


# Views and element types.
base = rand(4, 6)
marked = rand(3)
marked.note = "an attribute"
parameter = torch.nn.Parameter(rand(2, 2))
parameter.note = "an attribute"
views = {
    "transposed": base.t(), "row": base[1], "column": base[:, 2], "steps": base[1::2, ::3],
    "expanded": rand(3, 1).expand(3, 4), "overlapping": base.as_strided((3, 4), (2, 1), 3),
    "channels_last": rand(2, 3, 2, 2).contiguous(memory_format=torch.channels_last),
    "scalar": torch.tensor(3.5), "empty": torch.zeros(0, 3), "negated": torch.complex(rand(5), rand(5)).conj().imag,
    "f16": rand(3).half(), "bf16": rand(3).bfloat16(), "f64": rand(3).double(), "i64": torch.arange(3), "u8": torch.arange(3).byte(),
    "bool": torch.tensor([True, False]), "i8": torch.arange(-1, 2, dtype=torch.int8), "u16": torch.arange(3).to(torch.uint16),
    "attribute": marked, "parameter": parameter, "tied": base,
}
assert views["negated"].is_neg()
saved("views.pth", views, views)

# The archive of a big-endian machine: the record says so, and the numbers are turned round.
source = {"w": rand(2, 3), "d": rand(2).double(), "h": rand(3).half(), "b": torch.tensor([1, 2, 3], dtype=torch.uint8)}
torch.save(source, folder / "big.pth")
entries = zipfile.ZipFile(folder / "big.pth")
data = {info.filename: entries.read(info) for info in entries.infolist()}
for index, tensor in enumerate(source.values()):
    name = f"big/data/{index}"
    data[name] = numpy.frombuffer(data[name], f"u{tensor.element_size()}").byteswap().tobytes()
data["big/byteorder"] = b"big"
with zipfile.ZipFile(folder / "big.pth", "w") as archive:
    for name, content in data.items():
        archive.writestr(name, content)
loaded = torch.load(folder / "big.pth")
assert all(torch.equal(loaded[name], source[name]) for name in source)
expect("big.pth", "", loaded)

# The format before 1.6 in every protocol. Protocol 0 names a storage by the text of a tuple, which torch writes and cannot
# read.
plain = {"w": rand(2, 3), "half": rand(4).half(), "view": base[1:3, 2]}
for protocol in range(6):
    file = f"legacy_{protocol}.pt"
    torch.save(plain, folder / file, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
    if protocol:
        loaded = torch.load(folder / file, weights_only=False)
        assert all(torch.equal(loaded[name], plain[name]) for name in plain)
    expect(file, "", plain)


# Storages that are parts of another, as before 0.4: (key, first element, elements) behind the persistent id.
class Parts(pickle.Pickler):
    def persistent_id(self, object):
        if isinstance(object, tuple) and object and object[0] == "part":
            return "storage", torch.FloatStorage, "0", "cpu", 24, object[1]
        return None


whole = rand(24)
rebuild = torch._utils._rebuild_tensor


class Part:
    def __init__(self, part, offset, shape, stride):
        self.given = part, offset, shape, stride

    def __reduce__(self):
        part, offset, shape, stride = self.given
        return rebuild, (("part", part), offset, shape, stride)


stream = io.BytesIO()
for value in (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {"little_endian": True}):
    pickle.dump(value, stream, 2)
Parts(stream, 2).dump({"whole": Part(None, 4, (2, 3), (3, 1)), "part": Part(("1", 6, 12), 2, (3, 2), (1, 3))})
pickle.dump(["0"], stream, 2)
stream.write((24).to_bytes(8, "little") + whole.numpy().tobytes())
(folder / "parts.pt").write_bytes(stream.getvalue())
expect("parts.pt", "", torch.load(folder / "parts.pt", weights_only=False))

# Arrays of numpy in every protocol.
array = rand(2, 3).numpy()
arrays = {
    "c": array, "fortran": numpy.asfortranarray(array), "big": array.astype(">f4"), "transposed": rand(2, 3, 4).numpy().transpose(2, 0, 1),
    "steps": rand(6).numpy()[::2], "scalar": numpy.array(2.5, "f4"), "half": array.astype("f2"), "bf16": numpy.arange(16000, 16004, dtype="u2"),
    "big_fortran": numpy.asfortranarray(array.astype(">f8")),
}
beside = {"objects": numpy.array([None, {}], object), "fields": numpy.zeros(2, [("a", "f4"), ("b", "i4")]), "text": numpy.array(["a", "bc"]),
          "masked": numpy.ma.masked_array([1.0, 2.0], [True, False]), "date": numpy.array(["2020-01-01"], "M8[D]"), "number": numpy.float32(3)}
for protocol in range(6):
    file = f"arrays_{protocol}.pdparams"
    (folder / file).write_bytes(pickle.dumps(arrays | beside, protocol))
    loaded = pickle.loads((folder / file).read_bytes())
    expect(file, "", {name: loaded[name].astype(loaded[name].dtype.newbyteorder("=")) for name in arrays})


# A checkpoint with everything beside the weights.
class Config(dict):
    """As EasyDict and its like."""


layer = torch.nn.Linear(3, 2)
optimizer = torch.optim.Adam(layer.parameters())
layer(rand(4, 3)).sum().backward()
optimizer.step()
checkpoint = {
    "epoch": numpy.int64(3), "best_acc1": torch.tensor(71.5), "confusion": numpy.arange(9.0).reshape(3, 3), "args": argparse.Namespace(lr=0.1, data=Path("data"), f=print),
    "rng": [torch.get_rng_state(), numpy.random.RandomState(1).get_state(), random.Random(1).getstate()], "when": datetime.datetime(2020, 1, 2),
    "config": Config(name="x", inner=Config(depth=2, at=[1, 2])), "sets": {1, 2}, "counts": collections.Counter("aab"),
    "default": collections.defaultdict(list, a=[1]), "optimizer": optimizer.state_dict(), "net": {"weights": layer.state_dict()}, "device": torch.device("cpu"),
}
saved("checkpoint.pth", checkpoint, layer.state_dict(), "net.weights")
saved("checkpoint_0.pt", checkpoint, [], _use_new_zipfile_serialization=False, pickle_protocol=1)
expect("checkpoint_0.pt", "net.weights", layer.state_dict())


# Whole modules.
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU())
        self.head = torch.nn.Linear(2, 2, bias=False)
        self.names = {"extra": rand(2)}


net = Net()
# The format before 1.6 has the source of every class beside it.
torch.serialization.get_source_lines_and_file = lambda *_: (["class ...\n"], 0, "net.py")
for file, options in (("module.pth", {}), ("module.pt", {"_use_new_zipfile_serialization": False})):
    torch.save({"model": net}, folder / file, **options)
    expect(file, "model", net.state_dict())
    expect(file, "model.names", net.names)

# An archive whose first entry has a name of 30 bytes, and one without checksums.
torch.save(plain, folder / "mobilenet_v1_imagenet.pth")
expect("mobilenet_v1_imagenet.pth", "", plain)
torch.serialization.set_crc32_options(False)
torch.save(plain, folder / "no_checksums.pth")
torch.serialization.set_crc32_options(True)
expect("no_checksums.pth", "", plain)


# What is not read.
class Other(torch.Tensor):
    pass


refused = {
    "quantised": torch.quantize_per_tensor(rand(4), 0.1, 2, torch.qint8), "sparse": rand(3, 3).to_sparse(), "complex": torch.complex(rand(2), rand(2)),
    "conjugated": torch.complex(rand(2), rand(2)).conj(), "meta": torch.empty(2, device="meta"), "float8": rand(4).to(torch.float8_e4m3fn),
    "subclass": rand(2).as_subclass(Other), "csr": rand(3, 3).to_sparse_csr(), "good": rand(2),
}
torch.save(refused, folder / "refused.pth")
expect("refused.pth", "", {"good": refused["good"]})
# Tensors of a pickle that torch.save did not write.
(folder / "by_pickle.pkl").write_bytes(pickle.dumps({"w": rand(2)}))

save_file(expected, folder / "expected.safetensors")
(folder / "expected.safetensors").chmod(0o644)
