"""Makes the files beside it with Pillow 13.0.0 on libjpeg-turbo 3.2.0: JPEG files of each kind, and their pixels as PNG.

A CMYK image is stored in a PNG of four channels. `NAME.FILTER.png` is NAME.jpg with its short side resized to 40 and the
central 32 by 32 pixels cut out.
"""
import numpy as np
from PIL import Image

rng = np.random.default_rng(7)
W, H = 83, 61
y, x = np.mgrid[0:H, 0:W]
waves = [128 + 90 * np.sin(x / (3 + c) + c) * np.cos(y / (4 + c)) + 40 * ((x * (c + 1) + y) // 16 % 2) for c in range(4)]
pixels = np.clip(np.stack(waves, -1) + rng.normal(0, 12, (H, W, 4)), 0, 255).astype(np.uint8)
rgb = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
grey = Image.fromarray(np.ascontiguousarray(pixels[..., 0]))
cmyk = Image.frombytes("CMYK", (W, H), pixels.tobytes())

rgb.save("444.jpg", quality=90, subsampling="4:4:4")
rgb.save("422.jpg", quality=85, subsampling="4:2:2")
rgb.save("420.jpg", quality=80, subsampling="4:2:0")
rgb.save("420-restart.jpg", quality=97, subsampling="4:2:0", restart_marker_blocks=3, optimize=True)
rgb.crop((0, 0, 80, 64 - 16)).save("420-whole-units.jpg", quality=30, subsampling="4:2:0")
rgb.crop((5, 3, 22, 20)).save("420-small.jpg", quality=75, subsampling="4:2:0")
rgb.crop((5, 3, 8, 33)).save("420-narrow.jpg", quality=75, subsampling="4:2:0")
rgb.save("rgb.jpg", quality=90, keep_rgb=True)
rgb.save("progressive.jpg", quality=85, subsampling="4:2:0", progressive=True)
grey.save("grey.jpg", quality=70)
cmyk.save("cmyk.jpg", quality=90)
# 4:4:0 has the units of 4:2:2 turned: with as many units the same codes are another image.
rgb.crop((0, 0, 48, 48)).save("440.jpg", quality=85, subsampling="4:2:2")
data = open("440.jpg", "rb").read()
frame = data.index(b"\xff\xc0")
assert data[frame + 11] == 0x21
open("440.jpg", "wb").write(data[: frame + 11] + b"\x12" + data[frame + 12 :])

for name in ["444", "422", "420", "420-restart", "420-whole-units", "420-small", "420-narrow", "rgb", "progressive", "grey", "cmyk", "440"]:
    image = Image.open(name + ".jpg")
    image.load()
    if image.mode == "CMYK":
        image = Image.frombytes("RGBA", image.size, image.tobytes())
    image.save(name + ".png")
for filter in ["LANCZOS", "BICUBIC", "BILINEAR"]:
    image = Image.open("420.jpg")
    side = 40 / min(image.size)
    image = image.resize(tuple(round(s * side) for s in image.size), getattr(Image, filter))
    left, top = (image.width - 32) // 2, (image.height - 32) // 2
    image.crop((left, top, left + 32, top + 32)).save(f"420.{filter.lower()}.png")
