// The exact half-step: one block solves one row. Legend (rows and columns are users and items, or items and users):
//
//   X   solved factors, Y fixed factors: rows [y | bias | 0 ...] of WIDTH numbers
//   z   [y | 1]            the fixed factors of an observed cell; the 1 only with biases
//   q   w - s_u m_i        its weight, minus what the Gramian G contributes for it; of the bias w, because missing cells
//                          are predicted without biases
//   v   w (t - o_i)        o is the bias of the fixed side
//   A   s_u G + sum q z z' + lambda_u D,  D = diag(1, ..., 1, rho)
//   b   sum v z
//
// The lower triangle of A is divided into tiles, one for each thread, which stay in its registers from the sum over the
// observed cells to the factorization A = L L' and the substitutions (Tan et al. 2016 sum in tiles, too). Padding has 1
// on the diagonal. Batches of observed cells are copied to shared memory while the previous one is multiplied. Long rows
// are summed in parts by a first launch; the parts are added in a fixed order, so that results have the same bits.
//
// Constants: those of tiles.cu, with WIDTH = SIDE * TILE; RANK, BIASES (0 or 1), MISSING (whether missing cells have
// weight), BATCH, and MIN_BLOCKS, the number of blocks that a multiprocessor should hold at least.

#define UNKNOWNS (RANK + BIASES)
#define OWNED ((WIDTH + THREADS - 1) / THREADS)  // elements of b of each thread
#define PART_SIZE (TILES * TILE * TILE + WIDTH)
#define BATCHES_SIZE (2 * BATCH * WIDTH)
#define SCRATCH_SIZE (BATCHES_SIZE > PANELS_SIZE ? BATCHES_SIZE : PANELS_SIZE)

// Two batches of observed cells in shared memory: one that is multiplied, and the next.
struct Batches {
  REAL (*y)[BATCH][WIDTH];
  REAL (*w)[BATCH], (*q)[BATCH], (*v)[BATCH];
  int (*at)[BATCH];
};

// Start copying the rows of Y of m observed cells.
__device__ __forceinline__ void start_gathering(int m, const int *at, const REAL *Y, REAL (*y)[WIDTH]) {
  const int per_copy = 16 / sizeof(REAL), copies = WIDTH / per_copy;
  for (int e = threadIdx.x; e < m * copies; e += THREADS) {
    const int o = e / copies, c = e % copies * per_copy;
    start_copy(&y[o][c], Y + (long long)at[o] * WIDTH + c);
  }
  end_group_of_copies();
}

constexpr int UNROLLED = THREADS > 512 ? 1 : 2;  // observed cells at once, for which a thread has registers

// Add m observed cells of a batch to the tile A, and to the elements of b of this thread.
__device__ __forceinline__ void add_batch(int m, int number, const Batches &batches, Tile tile, REAL (&A)[TILE][TILE],
                                          REAL (&b)[OWNED]) {
  REAL (*y)[WIDTH] = batches.y[number];
  if (tile.exists) {
#pragma unroll UNROLLED
    for (int o = 0; o < m; o++) {
      REAL left[TILE], right[TILE];
      const REAL q = batches.q[number][o];
#pragma unroll
      for (int p = 0; p < TILE; p += 4) {
        load4(&y[o][tile.row * TILE + p], left + p);
        load4(&y[o][tile.column * TILE + p], right + p);
      }
#pragma unroll
      for (int p = 0; p < TILE; p++) left[p] *= q;
      if (BIASES && tile.row == SIDE - 1) {
        left[RANK % TILE] = batches.w[number][o];
        if (tile.column == SIDE - 1) right[RANK % TILE] = 1;
      }
#pragma unroll
      for (int p = 0; p < TILE; p++)
#pragma unroll
        for (int c = 0; c < TILE; c++) A[p][c] += left[p] * right[c];
    }
  }
#pragma unroll
  for (int n = 0; n < OWNED; n++) {
    const int e = threadIdx.x + n * THREADS;
    if (e >= WIDTH) continue;
    for (int o = 0; o < m; o++) b[n] += batches.v[number][o] * (BIASES && e == RANK ? (REAL)1 : y[o][e]);
  }
}

