// Observed cells, as in observations.py. Legend and constants as in exact.cu.

// The observed cells of a half-problem. Targets and weights of cells, and missing weights of columns, are arrays of one
// element, with a stride of 0, if all are equal.
struct ObservedCells {
  const int *indices;
  const REAL *targets;
  int target_stride;
  const REAL *weights;
  int weight_stride;
  const REAL *column_missing;
  int missing_stride;
};

// The observed cells from a position on, at which rows are addressed by 32 bits.
__device__ __forceinline__ ObservedCells cells_from(long long begin, ObservedCells cells) {
  cells.indices += begin;
  cells.targets += begin * cells.target_stride;
  cells.weights += begin * cells.weight_stride;
  return cells;
}

// The weights of an observed cell, and its factor in b.
struct Cell {
  REAL w, q, v;
};

// Read cell p in column i.
__device__ __forceinline__ Cell read_cell(int p, int i, REAL s, const ObservedCells &cells, const REAL *Y) {
  Cell cell;
  cell.w = cells.weights[p * cells.weight_stride];
  cell.q = MISSING ? cell.w - s * cells.column_missing[(long long)i * cells.missing_stride] : cell.w;
  const REAL offset = BIASES ? Y[(long long)i * WIDTH + RANK] : (REAL)0;
  cell.v = cell.w * (cells.targets[p * cells.target_stride] - offset);
  return cell;
}
