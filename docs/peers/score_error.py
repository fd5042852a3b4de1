"""How far the scores of pruned ONNX networks are from those of the dense one: squared difference over variance, and top-1 that stays.

python score_error.py PHOTOS DENSE.onnx PRUNED.onnx...      needs onnxruntime, numpy, pillow
PHOTOS holds val_list.txt; images are resized and cropped as sparse-train does by default.
"""
import sys
import numpy as np, onnxruntime
from PIL import Image

photos, *files = sys.argv[1:]
sessions = [onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]) for path in files]
side = sessions[0].get_inputs()[0].shape[2]
short = side * 256 // 224


def pixels(path):
    image = Image.open(f"{photos}/{path}").convert("RGB")
    scale = short / min(image.size)
    image = image.resize([round(extent * scale) for extent in image.size], Image.LANCZOS)
    left, top = [(extent - side) // 2 for extent in image.size]
    return np.asarray(image.crop((left, top, left + side, top + side)), np.float32) / 255


rows = [line.split()[0] for line in open(f"{photos}/val_list.txt")]
scores = [[] for _ in sessions]
for path in rows:
    x = ((pixels(path) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype(np.float32).transpose(2, 0, 1)[None]
    for found, session in zip(scores, sessions):
        found.append(session.run(None, {session.get_inputs()[0].name: x})[0][0])
dense, *others = [np.array(found) for found in scores]
for path, found in zip(files[1:], others):
    error = ((found - dense) ** 2).sum() / ((dense - dense.mean()) ** 2).sum()
    print(f"{path}: error {error:.4f}, same first class {(found.argmax(1) == dense.argmax(1)).mean():.4f}")
