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
// REAL    float or double                      RANK    k, without the bias
// WIDTH   of the rows of X and Y, a multiple of 4: [factors | bias | 0 …]
// LANES, CG_THREADS           of a group, and of a block
// SQUARED_EPSILON, TINY       the squared relative error of REAL, and its smallest number
// BIASES, MISSING, DIAGONAL   whether rows have biases, missing cells have weight, and that of g is not 0

#define FOURS (WIDTH / 4)
#define FOURS_PER_LANE ((FOURS + LANES - 1) / LANES)
#define GROUPS (CG_THREADS / LANES)
#define OWNED ((WIDTH + CG_THREADS - 1) / CG_THREADS)
#define WARPS (CG_THREADS / 32)

struct __align__(16) Four { REAL x[4]; };

// Return the sum over all threads, in a fixed order.
__device__ REAL block_sum(REAL x, REAL *of_warps) {
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  __syncthreads();  // the last sum was read
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = x;
  __syncthreads();
  REAL total = 0;
  for (int warp = 0; warp < WARPS; warp++) total += of_warps[warp];
  return total;
}

// The observed cells, as the arguments of the kernel, and the row's s_u.
struct RowCells {
  const int *indices;
  const REAL *targets, *weights, *m;
  int target_step, weight_step, m_step;  // 0 if an array has one element
  REAL s;
};

// Sums over the observed cells of a row, in the elements that a thread owns:
//   sum = Σ c y,  with c = w (t − o − p_bias) − (w − s m) p·y if `residual`, else c = (w − s m) p·y + w p_bias,
// and in *of_bias the same of 1 instead of y, with w instead of w − s m, and in *of_weights Σ w.
// *is_negative is set if `residual` and a w − s m is negative.
__device__ void sum_cells(const RowCells &cells, long long begin, long long end, const REAL *Y, const REAL *p, REAL p_bias,
                          bool residual, REAL (*partial)[WIDTH], REAL *of_warps, REAL *sum, REAL *of_bias,
                          REAL *of_weights, bool *is_negative) {
  const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES;
  REAL own_p[FOURS_PER_LANE][4], own[FOURS_PER_LANE][4], bias = 0, weight = 0;
#pragma unroll
  for (int f = 0; f < FOURS_PER_LANE; f++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int c = (f * LANES + lane) * 4 + e;
      own_p[f][e] = c < RANK ? p[c] : (REAL)0;
      own[f][e] = 0;
    }
  for (long long first = begin; first < end; first += GROUPS) {
    const bool is_cell = first + group < end;
    const long long cell = is_cell ? first + group : end - 1;  // all lanes exchange values
    const int i = cells.indices[cell];
    const REAL *row = Y + (long long)i * WIDTH;
    Four y[FOURS_PER_LANE];
    REAL product = 0;
#pragma unroll
    for (int f = 0; f < FOURS_PER_LANE; f++) {
      const int four = f * LANES + lane;
      y[f] = reinterpret_cast<const Four *>(row)[four < FOURS ? four : 0];
#pragma unroll
      for (int e = 0; e < 4; e++) product += own_p[f][e] * y[f].x[e];
    }
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance /= 2)
      product += __shfl_xor_sync(0xffffffffu, product, distance);
    if (is_cell) {
      const REAL w = cells.weights[cell * cells.weight_step];
#if MISSING
      const REAL u = w - cells.s * cells.m[(long long)i * cells.m_step];
#else
      const REAL u = w;
#endif
      REAL c = u * product + w * p_bias, of_one = w * (product + p_bias);
      if (residual) {
        *is_negative |= !(u >= 0);
        REAL t = cells.targets[cell * cells.target_step];
#if BIASES
        t -= row[RANK];
#endif
        c = w * t - c;
        of_one = w * t - of_one;
      }
      bias += of_one;
      weight += w;
#pragma unroll
      for (int f = 0; f < FOURS_PER_LANE; f++)
#pragma unroll
        for (int e = 0; e < 4; e++) own[f][e] += c * y[f].x[e];
    }
  }
#pragma unroll
  for (int f = 0; f < FOURS_PER_LANE; f++) {
    const int four = f * LANES + lane;
    if (four < FOURS)
#pragma unroll
      for (int e = 0; e < 4; e++) partial[group][four * 4 + e] = own[f][e];
  }
  __syncthreads();
#pragma unroll
  for (int n = 0; n < OWNED; n++) {
    const int c = n * CG_THREADS + threadIdx.x;
    sum[n] = 0;
    if (c < RANK)
      for (int g = 0; g < GROUPS; g++) sum[n] += partial[g][c];
  }
#if BIASES
  *of_bias = block_sum(lane == 0 ? bias : (REAL)0, of_warps);
  *of_weights = block_sum(lane == 0 ? weight : (REAL)0, of_warps);
#endif
  __syncthreads();  // p and `partial` may be overwritten
}

