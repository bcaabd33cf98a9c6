// The exact half-step of rows with fewer observed cells than unknowns, in the dual, which has one unknown per observed
// cell (Woodbury): with D = s_u g + lambda_u diagonal, and the rows z = y sqrt(q) of Z,
//
//     x = D^-1 Z' a,   (I + Z D^-1 Z') a = r,   r = w (t - o) / sqrt(q)
//
// where q = w - s_u m_i, as in exact.cu. G is diagonal, because Y is in the basis of its eigenvectors, or 0. The bias is
// eliminated last: for a system B x = b of the factors, c = sum w y and h = sum w + rho lambda_u,
//
//     bias = (sum w (t - o) - c' B^-1 b) / (h - c' B^-1 c)
//
// Both solutions are those of the dual, for the right-hand sides r and `ones` = w / sqrt(q).
//
// A warp or a block solves a row, with tiles of the lower triangle in registers as in tiles.cu. Row e of Z is at row
// e % TILE * SIDE + e / TILE of shared memory, so that adjacent threads read adjacent rows.
//
// Constants: those of tiles.cu, where rows have up to SIZE observed cells, and SOLUTIONS is 1 + BIASES; RANK, BIASES,
// MISSING and WIDTH as in exact.cu; DIAGONAL, whether D differs between unknowns; COLUMNS, the number of columns of Z
// that are in shared memory at a time; ROWS, the number of rows of a block; and MIN_BLOCKS as in exact.cu.

#define SCALED (DIAGONAL || BIASES)  // whether to multiply by D^-1, which is 0 for the bias, within sums
#define PER_COPY (16 / (int)sizeof(REAL))
#define PITCH (COLUMNS + PER_COPY)  // distance of rows in shared memory, so that threads read different banks
#define SCRATCH_SIZE (SIZE * PITCH > PANELS_SIZE ? SIZE * PITCH : PANELS_SIZE)
#define CHUNKS ((WIDTH + THREADS - 1) / THREADS)  // elements of x of each thread

// A row in shared memory, where all of it has one address.
struct __align__(16) Row {
  REAL scratch[SCRATCH_SIZE];               // columns of Z, and then panels
  REAL inverse[SCALED ? WIDTH : 4];         // D^-1
  REAL root[SIZE], r[SIZE], ones[BIASES ? SIZE : 1];  // root is sqrt(q)
  REAL b[SOLUTIONS * SIZE], least[SIZE], bias;
  int at[SIZE], is_unsolved;                // the columns of the observed cells
};

__device__ __forceinline__ void list_cells(int n, int t, REAL s, const ObservedCells &cells, const REAL *Y,
                                           Row &row) {
  for (int e = t; e < n; e += THREADS) {
    const int i = cells.indices[e];
    const Cell cell = read_cell(e, i, s, cells, Y);
    const REAL inverse = rsqrt(cell.q);
    row.at[e] = i;
    row.root[e] = cell.q * inverse;
    row.b[e] = row.r[e] = cell.v * inverse;
    if (BIASES) row.b[SIZE + e] = row.ones[e] = cell.w * inverse;
  }
  for (int e = n + t; e < SIZE; e += THREADS) {
    row.root[e] = 0;
#pragma unroll
    for (int s = 0; s < SOLUTIONS; s++) row.b[s * SIZE + e] = 0;
  }
}

// Compute the tile of Z D^-1 Z', without the square roots of weights, in batches of columns.
__device__ __forceinline__ void multiply(int n, int t, Tile tile, const REAL *Y, Row &row, REAL (&A)[TILE][TILE]) {
  REAL *z = row.scratch;
  const int padded = (n + TILE - 1) / TILE * TILE;
  clear(A);
  for (int first = 0; first < WIDTH; first += COLUMNS) {
    const int columns = min(COLUMNS, WIDTH - first), copies = COLUMNS / PER_COPY;
#pragma unroll 1
    for (int e = t; e < padded * copies; e += THREADS) {
      const int o = e / copies, c = e % copies * PER_COPY;
      if (c >= columns) continue;
      REAL *to = z + (o % TILE * SIDE + o / TILE) * PITCH + c;
      if (o < n) start_copy(to, Y + (long long)row.at[o] * WIDTH + first + c);
      else *reinterpret_cast<int4 *>(to) = make_int4(0, 0, 0, 0);
    }
    wait_for_copies();
    SYNCHRONIZE();
    if (tile.exists && tile.row * TILE < n) {
      for (int k = 0; k < columns; k += 2) {
        REAL left[TILE][2];
#pragma unroll
        for (int p = 0; p < TILE; p++) load2(z + (p * SIDE + tile.row) * PITCH + k, left[p]);
        if (SCALED) {
          REAL scale[2];
          load2(row.inverse + first + k, scale);
#pragma unroll
          for (int p = 0; p < TILE; p++) left[p][0] *= scale[0], left[p][1] *= scale[1];
        }
#pragma unroll
        for (int c = 0; c < TILE; c++) {
          REAL right[2];
          load2(z + (c * SIDE + tile.column) * PITCH + k, right);
#pragma unroll
          for (int p = 0; p < TILE; p++) {
            A[p][c] += left[p][0] * right[0];
            A[p][c] += left[p][1] * right[1];
          }
        }
      }
    }
    SYNCHRONIZE();
  }
}

