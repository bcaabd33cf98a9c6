// The best n columns of each row, exactly: solver/kernels/top_columns.py on a GPU.
//
//   P, Q   factors of rows and columns           c   scores of the columns, such as biases; −∞ excludes a column
//   S      a tile of P Qᵀ in float32             C   c in the precision and scale of S
//   r      bound of |S + C − exact score| for a row and all columns
//
// A column among the best n has a score in S + C within 2 r of the n-th best. A block ranks a row, whose columns its
// threads take in turn. The n-th best of the largest scores of groups of threads is at most the n-th best of all scores,
// and seldom much less. Threads whose largest score is within 2 r of it read theirs again and list the candidates, whose
// exact scores are computed in double precision. Each candidate then counts the better ones: its place in the list. The
// order in which threads list candidates does not matter.
//
// REAL     float or double, of P and Q         THREADS   of a block
// OFFSETS  whether c is not 0                  GROUP     threads of a group; there are at least n groups
// ROOM     of the list of candidates

#define GROUPS (THREADS / GROUP)
#define NONE (-1.0f / 0.0f)

__device__ float score_of(const float *scores, const float *C, int column) {
#if OFFSETS
  return scores[column] + C[column];
#else
  return scores[column];
#endif
}

// Rows first + blockIdx.x, the rows of S from 0 on, which are overwritten. Writes 1 to is_unranked for rows with more
// candidates than fit, because too many scores are nearly equal.
extern "C" __global__ void __launch_bounds__(THREADS)
best_columns(float *S, const float *__restrict__ C, const float *__restrict__ two_r, long long first, int columns,
             const long long *__restrict__ skip_indptr, const int *__restrict__ skip, const REAL *__restrict__ P,
             const REAL *__restrict__ Q, const double *__restrict__ c, int rank, int n, int *__restrict__ best,
             double *__restrict__ best_scores, int *__restrict__ is_unranked) {
  __shared__ float largest[GROUPS];
  __shared__ int candidates[ROOM], found;
  __shared__ double exact[ROOM];
  __shared__ float threshold;
  const int t = threadIdx.x;
  const long long row = first + blockIdx.x;
  float *scores = S + (long long)blockIdx.x * columns;
  for (long long p = skip_indptr[row] + t; p < skip_indptr[row + 1]; p += THREADS) scores[skip[p]] = NONE;
  if (t == 0) found = 0;
  __syncthreads();
  float own = NONE;
#pragma unroll 8
  for (int i = t; i < columns; i += THREADS) own = max(own, score_of(scores, C, i));
  float of_group = own;
#pragma unroll
  for (int distance = GROUP / 2; distance > 0; distance /= 2)
    of_group = max(of_group, __shfl_xor_sync(0xffffffffu, of_group, distance));
  if (t % GROUP == 0) largest[t / GROUP] = of_group;
  __syncthreads();
  if (t < GROUPS) {
    int better = 0;
    for (int other = 0; other < GROUPS; other++)
      better += largest[other] > largest[t] || (largest[other] == largest[t] && other < t);
    if (better == n - 1) threshold = largest[t];
  }
  __syncthreads();
  const float least = threshold - two_r[row];
  if (own >= least && own > NONE)
    for (int i = t; i < columns; i += THREADS) {
      const float score = score_of(scores, C, i);
      if (score >= least && score > NONE) {
        const int slot = atomicAdd(&found, 1);
        if (slot < ROOM) candidates[slot] = i;
      }
    }
  __syncthreads();
  if (found > ROOM) {
    if (t == 0) is_unranked[row] = 1;
    return;
  }
  for (int slot = t; slot < found; slot += THREADS) {
    const REAL *p = P + row * rank, *q = Q + (long long)candidates[slot] * rank;
    double total = c[candidates[slot]];
    for (int a = 0; a < rank; a++) total += (double)p[a] * q[a];
    exact[slot] = total;
  }
  __syncthreads();
  for (int slot = t; slot < found; slot += THREADS) {
    int place = 0;
    for (int other = 0; other < found; other++)
      place += exact[other] > exact[slot] || (exact[other] == exact[slot] && candidates[other] < candidates[slot]);
    if (place < n) {
      best[row * n + place] = candidates[slot];
      best_scores[row * n + place] = exact[slot];
    }
  }
  for (int place = found + t; place < n; place += THREADS) {
    best[row * n + place] = -1;
    best_scores[row * n + place] = 0.0 / 0.0;
  }
}
