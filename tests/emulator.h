// CUDA for tests on machines without a GPU: this header precedes a kernel's source, which g++ then compiles.
//
// Blocks run one after the other. The threads of a block are fibers, which run one at a time until they wait at a barrier
// or at an exchange within their warp. The order in which they run is a parameter of the launch: if a barrier is missing,
// the results depend on it. A launch fails, with a message that names the kernel, the block, the thread and the line, if
//
// - threads of a block wait at different barriers, or some return while others wait;
// - a warp's function is not reached by all lanes of its mask, or reads from a lane outside the mask.
//
// Shared memory is filled with 0xFF bytes (NaN) before each block, and local variables by the compiler's option
// -ftrivial-auto-var-init=pattern. Declare shared memory in kernels only, not in their device functions.
#pragma once
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__ static
#define __host__
#define __forceinline__ inline
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("shared_memory")))
extern "C" char __start_shared_memory[] __attribute__((weak));
extern "C" char __stop_shared_memory[] __attribute__((weak));

struct uint3 { unsigned x, y, z; };
static uint3 threadIdx, blockIdx, blockDim = {1, 1, 1}, gridDim = {1, 1, 1};
static const int warpSize = 32;

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }

using std::isfinite;
using std::isinf;
using std::isnan;
template <typename A, typename B> std::common_type_t<A, B> min(A a, B b) {
  std::common_type_t<A, B> one = a, other = b;
  return other < one ? other : one;
}
template <typename A, typename B> std::common_type_t<A, B> max(A a, B b) {
  std::common_type_t<A, B> one = a, other = b;
  return one < other ? other : one;
}
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __float_as_int(float x) { int bits; memcpy(&bits, &x, 4); return bits; }
inline float __int_as_float(int bits) { float x; memcpy(&x, &bits, 4); return x; }
inline unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }
inline float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
inline long long __double_as_longlong(double x) { long long bits; memcpy(&bits, &x, 8); return bits; }
inline double __longlong_as_double(long long bits) { double x; memcpy(&x, &bits, 8); return x; }
template <typename T> T __ldg(const T *address) { return *address; }
inline void __threadfence() {}
inline void __threadfence_block() {}

// Atomic functions of integers only: sums of floating-point numbers would depend on the order.
template <typename T, typename F> T emulated_atomic(T *address, F next) {
  static_assert(std::is_integral<T>::value, "atomic functions of floating-point numbers are not reproducible");
  const T before = *address;
  *address = next(before);
  return before;
}
template <typename T> T atomicAdd(T *address, std::common_type_t<T> n) { return emulated_atomic(address, [n](T t) { return T(t + n); }); }
template <typename T> T atomicMin(T *address, std::common_type_t<T> n) { return emulated_atomic(address, [n](T t) { return n < t ? n : t; }); }
template <typename T> T atomicMax(T *address, std::common_type_t<T> n) { return emulated_atomic(address, [n](T t) { return n > t ? n : t; }); }
template <typename T> T atomicOr(T *address, std::common_type_t<T> n) { return emulated_atomic(address, [n](T t) { return T(t | n); }); }
template <typename T> T atomicExch(T *address, std::common_type_t<T> n) { return emulated_atomic(address, [n](T) { return n; }); }
template <typename T> T atomicCAS(T *address, std::common_type_t<T> old, std::common_type_t<T> n) { return emulated_atomic(address, [old, n](T t) { return t == old ? n : t; }); }

