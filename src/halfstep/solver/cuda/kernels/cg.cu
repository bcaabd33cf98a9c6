// The half-step by conjugate gradients, from the previous solution of each row: solver/kernels/cg.py on a GPU.
//
// X is solved, Y fixed, A x = b are the systems, g is the diagonal of G, reg is λ_u, and
//
//   v  current solution    q  residual b − A v    p  search direction    d  D = s_u g + λ_u, the preconditioner
//
// A = D + Σ (w − s m) y yᵀ is never formed: a step needs only A p, from two products with the observed cells.
//
// A block solves a row. Groups of LANES threads take the observed cells in turn: a thread holds some fours of
// consecutive elements of p and of its group's sum, so that p·y takes few exchanges of values. Then each thread adds the
// sums of all groups for the elements that it owns, in a fixed order. Y is read in each step, because a row's part of it
// does not fit into shared memory in general, and the cache holds it.
//
// Constants: RANK, BIASES, MISSING, WIDTH and MIN_BLOCKS as in exact.cu; LANES; THREADS of a block; DIAGONAL, whether g is
// not 0; and TINY, the smallest positive REAL.

#define FOURS (WIDTH / 4)
#define FOURS_PER_LANE ((FOURS + LANES - 1) / LANES)
#define GROUPS (THREADS / LANES)
#define OWNED ((WIDTH + THREADS - 1) / THREADS)
#define WARPS (THREADS / 32)

// What the threads of a block share.
struct Shared {
  REAL p[WIDTH], partial[GROUPS][WIDTH], of_warps[WARPS];
};

// Sums over the observed cells of a row, with z = [y | 1] and c = p·y.
struct Sums {
  REAL of_y[OWNED];  // of the elements that a thread owns
  REAL of_one, weight;
};

// Return the sum over all threads, in a fixed order.
__device__ REAL block_sum(REAL x, Shared &shared) {
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  __syncthreads();  // the last sum was read
  if (threadIdx.x % 32 == 0) shared.of_warps[threadIdx.x / 32] = x;
  __syncthreads();
  REAL total = 0;
  for (int warp = 0; warp < WARPS; warp++) total += shared.of_warps[warp];
  return total;
}

// Return Σ ((w − s m) p·y + w p_bias) y and Σ w (p·y + p_bias), or Σ w (t − o) z minus these if `residual`.
// A w − s m below 0 sets *is_negative.
__device__ __forceinline__ Sums sum_cells(int n, const ObservedCells &cells, REAL s, const REAL *Y, REAL p_bias,
                                          bool residual, Shared &shared, bool *is_negative) {
  const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES;
  REAL p[FOURS_PER_LANE][4], own[FOURS_PER_LANE][4], of_one = 0, weight = 0;
#pragma unroll
  for (int f = 0; f < FOURS_PER_LANE; f++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int c = (f * LANES + lane) * 4 + e;
      p[f][e] = c < RANK ? shared.p[c] : (REAL)0;
      own[f][e] = 0;
    }
  for (int first = 0; first < n; first += GROUPS) {
    const bool is_cell = first + group < n;
    const int at = is_cell ? first + group : n - 1;  // all lanes exchange values
    const int i = cells.indices[at];
    const REAL *row = Y + (long long)i * WIDTH;
    REAL y[FOURS_PER_LANE][4], product = 0;
#pragma unroll
    for (int f = 0; f < FOURS_PER_LANE; f++) {
      const int four = f * LANES + lane;
      load4(row + 4 * (four < FOURS ? four : 0), y[f]);
#pragma unroll
      for (int e = 0; e < 4; e++) product += p[f][e] * y[f][e];
    }
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance /= 2)
      product += __shfl_xor_sync(0xffffffffu, product, distance);
    if (!is_cell) continue;
    const Cell cell = read_cell(at, i, s, cells, Y);
    *is_negative |= !(cell.q >= 0);
    REAL c = cell.q * product + cell.w * p_bias, c_one = cell.w * (product + p_bias);
    if (residual) {
      c = cell.v - c;
      c_one = cell.v - c_one;
    }
    of_one += c_one;
    weight += cell.w;
#pragma unroll
    for (int f = 0; f < FOURS_PER_LANE; f++)
#pragma unroll
      for (int e = 0; e < 4; e++) own[f][e] += c * y[f][e];
  }
#pragma unroll
  for (int f = 0; f < FOURS_PER_LANE; f++) {
    const int four = f * LANES + lane;
    if (four < FOURS) store4(&shared.partial[group][4 * four], own[f][0], own[f][1], own[f][2], own[f][3]);
  }
  __syncthreads();
  Sums sums = {};
