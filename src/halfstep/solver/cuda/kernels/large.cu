// The exact half-step at ranks at which the triangle of A does not fit the registers of a block. Legend as in exact.cu.
//
// A is divided into squares of SIZE x SIZE elements, of 16 x 16 tiles. One square is in registers at a time, and the
// squares of a column of L follow from those of the columns before it (left-looking):
//
//     L_IJ L_JJ' = A_IJ - sum_{K < J} L_IK L_JK'
//
// The sum over the columns of L and the sum over observed cells in A_IJ are of the same form, so that A is never stored.
// L is in global memory, by columns, with the inverted diagonal. Blocks take the next row when they are done; the order
// does not change the result.
//
// Constants: those of tiles.cu with TILE = 8, SIDE = 16 and THREADS = 256; RANK, BIASES, MISSING, WIDTH, BATCH and
// MIN_BLOCKS as in exact.cu.

#define UNKNOWNS (RANK + BIASES)
#define SQUARES ((WIDTH + SIZE - 1) / SIZE)
#define PITCH (SQUARES * SIZE)
#define PER_COPY (16 / (int)sizeof(REAL))
#define BATCHES_SIZE (2 * BATCH * SIZE)
#define SCRATCH_SIZE (BATCHES_SIZE > 2 * PANELS_SIZE ? BATCHES_SIZE : 2 * PANELS_SIZE)

struct __align__(16) Shared {
  REAL scratch[SCRATCH_SIZE];  // a batch of vectors for rows and one for columns; or two panels of L, and two of X
  REAL b[PITCH], least[SIZE];
  REAL w[BATCH], q[BATCH], v[BATCH];
  int at[BATCH], is_unsolved, next;
};

// Copy SIZE columns of the rows `at` of Y, from `first` on, to a batch; beyond the width of Y, they are 0.
__device__ __forceinline__ void gather(int m, const int *at, const REAL *Y, int first, REAL *batch) {
  for (int e = threadIdx.x; e < m * (SIZE / PER_COPY); e += THREADS) {
    const int o = e / (SIZE / PER_COPY), c = e % (SIZE / PER_COPY) * PER_COPY;
    int4 *to = reinterpret_cast<int4 *>(batch + o * SIZE + c);
    if (first + c < WIDTH) start_copy(to, Y + (long long)at[o] * WIDTH + first + c);
    else *to = make_int4(0, 0, 0, 0);
  }
}

// Copy the rows of a square of BATCH columns of L to a batch. Copies in the background might overtake the writes to L.
__device__ __forceinline__ void copy_columns(const REAL *columns, int first, REAL *batch) {
  for (int e = threadIdx.x; e < BATCH * (SIZE / PER_COPY); e += THREADS) {
    const int o = e / (SIZE / PER_COPY), c = e % (SIZE / PER_COPY) * PER_COPY;
    *reinterpret_cast<int4 *>(batch + o * SIZE + c) =
        *reinterpret_cast<const int4 *>(columns + (long long)o * PITCH + first + c);
  }
}

// The tile of this thread in a square: of the lower triangle if the square is on the diagonal.
__device__ __forceinline__ Tile tile_in(bool is_diagonal) {
  if (is_diagonal) return tile_of(threadIdx.x);
  return {(int)threadIdx.x / SIDE, (int)threadIdx.x % SIDE, true};
}

// Add the products of m vectors of a batch, with factors q, to a tile. In the row of the bias, they are w and the
// column is 1, if the batch is of observed cells.
__device__ __forceinline__ void add_batch(int m, Tile tile, const REAL *left_batch, const REAL *right_batch,
                                          const REAL *q, const REAL *w, bool is_bias_row, bool is_bias_column,
                                          REAL (&A)[TILE][TILE]) {
  if (!tile.exists) return;
  for (int o = 0; o < m; o++) {
    REAL left[TILE], right[TILE];
#pragma unroll
    for (int p = 0; p < TILE; p += 4) {
      load4(left_batch + o * SIZE + tile.row * TILE + p, left + p);
      load4(right_batch + o * SIZE + tile.column * TILE + p, right + p);
    }
#pragma unroll
    for (int p = 0; p < TILE; p++) left[p] *= q[o];
    if (BIASES && is_bias_row) left[RANK % TILE] = w[o];
    if (BIASES && is_bias_column) right[RANK % TILE] = 1;
#pragma unroll
    for (int p = 0; p < TILE; p++)
#pragma unroll
      for (int c = 0; c < TILE; c++) A[p][c] += left[p] * right[c];
  }
}

