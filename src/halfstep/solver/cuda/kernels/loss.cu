// The terms of the objective in float64. Legend as in exact.cu; p and q are the factors of a row and of a column.
//
// One warp sums the losses of a piece of a row. Eight lanes share the product p q of an observed cell, so that a warp
// reads four rows of Y at a time, in whole cache lines.
//
// Constants: REAL, RANK, BIASES, MISSING and WIDTH as in exact.cu, and THREADS.

#define LANES 8  // of an observed cell
#define CHUNKS ((WIDTH + 4 * LANES - 1) / (4 * LANES))
#define ALL_LANES 0xffffffffu

// Read the part of a row of factors that belongs to a lane, without its bias.
__device__ __forceinline__ void read_factors(const REAL *row, int lane, double (&part)[4 * CHUNKS]) {
#pragma unroll
  for (int chunk = 0; chunk < CHUNKS; chunk++) {
    const int c = (chunk * LANES + lane) * 4;
    REAL four[4] = {0, 0, 0, 0};
    if (c < WIDTH) load4(row + c, four);
#pragma unroll
    for (int n = 0; n < 4; n++) part[4 * chunk + n] = BIASES && c + n == RANK ? 0.0 : (double)four[n];
  }
}

// Write sum w (t - o - b - p q)^2 of the observed cells of each piece to observed[piece], and s sum m (p q)^2 to
// missing[piece].
extern "C" __global__ void __launch_bounds__(THREADS, 3)
sum_losses(int n_pieces, const int *__restrict__ rows, const long long *__restrict__ starts,
           const long long *__restrict__ stops, const int *__restrict__ indices, const REAL *__restrict__ targets,
           int target_stride, const REAL *__restrict__ weights, int weight_stride,
           const REAL *__restrict__ row_missing, const REAL *__restrict__ column_missing, int missing_stride,
           const REAL *__restrict__ Y, const REAL *__restrict__ X, double *__restrict__ observed,
           double *__restrict__ missing) {
  const int piece = blockIdx.x * (THREADS / 32) + threadIdx.x / 32;
  if (piece >= n_pieces) return;
  const int lane = threadIdx.x % LANES, group = threadIdx.x % 32 / LANES;
  const long long begin = starts[piece], end = stops[piece];
  const REAL *row = X + (long long)rows[piece] * WIDTH;
  const double bias = BIASES ? (double)row[RANK] : 0.0;
  double x[4 * CHUNKS], losses = 0.0, squares = 0.0;
  read_factors(row, lane, x);
  for (long long first = begin; first < end; first += 32 / LANES) {
    const long long p = min(first + group, end - 1);
    const long long i = indices[p];
    double y[4 * CHUNKS], product = 0.0;
    read_factors(Y + i * WIDTH, lane, y);
#pragma unroll
    for (int c = 0; c < 4 * CHUNKS; c++) product += x[c] * y[c];
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance /= 2)
      product += __shfl_xor_sync(ALL_LANES, product, distance);
    if (lane > 0 || first + group >= end) continue;
    const double offset = BIASES ? (double)Y[i * WIDTH + RANK] : 0.0;
    const double error = (double)targets[p * target_stride] - offset - bias - product;
    losses += (double)weights[p * weight_stride] * error * error;
    if (MISSING) squares += (double)column_missing[i * missing_stride] * product * product;
  }
#pragma unroll
  for (int distance = 16; distance >= LANES; distance /= 2) {
    losses += __shfl_xor_sync(ALL_LANES, losses, distance);
    squares += __shfl_xor_sync(ALL_LANES, squares, distance);
  }
  if (threadIdx.x % 32 > 0) return;
  observed[piece] = losses;
  missing[piece] = MISSING ? (double)row_missing[rows[piece]] * squares : 0.0;
}

// Write lambda_u (|x_u|^2 + rho b_u^2) of each row to terms[u].
extern "C" __global__ void __launch_bounds__(THREADS)
sum_regularization(int n_rows, const REAL *__restrict__ reg, double bias_ratio, const REAL *__restrict__ X,
              double *__restrict__ terms) {
  const int u = blockIdx.x * (THREADS / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (u >= n_rows) return;
  const REAL *x = X + (long long)u * WIDTH;
  double total = 0.0;
  for (int c = lane; c < RANK + BIASES; c += 32) total += (c < RANK ? 1.0 : bias_ratio) * (double)x[c] * (double)x[c];
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) total += __shfl_xor_sync(ALL_LANES, total, distance);
  if (lane == 0) terms[u] = (double)reg[u] * total;
}