namespace emulator {

enum State { READY, AT_BARRIER, IN_WARP, RETURNED };

struct Place {
  const char *file;
  int line;
  bool operator==(const Place &other) const { return line == other.line && strcmp(file, other.file) == 0; }
  std::string text() const { return std::string(file) + " line " + std::to_string(line); }
};

struct Fiber {
  State state;
  jmp_buf context;
  Place place;
  int predicate, count;             // of barriers: the thread's argument, and the number of threads where it is not 0
  unsigned mask;                    // of exchanges within a warp
  int source;                       // the lane that is read, or −1 for a ballot
  uint64_t given, received;
};

struct Launch {
  std::string failure;
  std::vector<Fiber> fibers;
  jmp_buf scheduler;
  void (*body)(void *);
  void *argument;
  int current;
};
static Launch launch;

const size_t STACK_BYTES = 128 * 1024;

inline void wait(State state, Place place) {
  Fiber &fiber = launch.fibers[launch.current];
  fiber.state = state;
  fiber.place = place;
  if (_setjmp(fiber.context) == 0) _longjmp(launch.scheduler, 1);
}

inline int barrier(Place place, int predicate) {
  launch.fibers[launch.current].predicate = predicate;
  wait(AT_BARRIER, place);
  return launch.fibers[launch.current].count;
}

inline uint64_t exchange(Place place, unsigned mask, int source, uint64_t given) {
  Fiber &fiber = launch.fibers[launch.current];
  fiber.mask = mask;
  fiber.source = source;
  fiber.given = given;
  wait(IN_WARP, place);
  return launch.fibers[launch.current].received;
}

template <typename T> T shuffle(Place place, unsigned mask, T value, int lane, int source, int width) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "values of 4 or 8 bytes");
  const int segment = lane / width * width;
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  bits = exchange(place, mask, source < segment || source >= segment + width ? lane : source, bits);
  memcpy(&value, &bits, sizeof(T));
  return value;
}

inline int own_lane() { return launch.current % 32; }
template <typename T> T from(Place at, unsigned mask, T value, int source, int width = 32) {
  const int lane = own_lane();
  return shuffle(at, mask, value, lane, lane / width * width + (source & (width - 1)), width);
}
template <typename T> T from_above(Place at, unsigned mask, T value, int distance, int width = 32) {
  return shuffle(at, mask, value, own_lane(), own_lane() + distance, width);
}
template <typename T> T from_below(Place at, unsigned mask, T value, int distance, int width = 32) {
  return shuffle(at, mask, value, own_lane(), own_lane() - distance, width);
}
template <typename T> T from_xor(Place at, unsigned mask, T value, int bits, int width = 32) {
  return shuffle(at, mask, value, own_lane(), own_lane() ^ bits, width);
}
inline unsigned ballot(Place at, unsigned mask, bool predicate) { return (unsigned)exchange(at, mask, -1, predicate); }
inline void sync_warp(Place at, unsigned mask = 0xffffffffu) { exchange(at, mask, -1, 0); }

inline bool fail(int thread, const std::string &what) {
  launch.failure = "thread " + std::to_string(thread) + ": " + what;
  return false;
}

// Release the lanes that wait for each other, if the last one has arrived.
inline bool finish_exchange(int thread) {
  std::vector<Fiber> &fibers = launch.fibers;
  const int first = thread / 32 * 32;
  const Fiber arrived = fibers[thread];
  if (!(arrived.mask >> (thread - first) & 1)) return fail(thread, "its lane is not in the mask, " + arrived.place.text());
  uint64_t ballot = 0;
  for (int lane = 0; lane < 32; lane++) {
    if (!(arrived.mask >> lane & 1)) continue;
    const int other = first + lane;
    if (other >= (int)fibers.size()) return fail(thread, "the mask contains lanes that do not exist, " + arrived.place.text());
    const Fiber &fiber = fibers[other];
    if (fiber.state != IN_WARP) return true;  // it may still arrive
    if (!(fiber.place == arrived.place) || fiber.mask != arrived.mask)
      return fail(thread, "its warp diverged: it waits at " + arrived.place.text() + ", thread " + std::to_string(other) +
                              " at " + fiber.place.text());
    if (fiber.source < 0 && fiber.given) ballot |= 1ull << lane;
    if (fiber.source >= 0 && !(arrived.mask >> fiber.source & 1))
      return fail(other, "reads from lane " + std::to_string(fiber.source) + ", which is not in the mask, " + fiber.place.text());
  }
  for (int lane = 0; lane < 32; lane++) {
    if (!(arrived.mask >> lane & 1)) continue;
    Fiber &fiber = fibers[first + lane];
    fiber.received = fiber.source < 0 ? ballot : fibers[first + fiber.source].given;
    fiber.state = READY;
  }
  return true;
}