// Sum n observed cells into a tile of the square (I, J) of A, and those of a square on the diagonal into b.
__device__ __forceinline__ void sum_cells(int n, REAL s, const ObservedCells &cells, const REAL *Y, int I, int J,
                                          Tile tile, Shared &shared, REAL (&A)[TILE][TILE]) {
  const int t = threadIdx.x;
  REAL *left = shared.scratch, *right = I == J ? left : left + BATCH * SIZE, b = 0;
  const bool is_bias_row = I * SIZE + tile.row * TILE == RANK / TILE * TILE;
  const bool is_bias_column = J * SIZE + tile.column * TILE == RANK / TILE * TILE;
  for (int start = 0; start < n; start += BATCH) {
    const int m = min(BATCH, n - start);
    if (t < m) {
      const int i = cells.indices[start + t];
      const Cell cell = read_cell(start + t, i, s, cells, Y);
      shared.at[t] = i;
      shared.w[t] = cell.w, shared.q[t] = cell.q, shared.v[t] = cell.v;
    }
    __syncthreads();
    gather(m, shared.at, Y, I * SIZE, left);
    if (I != J) gather(m, shared.at, Y, J * SIZE, right);
    wait_for_copies();
    __syncthreads();
    add_batch(m, tile, left, right, shared.q, shared.w, is_bias_row, is_bias_column, A);
    if (I == J && t < SIZE)
      for (int o = 0; o < m; o++) b += shared.v[o] * (BIASES && J * SIZE + t == RANK ? (REAL)1 : left[o * SIZE + t]);
    __syncthreads();
  }
  if (I == J && t < SIZE) shared.b[J * SIZE + t] += b;
}

// Add s G + lambda D to a tile of the square (I, J), with 1 on the diagonal of the padding, and write the smallest
// admissible pivots.
__device__ __forceinline__ void add_base(int I, int J, Tile tile, REAL s, const REAL *G, REAL reg, REAL bias_ratio,
                                         Shared &shared, REAL (&A)[TILE][TILE]) {
  if (!tile.exists) return;
  const int row = I * SIZE + tile.row * TILE, column = J * SIZE + tile.column * TILE;
  if (MISSING && row < WIDTH && column < WIDTH) {
#pragma unroll
    for (int p = 0; p < TILE; p++)
#pragma unroll
      for (int c = 0; c < TILE; c++) A[p][c] += s * G[(row + p) * WIDTH + column + c];
  }
  if (row != column) return;
#pragma unroll
  for (int p = 0; p < TILE; p++) {
    A[p][p] += row + p < RANK ? reg : row + p < UNKNOWNS ? bias_ratio * reg : (REAL)1;
    shared.least[tile.row * TILE + p] = UNKNOWNS * EPSILON * A[p][p];
  }
}

// Subtract sum_K L_IK L_JK' over the squares K < J from a tile.
__device__ __forceinline__ void subtract_columns(int I, int J, const REAL *L, Tile tile, Shared &shared,
                                                 REAL (&A)[TILE][TILE]) {
  REAL *left = shared.scratch, *right = I == J ? left : left + BATCH * SIZE;
  if (threadIdx.x < BATCH) shared.q[threadIdx.x] = -1;
  for (int first = 0; first < J * SIZE; first += BATCH) {
    const REAL *columns = L + (long long)first * PITCH;
    copy_columns(columns, I * SIZE, left);
    if (I != J) copy_columns(columns, J * SIZE, right);
    __syncthreads();
    add_batch(BATCH, tile, left, right, shared.q, shared.w, false, false, A);
    __syncthreads();
  }
}

// Solve X L_JJ' = A for a square below the diagonal, and subtract X z_J from b_I.
__device__ __forceinline__ void solve_square(int I, int J, const REAL *L, Tile tile, Shared &shared,
                                             REAL (&A)[TILE][TILE]) {
  REAL (*panels)[SIDE][PANEL] = reinterpret_cast<REAL (*)[SIDE][PANEL]>(shared.scratch);
  for (int j = 0; j < SIDE; j++) {
    REAL (*of_L)[PANEL] = panels[j & 1], (*of_X)[PANEL] = panels[2 + (j & 1)];
    for (int e = threadIdx.x; e < TILE * SIZE; e += THREADS) {
      const int c = e / SIZE, r = e % SIZE;
      of_L[r / TILE][c * TILE + r % TILE] = L[(long long)(J * SIZE + j * TILE + c) * PITCH + J * SIZE + r];
    }
    __syncthreads();
    if (tile.column == j) {
      factor_below(A, of_L[j], shared.b + J * SIZE + j * TILE, shared.b + I * SIZE + tile.row * TILE);
      store_tile(A, of_X[tile.row]);
    }
    __syncthreads();
    if (tile.column > j) update(A, of_X[tile.row], of_L[tile.column]);
  }
}