// Complete I + Z D^-1 Z', with 1 on the diagonal of the padding, and write the smallest admissible pivots.
__device__ __forceinline__ void complete(int n, Tile tile, REAL inverse, Row &row, REAL (&A)[TILE][TILE]) {
#pragma unroll
  for (int p = 0; p < TILE; p++) {
    const REAL left = inverse * row.root[tile.row * TILE + p];
#pragma unroll
    for (int c = 0; c < TILE; c++) A[p][c] *= left;
  }
#pragma unroll
  for (int c = 0; c < TILE; c++) {
    const REAL right = row.root[tile.column * TILE + c];
#pragma unroll
    for (int p = 0; p < TILE; p++) A[p][c] *= right;
  }
  if (tile.row != tile.column) return;
#pragma unroll
  for (int p = 0; p < TILE; p++) {
    A[p][p] += 1;
    row.least[tile.row * TILE + p] = n * EPSILON * A[p][p];
  }
}

// Sum over the lanes of a warp.
__device__ __forceinline__ double sum_lanes(double value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

// Return the bias of a row from the solutions a of both right-hand sides, and report if it loses precision. A
// whole warp calls it.
__device__ __forceinline__ REAL bias_of(int n, int lane, REAL reg, Row &row) {
  double h = 0, total = 0, cBb = 0, cBc = 0;
  for (int e = lane; e < n; e += 32) {
    const double ones = row.ones[e], r = row.r[e], root = row.root[e];
    h += ones * root;
    total += r * root;
    cBb += ones * (r - (double)row.b[e]);
    cBc += ones * (ones - (double)row.b[SIZE + e]);
  }
  h = sum_lanes(h) + reg;
  const double pivot = h - sum_lanes(cBc);
  const double bias = (sum_lanes(total) - sum_lanes(cBb)) / pivot;
  if (lane == 0 && !(pivot > n * EPSILON * h)) row.is_unsolved = 1;
  return (REAL)bias;
}

// Write x = D^-1 Z' a and the bias, given a times the square roots of weights in row.root.
__device__ __forceinline__ void write_solution(int n, int t, REAL inverse, const REAL *Y, const Row &row, REAL *out) {
  REAL x[CHUNKS];
#pragma unroll
  for (int chunk = 0; chunk < CHUNKS; chunk++) x[chunk] = 0;
#pragma unroll 4
  for (int e = 0; e < n; e++) {
    const REAL a = row.root[e];
    const REAL *y = Y + (long long)row.at[e] * WIDTH;
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++)
      if (t + chunk * THREADS < WIDTH) x[chunk] += a * y[t + chunk * THREADS];
  }
#pragma unroll
  for (int chunk = 0; chunk < CHUNKS; chunk++) {
    const int k = t + chunk * THREADS;
    if (k < WIDTH) out[k] = BIASES && k == RANK ? row.bias : x[chunk] * (SCALED ? row.inverse[k] : inverse);
  }
}

// Solve the row u = rows[number] of X from its observed cells starts[number] ... stops[number] - 1, and write to status[u]
// whether it is not solved. All arrays are in the basis of D.
extern "C" __global__ void __launch_bounds__(THREADS * ROWS, MIN_BLOCKS)
solve_dual(int n_rows, const int *__restrict__ rows, const long long *__restrict__ starts,
           const long long *__restrict__ stops, const int *__restrict__ indices, const REAL *__restrict__ targets,
           int target_stride, const REAL *__restrict__ weights, int weight_stride,
           const REAL *__restrict__ row_missing, const REAL *__restrict__ column_missing, int missing_stride,
           const REAL *__restrict__ Y, const REAL *__restrict__ g, const REAL *__restrict__ reg,
           REAL bias_ratio, REAL *__restrict__ X, unsigned char *__restrict__ status) {
  __shared__ Row shared[ROWS];
  const int t = threadIdx.x % THREADS, number = blockIdx.x * ROWS + threadIdx.x / THREADS;
  if (number >= n_rows) return;
  Row &row = shared[threadIdx.x / THREADS];
  const int u = rows[number], n = (int)(stops[number] - starts[number]), side = (n + TILE - 1) / TILE;
  const REAL s = MISSING ? row_missing[u] : (REAL)0, reg_u = reg[u];
  list_cells(n, t, s, cells_from(starts[number], {indices, targets, target_stride, weights, weight_stride,
                                                  column_missing, missing_stride}), Y, row);
  if (SCALED)
    for (int k = t; k < WIDTH; k += THREADS)
      row.inverse[k] = k < RANK ? 1 / (DIAGONAL ? reg_u + s * g[k] : reg_u) : (REAL)0;
  if (t == 0) row.is_unsolved = 0;
  SYNCHRONIZE();
  const Tile tile = tile_of(t);
  const REAL inverse = SCALED ? (REAL)1 : 1 / reg_u;
  REAL A[TILE][TILE];
  multiply(n, t, tile, Y, row, A);
  if (tile.exists) complete(n, tile, inverse, row, A);
  const Tile present = {tile.row, tile.column, tile.exists && tile.row < side};
  factor(A, present, side, row.least, row.b, reinterpret_cast<REAL (*)[SIDE][PANEL]>(row.scratch), &row.is_unsolved);
  substitute_back(A, present, side, row.b);
  if (BIASES) {
    if (t < 32) {
      const REAL bias = bias_of(n, t, bias_ratio * reg_u, row);
      if (t == 0) row.bias = bias;
    }
    SYNCHRONIZE();
  }
  for (int e = t; e < n; e += THREADS) row.root[e] *= BIASES ? row.b[e] - row.bias * row.b[SIZE + e] : row.b[e];
  SYNCHRONIZE();
  write_solution(n, t, inverse, Y, row, X + (long long)u * WIDTH);
  if (t == 0) status[u] = (unsigned char)row.is_unsolved;
}