// Sum n observed cells of a row into A and b.
__device__ __forceinline__ void sum_cells(int n, REAL s, const ObservedCells &cells, const REAL *Y,
                                          const Batches &batches, Tile tile, REAL (&A)[TILE][TILE], REAL (&b)[OWNED]) {
  const int t = threadIdx.x;
  clear(A);
#pragma unroll
  for (int e = 0; e < OWNED; e++) b[e] = 0;
  if (t < BATCH) {
    if (t < n) {
      const int i = cells.indices[t];
      const Cell first = read_cell(t, i, s, cells, Y);
      batches.at[0][t] = i;
      batches.w[0][t] = first.w, batches.q[0][t] = first.q, batches.v[0][t] = first.v;
    }
    if (BATCH + t < n) batches.at[1][t] = cells.indices[BATCH + t];
  }
  SYNCHRONIZE();
  start_gathering(min(BATCH, n), batches.at[0], Y, batches.y[0]);
  int now = 0;
  for (int start = 0; start < n; start += BATCH, now ^= 1) {
    const int next = now ^ 1, next_m = min(BATCH, max(0, n - start - BATCH));
    start_gathering(next_m, batches.at[next], Y, batches.y[next]);
    Cell ahead;  // read before, and stored after, the multiplication that hides the latency
    int at_after = 0;
    if (t < next_m) ahead = read_cell(start + BATCH + t, batches.at[next][t], s, cells, Y);
    if (t < BATCH && start + 2 * BATCH + t < n) at_after = cells.indices[start + 2 * BATCH + t];
    wait_for_earlier_copies();
    SYNCHRONIZE();
    add_batch(min(BATCH, n - start), now, batches, tile, A, b);
    if (t < next_m) batches.w[next][t] = ahead.w, batches.q[next][t] = ahead.q, batches.v[next][t] = ahead.v;
    if (t < BATCH) batches.at[now][t] = at_after;
    SYNCHRONIZE();
  }
}

