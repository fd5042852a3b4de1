// What follows from the moments and partial sums of a batch norm: its coefficients, running statistics, and gradients.
//
// Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1.
//
// Shapes: partial [C, chunks, stride]; coefficients [ROWS, C]; all else [C]. Reads 4 bytes a partial sum: a launch costs more.
#include "common.cuh"

const u32 THREADS = WARP;

// From moments, partial [C, chunks, MOMENTS], to coefficients; running statistics are blended. Grid (C), a warp each. Without `training` the running
// statistics count and `partial` is not read.
KERNEL(close_statistics, (const float* partial, u32 chunks, float* running_mean, float* running_variance, const float* scale,
                          const float* offset, float momentum, float epsilon, u32 training, float* coefficients)) {
  const u32 channel = blockIdx.x, channels = gridDim.x;
  Moments<double> total = {0.0, 0.0, 0.0};
  if (training) {
    for (u32 i = threadIdx.x; i < chunks; i += WARP) {
      const float* own = partial + ((size_t)channel * chunks + i) * MOMENTS;
      total = total.with(own[0], own[1], own[2]);
    }
    total = warp_moments(total);
  }
  if (threadIdx.x != 0) return;
  float mean = running_mean[channel], variance = running_variance[channel];
  if (training) {
    const float old_mean = mean, old_variance = variance;
    mean = (float)total.mean;
    variance = (float)(total.squares / total.count);
    running_mean[channel] = old_mean * momentum + mean * (1.0f - momentum);
    running_variance[channel] = old_variance * momentum + variance * (1.0f - momentum);
  }
  const double inverse = 1.0 / sqrt((double)variance + epsilon);
  coefficients[MEAN * channels + channel] = mean;
  coefficients[VARIANCE * channels + channel] = variance;
  coefficients[INVERSE * channels + channel] = (float)inverse;
  coefficients[GAIN * channels + channel] = (float)(inverse * scale[channel]);
  coefficients[OFFSET * channels + channel] = offset[channel];
}

// The coefficients that add a bias, through which a gradient goes as it is. Grid (ceil(C / THREADS)).
KERNEL(take_bias, (const float* bias, u32 channels, float* coefficients)) {
  const u32 channel = blockIdx.x * THREADS + threadIdx.x;
  if (channel >= channels) return;
  for (u32 row = 0; row < ROWS; row++) coefficients[row * channels + channel] = row == INVERSE || row == GAIN ? 1.0f : 0.0f;
  coefficients[OFFSET * channels + channel] = bias[channel];
}

// From Σ g and Σ g·(y − mean) to the gradients of scale and offset, and the way of g back. Grid (C), a warp each.
// partial [C, chunks, stride] has the two sums at `first` and behind it.
KERNEL(close_gradient, (const float* partial, u32 chunks, u32 stride, u32 first, u32 pixels, float* coefficients, float* dscale,
                        float* doffset)) {
  const u32 channel = blockIdx.x, channels = gridDim.x;
  const float* own = partial + (size_t)channel * chunks * stride + first;
  const double sum = fold(own, chunks, stride);
  const float product = (float)fold(own + 1, chunks, stride);
  if (threadIdx.x != 0) return;
  const double inverse = coefficients[INVERSE * channels + channel];
  coefficients[CONSTANT * channels + channel] = (float)(sum / pixels);
  coefficients[SLOPE * channels + channel] = (float)(product * inverse * inverse / pixels);
  dscale[channel] = (float)(product * inverse);
  doffset[channel] = (float)sum;
}