// Replace z in b by the solution of L' x = z.
__device__ __forceinline__ void substitute(const REAL *L, Shared &shared) {
  const Tile tile = tile_of(threadIdx.x);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int J = SQUARES - 1; J >= 0; J--) {
    for (int c = J * SIZE + warp; c < (J + 1) * SIZE; c += THREADS / 32) {
      REAL change = 0;
      for (int r = (J + 1) * SIZE + lane; r < PITCH; r += 32) change += L[(long long)c * PITCH + r] * shared.b[r];
#pragma unroll
      for (int distance = 16; distance > 0; distance /= 2) change += __shfl_xor_sync(0xffffffffu, change, distance);
      if (lane == 0) shared.b[c] -= change;
    }
    REAL A[TILE][TILE];
    if (tile.exists)
#pragma unroll
      for (int c = 0; c < TILE; c++)
#pragma unroll
        for (int p = 0; p < TILE; p += 4) {
          REAL four[4];
          load4(L + (long long)(J * SIZE + tile.column * TILE + c) * PITCH + J * SIZE + tile.row * TILE + p, four);
          A[p][c] = four[0], A[p + 1][c] = four[1], A[p + 2][c] = four[2], A[p + 3][c] = four[3];
        }
    __syncthreads();
    substitute_back(A, tile, SIDE, shared.b + J * SIZE);
  }
}

// Compute L and z = L^-1 b of a row, column by column of squares.
__device__ __forceinline__ void factor_row(int n, REAL s, const ObservedCells &cells, const REAL *Y, const REAL *G,
                                           REAL reg, REAL bias_ratio, REAL *L, Shared &shared) {
  for (int J = 0; J < SQUARES; J++)
    for (int I = J; I < SQUARES; I++) {
      const Tile tile = tile_in(I == J);
      REAL A[TILE][TILE];
      clear(A);
      sum_cells(n, s, cells, Y, I, J, tile, shared, A);
      add_base(I, J, tile, s, G, reg, bias_ratio, shared, A);
      subtract_columns(I, J, L, tile, shared, A);
      __syncthreads();
      if (I == J)
        factor(A, tile, SIDE, shared.least, shared.b + J * SIZE,
               reinterpret_cast<REAL (*)[SIDE][PANEL]>(shared.scratch), &shared.is_unsolved);
      else
        solve_square(I, J, L, tile, shared, A);
      if (tile.exists)
#pragma unroll
        for (int c = 0; c < TILE; c++)
#pragma unroll
          for (int p = 0; p < TILE; p += 4)
            store4(L + (long long)(J * SIZE + tile.column * TILE + c) * PITCH + I * SIZE + tile.row * TILE + p, A[p][c],
                   A[p + 1][c], A[p + 2][c], A[p + 3][c]);
      __syncthreads();
    }
}

// Solve n_rows rows of X; status[u] becomes whether row u is not solved. L has PITCH * PITCH elements for each block, and
// *taken is the number of rows that blocks have taken, at first 0.
extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
solve_large_rows(int n_rows, const int *__restrict__ rows, const long long *__restrict__ starts,
                 const long long *__restrict__ stops, const int *__restrict__ indices,
                 const REAL *__restrict__ targets, int target_stride, const REAL *__restrict__ weights,
                 int weight_stride, const REAL *__restrict__ row_missing, const REAL *__restrict__ column_missing,
                 int missing_stride, const REAL *__restrict__ Y, const REAL *__restrict__ G,
                 const REAL *__restrict__ reg, REAL bias_ratio, REAL *__restrict__ X,
                 unsigned char *__restrict__ status, REAL *L, int *taken) {
  __shared__ Shared shared;
  const int t = threadIdx.x;
  L += (long long)blockIdx.x * PITCH * PITCH;
  while (true) {
    if (t == 0) shared.next = atomicAdd(taken, 1), shared.is_unsolved = 0;
    for (int e = t; e < PITCH; e += THREADS) shared.b[e] = 0;
    __syncthreads();
    const int number = shared.next;
    if (number >= n_rows) return;
    const int u = rows[number], n = (int)(stops[number] - starts[number]);
    const ObservedCells cells = cells_from(starts[number], {indices, targets, target_stride, weights, weight_stride,
                                                            column_missing, missing_stride});
    factor_row(n, MISSING ? row_missing[u] : (REAL)0, cells, Y, G, reg[u], bias_ratio, L, shared);
    substitute(L, shared);
    for (int e = t; e < WIDTH; e += THREADS) X[(long long)u * WIDTH + e] = shared.b[e];
    if (t == 0) status[u] = (unsigned char)shared.is_unsolved;
    __syncthreads();
  }
}