// Release all threads from a barrier, if they have reached the same one; none can run.
inline bool finish_barrier() {
  std::vector<Fiber> &fibers = launch.fibers;
  int first = -1, count = 0;
  for (int t = 0; t < (int)fibers.size(); t++) {
    if (fibers[t].state == IN_WARP)
      return fail(t, "waits for lanes that do not arrive, " + fibers[t].place.text());
    if (fibers[t].state == AT_BARRIER && first < 0) first = t;
  }
  for (int t = 0; t < (int)fibers.size(); t++) {
    if (fibers[t].state == RETURNED) return fail(t, "returned, while thread " + std::to_string(first) + " waits at " + fibers[first].place.text());
    if (!(fibers[t].place == fibers[first].place))
      return fail(t, "waits at " + fibers[t].place.text() + ", while thread " + std::to_string(first) + " waits at " +
                         fibers[first].place.text());
    count += fibers[t].predicate != 0;
  }
  for (Fiber &fiber : fibers) {
    fiber.count = count;
    fiber.state = READY;
  }
  return true;
}

inline void fiber_main() {
  launch.body(launch.argument);
  launch.fibers[launch.current].state = RETURNED;
  _longjmp(launch.scheduler, 1);
}

// Run a fiber until it waits or returns.
inline void resume(int thread) {
  launch.current = thread;
  threadIdx = {(unsigned)thread, 0, 0};
  if (_setjmp(launch.scheduler) == 0) _longjmp(launch.fibers[thread].context, 1);
}

inline void start_fiber(int thread, char *stack) {
  static ucontext_t context, back;
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = STACK_BYTES;
  context.uc_link = nullptr;
  makecontext(&context, fiber_main, 0);
  launch.current = thread;
  threadIdx = {(unsigned)thread, 0, 0};
  launch.fibers[thread].state = READY;
  if (_setjmp(launch.scheduler) == 0) swapcontext(&back, &context);
}

inline void arrange(std::vector<int> &order, int how, unsigned &seed) {
  for (size_t n = 0; n < order.size(); n++) order[n] = (int)(how == 1 ? order.size() - 1 - n : n);
  if (how < 2) return;
  for (size_t n = order.size(); n > 1; n--) {
    seed = seed * 1664525u + 1013904223u;
    std::swap(order[n - 1], order[(seed >> 8) % n]);
  }
}

inline bool run_block(int threads, int how, unsigned &seed, char *stacks) {
  std::fill(__start_shared_memory, __stop_shared_memory, (char)0xFF);
  launch.fibers.assign(threads, Fiber());
  std::vector<int> order(threads);
  for (bool is_started = false;; is_started = true) {
    arrange(order, how, seed);
    bool did_run = false, returned = true;
    for (int thread : order) {
      Fiber &fiber = launch.fibers[thread];
      if (is_started && fiber.state != READY) continue;
      did_run = true;
      if (is_started) resume(thread);
      else start_fiber(thread, stacks + thread * STACK_BYTES);
      if (fiber.state == IN_WARP && !finish_exchange(thread)) return false;
    }
    for (const Fiber &fiber : launch.fibers) returned = returned && fiber.state == RETURNED;
    if (returned) return true;
    if (!did_run && !finish_barrier()) return false;
  }
}

template <typename... P, size_t... I>
void call(void (*kernel)(P...), void **arguments, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_const_t<P> *>(arguments[I])...);
}

