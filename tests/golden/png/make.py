"""PNG files of every kind, and the CRC-32 of the views that Pillow 13.0.0 makes of them: matrix.tar.gz.

Colour type x bits x interlace x tRNS, and for each file the central view as PaddleSlim's reader makes it (short side
resized, centre cut out, then RGB) at several sizes and with each filter. `expected.tsv` has a line for each view: file, size
of the view, short side (0: not resized), filter, CRC-32 of its pixels `[height, width, 3]`.

Images are resized across, then down, as every Pillow before 13 does; Pillow 13 itself takes tall ones down first.
"""
import gzip
import io
import random
import struct
import tarfile
import zlib

from PIL import Image

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def row(values, depth):
    if depth == 16:
        return b"".join(struct.pack(">H", value) for value in values)
    bits = "".join(format(value, f"0{depth}b") for value in values)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at:at + 8], 2) for at in range(0, len(bits), 8))


def png(width, height, colour, depth, interlaced, transparent, seed, palette=None):
    rng = random.Random(seed)
    most = (1 << depth) - 1
    channels = CHANNELS[colour]

    def value(x, y, channel):
        if colour == 3:
            # Some files use numbers past their palette.
            return rng.randint(0, most)
        if channel == channels - 1 and colour > 3:
            return rng.choice([0, 0, most // 3, most // 2, most, rng.randint(0, most)])
        if colour == 0 and depth == 16 and seed % 2:
            return min(most, max(0, x * 30 + y * 11 + rng.randint(-40, 40)))
        return rng.choice([0, most, rng.randint(0, most), (x * most // width + y * channel) % (most + 1)])

    pixels = [[[value(x, y, channel) for channel in range(channels)] for x in range(width)] for y in range(height)]
    data = b""
    for left, top, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        for y in range(top, height, down):
            values = [value for x in range(left, width, across) for value in pixels[y][x]]
            if values:
                data += b"\0" + row(values, depth)
    out = b"\x89PNG\r\n\x1a\n"
    out += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced)))
    if colour == 3:
        out += chunk(b"PLTE", bytes(rng.randrange(256) for _ in range(3 * palette)))
    if transparent:
        if colour == 3:
            out += chunk(b"tRNS", bytes(rng.choice([0, 128, 255]) for _ in range(palette)))
        else:
            out += chunk(b"tRNS", b"".join(struct.pack(">H", value) for value in pixels[0][0]))
    return out + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def resized(image, size, filter):
    """Across before down."""
    if image.size == size or image.mode in ("1", "P"):
        return image.resize(size, filter)
    mode = image.mode
    image = image.convert({"LA": "La", "RGBA": "RGBa"}.get(mode, mode))
    return image.resize((size[0], image.height), filter).resize(size, filter).convert(mode)


def view(data, size, short, name):
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        if short:
            share = float(short) / min(image.size)
            size_then = tuple(int(round(side * share)) for side in image.size)
            image = resized(image, size_then, getattr(Image, name.upper()))
        left, top = (image.width - size) // 2, (image.height - size) // 2
        return image.crop((left, top, left + size, top + size)).convert("RGB")


def main():
    lines, files = [], []
    for colour, depths in DEPTHS.items():
        for depth in depths:
            for interlaced in (False, True):
                for transparent in (False, True) if colour < 4 else (False,):
                    for number, (width, height) in enumerate([(17, 13), (9, 24)]):
                        palette = min(1 << depth, [200, 256][number])
                        data = png(width, height, colour, depth, interlaced, transparent, len(files) // 2 * 2 + number, palette)
                        name = f"{colour}-{depth}-{int(interlaced)}-{int(transparent)}-{number}.png"
                        files.append((name, data))
                        side = min(width, height)
                        for size, short in ((7, 0), (8, side), (7, 8), (20, 31), (5, 5)):
                            for filter in ("lanczos", "bicubic", "bilinear"):
                                crc = zlib.crc32(view(data, size, short, filter).tobytes())
                                lines.append("\t".join(map(str, (name, size, short, filter, crc))))
    with gzip.GzipFile("matrix.tar.gz", "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in [*files, ("expected.tsv", "\n".join(lines).encode())]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main()
