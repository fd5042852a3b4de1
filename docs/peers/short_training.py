"""Trains torchvision's resnet18 or mobilenet_v2 shortly on photos in class folders or lists, and writes it as ONNX: networks to prune by data.

python short_training.py NETWORK PHOTOS OUT.onnx [EPOCHS]      needs torch, torchvision, onnx, pillow
PHOTOS holds train_list.txt with lines `PATH LABEL`; labels are numbered anew from 0 in their order.
"""
import sys
import numpy as np, torch, torch.nn.functional as F, torchvision
from PIL import Image

SIDE = 112
name, photos, out = sys.argv[1:4]
epochs = int(sys.argv[4]) if len(sys.argv) > 4 else 3
torch.manual_seed(0)

rows = [line.split() for line in open(f"{photos}/train_list.txt")]
labels = sorted({int(label) for _, label in rows})
y = torch.tensor([labels.index(int(label)) for _, label in rows])


def pixels(path):
    image = Image.open(f"{photos}/{path}").convert("RGB").resize((SIDE + 16, SIDE + 16), Image.BILINEAR)
    return np.asarray(image)


x = torch.from_numpy(np.stack([pixels(path) for path, _ in rows])).permute(0, 3, 1, 2)
mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
network = getattr(torchvision.models, name)(num_classes=len(labels)).to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4, nesterov=True)
steps = epochs * (len(x) // 32)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=steps)
for epoch in range(epochs):
    order, right = torch.randperm(len(x)), 0
    for batch in order[: len(x) // 32 * 32].split(32):
        top, left = np.random.randint(0, 17, 2)
        images = x[batch][:, :, top : top + SIDE, left : left + SIDE]
        images = (images.flip(3) if np.random.rand() < 0.5 else images).float() / 255
        scores = network(((images - mean) / std).contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(scores, y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        right += (scores.argmax(1) == y[batch]).sum().item()
    print(f"epoch {epoch + 1}: training accuracy {right / len(x):.4f}", flush=True)
network.eval()
torch.onnx.export(network, torch.zeros(1, 3, SIDE, SIDE), out, dynamo=False, opset_version=13, input_names=["images"], output_names=["scores"])