extern "C" __global__ void __launch_bounds__(CG_THREADS)
conjugate_gradients(const int *__restrict__ rows, int n_rows, const long long *__restrict__ indptr,
                    const int *__restrict__ indices, const REAL *__restrict__ targets, int target_step,
                    const REAL *__restrict__ weights, int weight_step, const REAL *__restrict__ s, int s_step,
                    const REAL *__restrict__ m, int m_step, const REAL *__restrict__ g,
                    const REAL *__restrict__ regularization, REAL bias_ratio, const REAL *__restrict__ Y, REAL *X,
                    int steps, int *__restrict__ is_unsolved) {
  __shared__ REAL p[WIDTH], partial[GROUPS][WIDTH], of_warps[WARPS];
  const int t = threadIdx.x;
  for (int r = blockIdx.x; r < n_rows; r += gridDim.x) {
    const int row = rows[r];
    const long long begin = indptr[row], end = indptr[row + 1];
    RowCells cells = {indices, targets, weights, m, target_step, weight_step, m_step, 0};
#if MISSING
    cells.s = s[(long long)row * s_step];
#endif
    const REAL reg = regularization[row], bias_reg = reg * bias_ratio;
    REAL *x = X + (long long)row * WIDTH;
    REAL v[OWNED], q[OWNED], d[OWNED], own_p[OWNED], Ap[OWNED];
    REAL v_bias = 0, q_bias = 0, p_bias = 0, inverse_bias = 0, Ap_bias = 0, of_weights = 0;
    bool is_wrong = false;
#if BIASES
    v_bias = x[RANK];
#endif
#pragma unroll
    for (int n = 0; n < OWNED; n++) {
      const int c = n * CG_THREADS + t;
      v[n] = c < RANK ? x[c] : (REAL)0;
      d[n] = reg;
#if MISSING && DIAGONAL
      if (c < RANK) d[n] += cells.s * g[c];
#endif
      is_wrong |= !(d[n] > 0 && isfinite(d[n]));
      if (c < RANK) p[c] = v[n];
    }
    __syncthreads();
    sum_cells(cells, begin, end, Y, p, v_bias, true, partial, of_warps, q, &q_bias, &of_weights, &is_wrong);
#if BIASES
    inverse_bias = 1 / (of_weights + bias_reg);
    q_bias -= bias_reg * v_bias;
#endif
    REAL norm = 0;
#pragma unroll
    for (int n = 0; n < OWNED; n++) {
      const int c = n * CG_THREADS + t;
      q[n] = c < RANK ? q[n] - d[n] * v[n] : (REAL)0;
      own_p[n] = q[n] / d[n];
      if (c < RANK) p[c] = own_p[n];
      norm += q[n] * own_p[n];
    }
    p_bias = q_bias * inverse_bias;
    REAL squared_norm = block_sum(norm, of_warps) + q_bias * p_bias;
    is_wrong = __syncthreads_or(is_wrong);
    const REAL smallest = max(squared_norm * SQUARED_EPSILON, TINY);  // below this, steps are rounding errors
    for (int step = 0; step < steps && squared_norm > smallest && !is_wrong; step++) {
      sum_cells(cells, begin, end, Y, p, p_bias, false, partial, of_warps, Ap, &Ap_bias, &of_weights, &is_wrong);
      REAL curvature = 0;
#pragma unroll
      for (int n = 0; n < OWNED; n++) {
        Ap[n] += d[n] * own_p[n];
        curvature += own_p[n] * Ap[n];
      }
      Ap_bias += bias_reg * p_bias;
      const REAL pAp = block_sum(curvature, of_warps) + p_bias * Ap_bias;
      if (!(pAp > 0)) {  // the curvature is below the rounding error of A
        is_wrong = true;
        break;
      }
      const REAL length = squared_norm / pAp;
      v_bias += length * p_bias;
      q_bias -= length * Ap_bias;
      norm = 0;
#pragma unroll
      for (int n = 0; n < OWNED; n++) {
        v[n] += length * own_p[n];
        q[n] -= length * Ap[n];
        norm += q[n] * (q[n] / d[n]);
      }
      const REAL previous = squared_norm;
      squared_norm = block_sum(norm, of_warps) + q_bias * (q_bias * inverse_bias);
#pragma unroll
      for (int n = 0; n < OWNED; n++) {
        const int c = n * CG_THREADS + t;
        own_p[n] = q[n] / d[n] + squared_norm / previous * own_p[n];
        if (c < RANK) p[c] = own_p[n];
      }
      p_bias = q_bias * inverse_bias + squared_norm / previous * p_bias;
      __syncthreads();
    }
    if (is_wrong) {
      if (t == 0) is_unsolved[row] = 1;
    } else {
#pragma unroll
      for (int n = 0; n < OWNED; n++) {
        const int c = n * CG_THREADS + t;
        if (c < RANK) x[c] = v[n];
      }
#if BIASES
      if (t == 0) x[RANK] = v_bias;
#endif
    }
    __syncthreads();
  }
}
