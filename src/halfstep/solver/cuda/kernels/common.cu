// Functions that several kernels share; this file precedes each of them.
//
// REAL is the type of the systems, float or double, and EPSILON its relative rounding error.

// Vectors in shared or global memory.

__device__ __forceinline__ void load2(const float *from, float *to) {
  const float2 two = *reinterpret_cast<const float2 *>(from);
  to[0] = two.x, to[1] = two.y;
}

__device__ __forceinline__ void load2(const double *from, double *to) {
  const double2 two = *reinterpret_cast<const double2 *>(from);
  to[0] = two.x, to[1] = two.y;
}

__device__ __forceinline__ void load4(const float *from, float *to) {
  const float4 four = *reinterpret_cast<const float4 *>(from);
  to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
}

__device__ __forceinline__ void load4(const double *from, double *to) {
  const double2 low = reinterpret_cast<const double2 *>(from)[0], high = reinterpret_cast<const double2 *>(from)[1];
  to[0] = low.x, to[1] = low.y, to[2] = high.x, to[3] = high.y;
}

__device__ __forceinline__ void store4(float *to, float a, float b, float c, float d) {
  *reinterpret_cast<float4 *>(to) = make_float4(a, b, c, d);
}

__device__ __forceinline__ void store4(double *to, double a, double b, double c, double d) {
  reinterpret_cast<double2 *>(to)[0] = make_double2(a, b);
  reinterpret_cast<double2 *>(to)[1] = make_double2(c, d);
}

// Copies of 16 bytes from global to shared memory, in the background from compute capability 8.0.

__device__ __forceinline__ void start_copy(void *to, const void *from) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" ::"r"((unsigned)__cvta_generic_to_shared(to)), "l"(from));
#else
  *static_cast<int4 *>(to) = *static_cast<const int4 *>(from);
#endif
}

__device__ __forceinline__ void end_group_of_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;\n" ::);
#endif
}

// Wait for all groups of copies but the last.
__device__ __forceinline__ void wait_for_earlier_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group 1;\n" ::);
#endif
}

// Wait for all copies of this thread.
__device__ __forceinline__ void wait_for_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;\n" ::);
#endif
}
