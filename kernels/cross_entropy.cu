// Softmax cross-entropy with label smoothing and soft targets, the counts of a batch, and the bias of the head; the two products of the
// head are a matrix library's.
//
// Source: Szegedy et al. 2016, arXiv:1512.00567, section 7 (smoothing); Hinton et al. 2015, arXiv:1503.02531 (soft targets).
//
// Shapes: logits, teacher, dlogits [N, classes]; labels [N]; results [N, RESULTS]. Reads and writes 8 bytes a score (12 with a
// teacher), 1 MB at batch 128 and 1000 classes: launches cost more.
#include "common.cuh"

const u32 THREADS = 128;
const u32 INFINITY_BITS = 0x7f800000u;

// logits[n, ·] += bias. Grid (N).
KERNEL(add_bias, (float* logits, const float* bias, u32 classes)) {
  for (u32 i = threadIdx.x; i < classes; i += THREADS) logits[(size_t)blockIdx.x * classes + i] += bias[i];
}

// dbias = Σ over the images, in order. Grid (ceil(classes / THREADS)).
KERNEL(bias_gradient, (const float* dlogits, float* dbias, u32 classes, u32 batch)) {
  const u32 at = blockIdx.x * THREADS + threadIdx.x;
  if (at >= classes) return;
  float sum = 0.0f;
  for (u32 image = 0; image < batch; image++) sum += dlogits[(size_t)image * classes + at];
  dbias[at] = sum;
}

// One image's scores over a temperature, as log probabilities.
struct Softmax {
  const float* scores;
  float largest;
  double inverse_temperature, normaliser;

  __device__ __forceinline__ double log_probability(u32 at) const { return (double)(scores[at] - largest) * inverse_temperature - normaliser; }
};

// The block's largest value, for all threads. Between two calls there must be a barrier, such as those of `block_total`.
static __device__ __forceinline__ float block_largest(float value) {
  __shared__ float largest[THREADS / WARP];
#pragma unroll
  for (u32 distance = WARP / 2; distance > 0; distance /= 2) value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, distance));
  if (threadIdx.x % WARP == 0) largest[threadIdx.x / WARP] = value;
  __syncthreads();
  for (u32 warp = 0; warp < THREADS / WARP; warp++) value = fmaxf(value, largest[warp]);
  return value;
}
// The block's sum, for all threads.
static __device__ __forceinline__ double block_total(double value) {
  __shared__ double sums[THREADS / WARP];
  value = warp_sum(value);
  __syncthreads();
  if (threadIdx.x % WARP == 0) sums[threadIdx.x / WARP] = value;
  __syncthreads();
  double total = 0.0;
  for (u32 warp = 0; warp < THREADS / WARP; warp++) total += sums[warp];
  return total;
}

static __device__ __forceinline__ Softmax softmax(const float* scores, u32 classes, double inverse_temperature) {
  float largest = -__uint_as_float(INFINITY_BITS);
  double sum = 0.0;
  for (u32 i = threadIdx.x; i < classes; i += THREADS) largest = fmaxf(largest, scores[i]);
  largest = block_largest(largest);
  for (u32 i = threadIdx.x; i < classes; i += THREADS) sum += exp((double)(scores[i] - largest) * inverse_temperature);
  return {scores, largest, inverse_temperature, log(block_total(sum))};
}

// What is known of an image: its loss, and whether its label is the first or among the first five.
const u32 RESULTS = 3;

struct Targets {
  float smoothing;     // ε of label smoothing, fraction
  float temperature;   // of the soft targets
  float soft;          // share of the soft targets in the loss, fraction
};

// results[n] and dlogits[n, ·], the gradient of the mean loss over the batch. `teacher` and `dlogits` may be null. Grid (N).
KERNEL(cross_entropy, (const float* logits, const u32* labels, const float* teacher, Targets targets, float* results, float* dlogits,
                       u32 classes)) {
  const u32 image = blockIdx.x, label = labels[image], batch = gridDim.x;
  const float* scores = logits + (size_t)image * classes;
  const double hard = teacher ? 1.0 - targets.soft : 1.0, each = (double)targets.smoothing / classes;
  const Softmax own = softmax(scores, classes, 1.0);
  double loss = 0.0, before = 0.0;
  for (u32 i = threadIdx.x; i < classes; i += THREADS) {
    const double log_probability = own.log_probability(i), target = (i == label ? 1.0 - targets.smoothing : 0.0) + each;
    loss -= hard * target * log_probability;
    if (dlogits) dlogits[(size_t)image * classes + i] = (float)((exp(log_probability) - target) * (hard / batch));
    // Classes that come before the label: larger scores, and equal ones of a lower index.
    before += scores[i] > scores[label] || (scores[i] == scores[label] && i < label) ? 1.0 : 0.0;
  }
  if (teacher) {
    const double temperature = targets.temperature;
    const Softmax student = softmax(scores, classes, 1.0 / temperature);
    const Softmax other = softmax(teacher + (size_t)image * classes, classes, 1.0 / temperature);
    for (u32 i = threadIdx.x; i < classes; i += THREADS) {
      const double log_target = other.log_probability(i), log_probability = student.log_probability(i), target = exp(log_target);
      loss += targets.soft * temperature * temperature * target * (log_target - log_probability);
      if (dlogits) {
        float* gradient = dlogits + (size_t)image * classes + i;
        *gradient = (float)(*gradient + (exp(log_probability) - target) * (targets.soft * temperature / batch));
      }
    }
  }
  loss = block_total(loss);
  before = block_total(before);
  if (threadIdx.x == 0) {
    float* result = results + (size_t)image * RESULTS;
    result[0] = (float)loss;
    result[1] = before < 1.0 ? 1.0f : 0.0f;
    result[2] = before < 5.0 ? 1.0f : 0.0f;
  }
}

// scalars = mean loss, images whose label is first, images whose label is among the first five. Grid (RESULTS), one warp does the work.
KERNEL(batch_results, (const float* results, u32 batch, double* scalars)) {
  if (threadIdx.x >= WARP) return;
  const double sum = fold(results + blockIdx.x, batch, RESULTS);
  if (threadIdx.x == 0) scalars[blockIdx.x] = blockIdx.x == 0 ? sum / batch : sum;
}
