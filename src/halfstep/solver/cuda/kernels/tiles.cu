// Systems whose lower triangle is divided into tiles, one for each thread of a row, in its registers.
//
// Constants: REAL, EPSILON, TILE (rows and columns of a tile), SIDE (tiles in a column), THREADS (of a row, a warp or a
// block), and SOLUTIONS,
// the number of right-hand sides b, each of SIZE elements.

#define TILES (SIDE * (SIDE + 1) / 2)
#define SIZE (SIDE * TILE)
#define PANEL (TILE * TILE + 4)  // a tile of L in shared memory, by columns
#define PANELS_SIZE (2 * SIDE * PANEL)

#if THREADS == 32
#define SYNCHRONIZE() __syncwarp()
#else
#define SYNCHRONIZE() __syncthreads()
#endif

// The tile of a thread, in the order (0, 0), (1, 0), (1, 1), (2, 0), ...
struct Tile {
  int row, column;
  bool exists;
};

__device__ __forceinline__ Tile tile_of(int thread) {
  int row = (int)((sqrtf(8.0f * thread + 1.0f) - 1.0f) * 0.5f);
  while ((row + 1) * (row + 2) / 2 <= thread) row++;
  while (row * (row + 1) / 2 > thread) row--;
  return {row, thread - row * (row + 1) / 2, thread < TILES};
}

__device__ __forceinline__ void clear(REAL (&A)[TILE][TILE]) {
#pragma unroll
  for (int p = 0; p < TILE; p++)
#pragma unroll
    for (int c = 0; c < TILE; c++) A[p][c] = 0;
}

// Factor the tile on the diagonal, and replace its elements of b by those of the solution of L z = b. The diagonal of L
// is stored inverted, because divisions are slow. Return whether all pivots exceed their smallest admissible values.
__device__ __forceinline__ bool factor_diagonal(REAL (&A)[TILE][TILE], const REAL *least, REAL *b) {
  bool is_definite = true;
#pragma unroll
  for (int c = 0; c < TILE; c++) {
    if (!(A[c][c] > least[c])) {
      is_definite = false;
      A[c][c] = 1;
    }
    const REAL inverse = rsqrt(A[c][c]);
    A[c][c] = inverse;
#pragma unroll
    for (int p = c + 1; p < TILE; p++) A[p][c] *= inverse;
#pragma unroll
    for (int n = c + 1; n < TILE; n++)
#pragma unroll
      for (int p = n; p < TILE; p++) A[p][n] -= A[p][c] * A[n][c];
  }
#pragma unroll
  for (int s = 0; s < SOLUTIONS; s++)
#pragma unroll
    for (int p = 0; p < TILE; p++) {
      REAL z = b[s * SIZE + p];
#pragma unroll
      for (int c = 0; c < p; c++) z -= A[p][c] * b[s * SIZE + c];
      b[s * SIZE + p] = z * A[p][p];
    }
  return is_definite;
}

// Replace a tile below the diagonal by that of L, given the tile of L on the diagonal, and update its elements of b.
__device__ __forceinline__ void factor_below(REAL (&A)[TILE][TILE], const REAL *diagonal, const REAL *z,
                                             REAL *b) {
#pragma unroll
  for (int c = 0; c < TILE; c++) {
    const REAL inverse = diagonal[c * TILE + c];
#pragma unroll
    for (int p = 0; p < TILE; p++) A[p][c] *= inverse;
#pragma unroll
    for (int n = c + 1; n < TILE; n++)
#pragma unroll
      for (int p = 0; p < TILE; p++) A[p][n] -= A[p][c] * diagonal[c * TILE + n];
  }
#pragma unroll
  for (int s = 0; s < SOLUTIONS; s++)
#pragma unroll
    for (int p = 0; p < TILE; p++) {
      REAL change = 0;
#pragma unroll
      for (int c = 0; c < TILE; c++) change += A[p][c] * z[s * SIZE + c];
      b[s * SIZE + p] -= change;
    }
}

// Store a tile of L by columns.
__device__ __forceinline__ void store_tile(const REAL (&A)[TILE][TILE], REAL *panel) {
#pragma unroll
  for (int c = 0; c < TILE; c++)
#pragma unroll
    for (int p = 0; p < TILE; p += 4)
      store4(panel + c * TILE + p, A[p][c], A[p + 1][c], A[p + 2][c], A[p + 3][c]);
}

// Subtract the product of two tiles of a column of L from the tile A.
__device__ __forceinline__ void update(REAL (&A)[TILE][TILE], const REAL *left_panel, const REAL *right_panel) {
#pragma unroll
  for (int c = 0; c < TILE; c++) {
    REAL left[TILE], right[TILE];
#pragma unroll
    for (int p = 0; p < TILE; p += 4) {
      load4(left_panel + c * TILE + p, left + p);
      load4(right_panel + c * TILE + p, right + p);
    }
#pragma unroll
    for (int p = 0; p < TILE; p++)
#pragma unroll
      for (int n = 0; n < TILE; n++) A[p][n] -= left[p] * right[n];
  }
}

// Factor the first `side` columns of tiles, A = L L', in place, and replace b by the solution of L z = b. The columns are
// exchanged through two panels in turn, so that the diagonal of the next can be factored while others still read the
// last one.
__device__ __forceinline__ void factor(REAL (&A)[TILE][TILE], Tile tile, int side, const REAL *least, REAL *b,
                                       REAL (*panels)[SIDE][PANEL], int *is_unsolved) {
  for (int j = 0; j < side; j++) {
    REAL (*panel)[PANEL] = panels[j & 1];
    if (tile.exists && tile.row == j && tile.column == j) {
      if (!factor_diagonal(A, least + j * TILE, b + j * TILE)) *is_unsolved = 1;
      store_tile(A, panel[j]);
    }
    SYNCHRONIZE();
    if (tile.exists && tile.column == j && tile.row > j) {
      factor_below(A, panel[j], b + j * TILE, b + tile.row * TILE);
      store_tile(A, panel[tile.row]);
    }
    SYNCHRONIZE();
    if (tile.exists && tile.column > j) update(A, panel[tile.row], panel[tile.column]);
  }
}

// Replace z in b by the solution of L' x = z.
__device__ __forceinline__ void substitute_back(const REAL (&L)[TILE][TILE], Tile tile, int side, REAL *b) {
  for (int j = side - 1; j >= 0; j--) {
    if (tile.exists && tile.row == j && tile.column == j) {
#pragma unroll
      for (int s = 0; s < SOLUTIONS; s++) {
        REAL *x = b + s * SIZE + j * TILE;
#pragma unroll
        for (int p = TILE - 1; p >= 0; p--) {
          REAL value = x[p];
#pragma unroll
          for (int c = p + 1; c < TILE; c++) value -= L[c][p] * x[c];
          x[p] = value * L[p][p];
        }
      }
    }
    SYNCHRONIZE();
    if (tile.exists && tile.row == j && tile.column < j) {
#pragma unroll
      for (int s = 0; s < SOLUTIONS; s++) {
        const REAL *x = b + s * SIZE + j * TILE;
#pragma unroll
        for (int c = 0; c < TILE; c++) {
          REAL change = 0;
#pragma unroll
          for (int p = 0; p < TILE; p++) change += L[p][c] * x[p];
          b[s * SIZE + tile.column * TILE + c] -= change;
        }
      }
    }
    SYNCHRONIZE();
  }
}