// Add s G + lambda D to A, and write the smallest admissible pivots. Pivots that are smaller, relative to the diagonal,
// are rounding errors.
__device__ __forceinline__ void add_base(REAL (&A)[TILE][TILE], Tile tile, REAL s, const REAL *G, REAL reg,
                                         REAL bias_ratio, REAL *least) {
  if (MISSING) {
#pragma unroll
    for (int p = 0; p < TILE; p++)
#pragma unroll
      for (int c = 0; c < TILE; c++) A[p][c] += s * G[(tile.row * TILE + p) * WIDTH + tile.column * TILE + c];
  }
  if (tile.row != tile.column) return;
#pragma unroll
  for (int p = 0; p < TILE; p++) {
    const int e = tile.row * TILE + p;
    A[p][p] += e < RANK ? reg : e < UNKNOWNS ? bias_ratio * reg : (REAL)1;
    least[e] = UNKNOWNS * EPSILON * A[p][p];
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
sum_parts(const int *__restrict__ rows, const long long *__restrict__ starts, const long long *__restrict__ stops,
          const int *__restrict__ indices, const REAL *__restrict__ targets, int target_stride,
          const REAL *__restrict__ weights, int weight_stride, const REAL *__restrict__ row_missing,
          const REAL *__restrict__ column_missing, int missing_stride, const REAL *__restrict__ Y,
          REAL *__restrict__ parts) {
  __shared__ __align__(16) REAL y[2][BATCH][WIDTH];
  __shared__ REAL w[2][BATCH], q[2][BATCH], v[2][BATCH];
  __shared__ int at[2][BATCH];
  const long long begin = starts[blockIdx.x];
  const int n = (int)(stops[blockIdx.x] - begin);
  const ObservedCells cells = cells_from(begin, {indices, targets, target_stride, weights, weight_stride,
                                                 column_missing, missing_stride});
  const Tile tile = tile_of(threadIdx.x);
  const REAL s = MISSING ? row_missing[rows[blockIdx.x]] : (REAL)0;
  REAL A[TILE][TILE], b[OWNED];
  sum_cells(n, s, cells, Y, {y, w, q, v, at}, tile, A, b);
  REAL *part = parts + (long long)blockIdx.x * PART_SIZE;
  if (tile.exists)
#pragma unroll
    for (int p = 0; p < TILE; p++)
#pragma unroll
      for (int c = 0; c < TILE; c++) part[(p * TILE + c) * TILES + threadIdx.x] = A[p][c];
#pragma unroll
  for (int e = 0; e < OWNED; e++)
    if (threadIdx.x + e * THREADS < WIDTH) part[TILES * TILE * TILE + threadIdx.x + e * THREADS] = b[e];
}

__device__ __forceinline__ void add_parts(int count, const REAL *part, Tile tile, REAL (&A)[TILE][TILE],
                                          REAL (&b)[OWNED]) {
  for (int number = 0; number < count; number++, part += PART_SIZE) {
    if (tile.exists)
#pragma unroll
      for (int p = 0; p < TILE; p++)
#pragma unroll
        for (int c = 0; c < TILE; c++) A[p][c] += part[(p * TILE + c) * TILES + threadIdx.x];
#pragma unroll
    for (int e = 0; e < OWNED; e++)
      if (threadIdx.x + e * THREADS < WIDTH) b[e] += part[TILES * TILE * TILE + threadIdx.x + e * THREADS];
  }
}

// Solve the row rows[block] from its observed cells starts[block] ... stops[block] - 1 and its parts. status[row] becomes
// whether the row is not solved, because its system is singular to working precision.
extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
solve_rows(const int *__restrict__ rows, const long long *__restrict__ starts, const long long *__restrict__ stops,
           const int *__restrict__ first_parts, const int *__restrict__ part_counts, const REAL *__restrict__ parts,
           const int *__restrict__ indices, const REAL *__restrict__ targets, int target_stride,
           const REAL *__restrict__ weights, int weight_stride, const REAL *__restrict__ row_missing,
           const REAL *__restrict__ column_missing, int missing_stride, const REAL *__restrict__ Y,
           const REAL *__restrict__ G, const REAL *__restrict__ reg, REAL bias_ratio, REAL *__restrict__ X,
           unsigned char *__restrict__ status) {
  __shared__ __align__(16) REAL scratch[SCRATCH_SIZE];  // batches, and then panels
  __shared__ REAL w[2][BATCH], q[2][BATCH], v[2][BATCH];
  __shared__ int at[2][BATCH];
  __shared__ REAL solution[WIDTH], least[WIDTH];
  __shared__ int is_unsolved;
  const int t = threadIdx.x, row = rows[blockIdx.x];
  const long long begin = starts[blockIdx.x];
  const int n = (int)(stops[blockIdx.x] - begin);
  const ObservedCells cells = cells_from(begin, {indices, targets, target_stride, weights, weight_stride,
                                                 column_missing, missing_stride});
  const Tile tile = tile_of(threadIdx.x);
  const REAL s = MISSING ? row_missing[row] : (REAL)0;
  REAL A[TILE][TILE], b[OWNED];
  sum_cells(n, s, cells, Y, {reinterpret_cast<REAL (*)[BATCH][WIDTH]>(scratch), w, q, v, at}, tile, A, b);
  add_parts(part_counts[blockIdx.x], parts + (long long)first_parts[blockIdx.x] * PART_SIZE, tile, A, b);
  if (tile.exists) add_base(A, tile, s, G, reg[row], bias_ratio, least);
#pragma unroll
  for (int e = 0; e < OWNED; e++)
    if (t + e * THREADS < WIDTH) solution[t + e * THREADS] = b[e];
  if (t == 0) is_unsolved = 0;
  SYNCHRONIZE();
  factor(A, tile, SIDE, least, solution, reinterpret_cast<REAL (*)[SIDE][PANEL]>(scratch), &is_unsolved);
  substitute_back(A, tile, SIDE, solution);
  for (int e = t; e < WIDTH; e += THREADS) X[(long long)row * WIDTH + e] = solution[e];
  if (t == 0) status[row] = (unsigned char)is_unsolved;
}