template <typename... P>
const char *run(const char *name, void (*kernel)(P...), int blocks, int threads, void **arguments, int how, unsigned seed) {
  struct Call {
    void (*kernel)(P...);
    void **arguments;
  } given = {kernel, arguments};
  static std::string failure;
  char *stacks = (char *)mmap(nullptr, threads * STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  launch.body = [](void *each) {
    const Call &one = *static_cast<Call *>(each);
    call(one.kernel, one.arguments, std::index_sequence_for<P...>());
  };
  launch.argument = &given;
  gridDim.x = blocks;
  blockDim.x = threads;
  std::vector<int> order(blocks);
  arrange(order, how, seed);
  bool succeeded = true;
  for (int block : order) {
    blockIdx.x = block;
    if ((succeeded = run_block(threads, how, seed, stacks))) continue;
    failure = std::string(name) + ", block " + std::to_string(block) + ", " + launch.failure;
    break;
  }
  munmap(stacks, threads * STACK_BYTES);
  return succeeded ? nullptr : failure.c_str();
}

template <typename T> char code_of() {
  if (std::is_same<T, float>::value) return 'f';
  if (std::is_same<T, double>::value) return 'd';
  if (std::is_floating_point<T>::value) return '?';
  const char *codes = std::is_signed<T>::value ? "bhiq" : "BHIQ";
  return sizeof(T) == 1 ? codes[0] : sizeof(T) == 2 ? codes[1] : sizeof(T) == 4 ? codes[2] : codes[3];
}

// For each parameter a type code of NumPy, after * for pointers, and > instead of it if the kernel may write there.
template <typename... P> std::string signature_of(void (*)(P...)) {
  std::string text;
  for (std::string code : {std::string() + (!std::is_pointer<P>::value ? ""
                                            : std::is_const<std::remove_pointer_t<P>>::value ? "*" : ">") +
                           code_of<std::remove_cv_t<std::remove_pointer_t<P>>>()...})
    text += code + " ";
  return text;
}

}  // namespace emulator

#define EMULATED_PLACE (emulator::Place{__FILE__, __LINE__})
#define __syncthreads() ((void)emulator::barrier(EMULATED_PLACE, 0))
#define __syncthreads_count(predicate) (emulator::barrier(EMULATED_PLACE, (predicate) != 0))
#define __syncthreads_or(predicate) (emulator::barrier(EMULATED_PLACE, (predicate) != 0) > 0)
#define __syncthreads_and(predicate) (emulator::barrier(EMULATED_PLACE, (predicate) != 0) == (int)blockDim.x)
#define EMULATED_WARP(function, ...) (emulator::function(EMULATED_PLACE, ##__VA_ARGS__))
#define __syncwarp(...) EMULATED_WARP(sync_warp, ##__VA_ARGS__)
#define __shfl_sync(...) EMULATED_WARP(from, __VA_ARGS__)
#define __shfl_down_sync(...) EMULATED_WARP(from_above, __VA_ARGS__)
#define __shfl_up_sync(...) EMULATED_WARP(from_below, __VA_ARGS__)
#define __shfl_xor_sync(...) EMULATED_WARP(from_xor, __VA_ARGS__)
#define __ballot_sync(mask, predicate) (emulator::ballot(EMULATED_PLACE, mask, (predicate) != 0))
#define __any_sync(mask, predicate) (emulator::ballot(EMULATED_PLACE, mask, (predicate) != 0) != 0)
#define __all_sync(mask, predicate) (emulator::ballot(EMULATED_PLACE, mask, (predicate) != 0) == (unsigned)(mask))

// Exports a kernel to Python.
#define EMULATED_KERNEL(name)                                                                                            \
  extern "C" const char *signature_of_##name() {                                                                         \
    static const std::string text = emulator::signature_of(name);                                                        \
    return text.c_str();                                                                                                 \
  }                                                                                                                      \
  extern "C" const char *launch_##name(int blocks, int threads, void **arguments, int order, unsigned seed) {            \
    return emulator::run(#name, name, blocks, threads, arguments, order, seed);                                          \
  }