#pragma unroll
  for (int e = 0; e < OWNED; e++) {
    const int c = e * THREADS + threadIdx.x;
    if (c < RANK)
      for (int g = 0; g < GROUPS; g++) sums.of_y[e] += shared.partial[g][c];
  }
  if (BIASES) {
    sums.of_one = block_sum(lane == 0 ? of_one : (REAL)0, shared);
    if (residual) sums.weight = block_sum(lane == 0 ? weight : (REAL)0, shared);
  }
  __syncthreads();  // p and `partial` may be overwritten
  return sums;
}

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
conjugate_gradients(const int *__restrict__ rows, const long long *__restrict__ indptr, const int *__restrict__ indices,
                    const REAL *__restrict__ targets, int target_stride, const REAL *__restrict__ weights,
                    int weight_stride, const REAL *__restrict__ row_missing, const REAL *__restrict__ column_missing,
                    int missing_stride, const REAL *__restrict__ g, const REAL *__restrict__ regularization,
                    REAL bias_ratio, const REAL *__restrict__ Y, REAL *__restrict__ X, int steps,
                    int *__restrict__ is_unsolved) {
  __shared__ __align__(16) Shared shared;
  const int t = threadIdx.x, row = rows[blockIdx.x], n = (int)(indptr[row + 1] - indptr[row]);
  const ObservedCells cells = cells_from(
      indptr[row], {indices, targets, target_stride, weights, weight_stride, column_missing, missing_stride});
  const REAL s = MISSING ? row_missing[row] : (REAL)0;
  const REAL reg = regularization[row], bias_reg = reg * bias_ratio;
  REAL *x = X + (long long)row * WIDTH;
  REAL v[OWNED], q[OWNED], d[OWNED], p[OWNED];
  bool is_wrong = false;
#pragma unroll
  for (int e = 0; e < OWNED; e++) {
    const int c = e * THREADS + t;
    v[e] = c < RANK ? x[c] : (REAL)0;
    d[e] = DIAGONAL && c < RANK ? reg + s * g[c] : reg;
    is_wrong |= !(d[e] > 0 && isfinite(d[e]));
    if (c < RANK) shared.p[c] = v[e];
  }
  REAL v_bias = BIASES ? x[RANK] : (REAL)0;
  __syncthreads();
  const Sums sums = sum_cells(n, cells, s, Y, v_bias, true, shared, &is_wrong);
  REAL q_bias = 0, inverse_bias = 0, norm = 0;
  if (BIASES) {
    inverse_bias = 1 / (sums.weight + bias_reg);
    q_bias = sums.of_one - bias_reg * v_bias;
  }
#pragma unroll
  for (int e = 0; e < OWNED; e++) {
    const int c = e * THREADS + t;
    q[e] = c < RANK ? sums.of_y[e] - d[e] * v[e] : (REAL)0;
    p[e] = q[e] / d[e];
    if (c < RANK) shared.p[c] = p[e];
    norm += q[e] * p[e];
  }
  REAL p_bias = q_bias * inverse_bias;
  REAL squared_norm = block_sum(norm, shared) + q_bias * p_bias;
  is_wrong = __syncthreads_or(is_wrong);
  const REAL smallest = max(squared_norm * EPSILON * EPSILON, TINY);  // below this, steps are rounding errors
  for (int step = 0; step < steps && squared_norm > smallest && !is_wrong; step++) {
    bool is_negative = false;
    Sums Ap = sum_cells(n, cells, s, Y, p_bias, false, shared, &is_negative);
    REAL curvature = 0;
#pragma unroll
    for (int e = 0; e < OWNED; e++) {
      Ap.of_y[e] += d[e] * p[e];
      curvature += p[e] * Ap.of_y[e];
    }
    Ap.of_one += bias_reg * p_bias;
    const REAL pAp = block_sum(curvature, shared) + p_bias * Ap.of_one;
    is_wrong = !(pAp > 0);  // the curvature is below the rounding error of A
    if (is_wrong) break;
    const REAL length = squared_norm / pAp, previous = squared_norm;
    v_bias += length * p_bias;
    q_bias -= length * Ap.of_one;
    norm = 0;
#pragma unroll
    for (int e = 0; e < OWNED; e++) {
      v[e] += length * p[e];
      q[e] -= length * Ap.of_y[e];
      norm += q[e] * (q[e] / d[e]);
    }
    squared_norm = block_sum(norm, shared) + q_bias * (q_bias * inverse_bias);
#pragma unroll
    for (int e = 0; e < OWNED; e++) {
      const int c = e * THREADS + t;
      p[e] = q[e] / d[e] + squared_norm / previous * p[e];
      if (c < RANK) shared.p[c] = p[e];
    }
    p_bias = q_bias * inverse_bias + squared_norm / previous * p_bias;
    __syncthreads();
  }
  if (is_wrong) {
    if (t == 0) is_unsolved[row] = 1;
    return;
  }
#pragma unroll
  for (int e = 0; e < OWNED; e++) {
    const int c = e * THREADS + t;
    if (c < RANK) x[c] = v[e];
  }
  if (BIASES && t == 0) x[RANK] = v_bias;
}
