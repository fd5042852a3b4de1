// Windows over images, any kernel, stride and dilation.
#pragma once
#include "common.cuh"

struct Window {
  u32 height, width, out_height, out_width, batch;
  u32 rows, columns;       // taps
  u32 down, right;         // pixels from one window to the next
  u32 apart_down, apart_right;  // pixels from one tap to the next
  u32 above, left;         // lines before the image

  __device__ __forceinline__ u32 plane() const { return height * width * batch; }
  __device__ __forceinline__ u32 out_plane() const { return out_height * out_width * batch; }
};

// The place in a plane of the first of some images.
struct Pixel {
  u32 row, column, image;

  static __device__ __forceinline__ Pixel of(u32 at, u32 width, u32 batch) {
    return {at / batch / width, at / batch % width, at % batch};
  }
};

// The pixel under a tap of the window at `out`: an offset into its plane, if it lies inside. Rows and columns before the plane wrap and so lie
// outside.
struct Under {
  u32 at;
  bool inside;

  static __device__ __forceinline__ Under of(const Window& w, const Pixel& out, u32 tap_row, u32 tap_column) {
    const u32 row = out.row * w.down + tap_row * w.apart_down - w.above, column = out.column * w.right + tap_column * w.apart_right - w.left;
    return {(row * w.width + column) * w.batch + out.image, row < w.height && column < w.width};
  }
};

// EACH is run for each window that sees the pixel `in`, with that window, the tap it sees it through, and where its result lies in a plane.
template <class Each> static __device__ __forceinline__ void over_windows(const Window& w, const Pixel& in, Each each) {
  for (u32 r = 0; r < w.rows; r++) {
    const u32 row = in.row + w.above - r * w.apart_down;
    if (row % w.down != 0 || row / w.down >= w.out_height) continue;
    for (u32 c = 0; c < w.columns; c++) {
      const u32 column = in.column + w.left - c * w.apart_right;
      if (column % w.right != 0 || column / w.right >= w.out_width) continue;
      const Pixel out = {row / w.down, column / w.right, in.image};
      each(out, r * w.columns + c, (out.row * w.out_width + out.column) * w.batch + in.image);
    }
  }
}
