// Fake quantization to integers and its gradients, each in a single pass over memory.
//
// Rows have `length` neighbouring elements, a step each, and bounds each (stride 1) or in common
// (stride 0). The arithmetic is that of `supernets.rounding`: divide, round half to even, clamp,
// multiply. A comparison with NaN is false, so that NaN passes every clamp, as in torch.
//
// Sums run over pieces of fixed length with lanes of fixed number, and over the pieces in order: they
// depend neither on the number of threads nor on the width of the processor's vectors.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace {

constexpr int64_t PIECE = 4096;  // elements
constexpr int64_t LANES = 16;
constexpr int64_t WORTH_THREADS = 32768;  // elements, below which threads cost more than they save

struct Grid {
  float step, low, high;

  float scaled(float x) const { return x / step; }

  float value(float scaled) const {
    float code = std::rint(scaled);
    code = code < low ? low : code;
    code = code > high ? high : code;
    return code * step;
  }
};

void round_piece(const float* __restrict__ x, float* __restrict__ y, int64_t count, Grid grid) {
  for (int64_t i = 0; i < count; ++i) y[i] = grid.value(grid.scaled(x[i]));
}

double sum_of(const float* terms, int64_t count) {
  float sums[LANES] = {};
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES)
    for (int64_t lane = 0; lane < LANES; ++lane) sums[lane] += terms[i + lane];
  for (int64_t lane = 0; i < count; ++i, ++lane) sums[lane] += terms[i];
  double total = 0.0;
  for (float sum : sums) total += sum;
  return total;
}

// The gradient by the logarithm of the step: the sum of `grad * (y - x)` inside, `grad * y` outside.
double differentiate_piece(
    const float* __restrict__ grad, const float* __restrict__ x, float* __restrict__ grad_x,
    int64_t count, Grid grid, float reach) {
  const float least = grid.low - reach, most = grid.high + reach;
  float terms[PIECE];
  for (int64_t i = 0; i < count; ++i) {
    const float scaled = grid.scaled(x[i]), value = grid.value(scaled);
    const bool outside = (scaled <= least) | (scaled >= most);
    grad_x[i] = outside ? 0.0f : grad[i];
    terms[i] = grad[i] * (value - (outside ? 0.0f : x[i]));
  }
  return sum_of(terms, count);
}

template <typename Work>
void for_each_piece(int64_t rows, int64_t length, int threads, Work work) {
  const int64_t pieces = (length + PIECE - 1) / PIECE;
#pragma omp parallel for schedule(static) num_threads(threads) if (rows * length > WORTH_THREADS)
  for (int64_t task = 0; task < rows * pieces; ++task) {
    const int64_t row = task / pieces, start = task % pieces * PIECE;
    work(task, row, row * length + start, std::min(PIECE, length - start));
  }
}

}  // namespace

extern "C" void fake_quantize(
    const float* x, float* y, int64_t rows, int64_t length, const float* step,
    const float* low, const float* high, int64_t bound_stride, int threads) {
  for_each_piece(rows, length, threads, [=](int64_t, int64_t row, int64_t at, int64_t count) {
    const Grid grid{step[row], low[row * bound_stride], high[row * bound_stride]};
    round_piece(x + at, y + at, count, grid);
  });
}

extern "C" void fake_quantize_gradients(
    const float* grad, const float* x, float* grad_x, float* grad_log, int64_t rows,
    int64_t length, const float* step, const float* low, const float* high, int64_t bound_stride,
    float reach, int threads) {
  const int64_t pieces = (length + PIECE - 1) / PIECE;
  std::vector<double> sums(rows * pieces);
  double* held = sums.data();
  for_each_piece(rows, length, threads, [=](int64_t task, int64_t row, int64_t at, int64_t count) {
    const Grid grid{step[row], low[row * bound_stride], high[row * bound_stride]};
    held[task] = differentiate_piece(grad + at, x + at, grad_x + at, count, grid, reach);
  });
  for (int64_t row = 0; row < rows; ++row) {
    double total = 0.0;
    for (int64_t piece = 0; piece < pieces; ++piece) total += held[row * pieces + piece];
    grad_log[row] = static_cast<float>(total);
  }
}
