"""Images per second that torchvision v2 decodes and crops on one thread: `python torchvision_images.py FOLDER`.

The counterpart of `sparse-train bench data FOLDER --threads 1`: decode, random resized crop to 224, flip, normalise.
"""

import pathlib
import sys
import time

import torch
from torchvision.io import decode_image
from torchvision.transforms import v2

WARM_UP = 50


def main():
    torch.set_num_threads(1)
    paths = sorted(path for path in pathlib.Path(sys.argv[1]).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    view = v2.Compose([
        v2.RandomResizedCrop(224, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    for path in paths[:WARM_UP]:
        view(decode_image(str(path), mode="RGB"))
    start = time.perf_counter()
    for path in paths:
        view(decode_image(str(path), mode="RGB"))
    print(f"{len(paths) / (time.perf_counter() - start):.1f} images/s")


main()
