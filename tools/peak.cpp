#include "tools/peak.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mattec::tools {
namespace {

constexpr int repetitions = 20000;  // about a millisecond
constexpr int rounds = 60;

#if defined(__x86_64__)

// Twelve independent accumulators hide the latency. Volatile: the values are never used.
__attribute__((target("avx512f,avx512vnni"))) double vnni_round() {
  const __m512i ones = _mm512_set1_epi32(0x01010101);
  __m512i sum[12] = {};
  for (int i = 0; i < repetitions; ++i)
    for (__m512i& accumulator : sum)
      asm volatile("vpdpbusd %1, %1, %0" : "+v"(accumulator) : "v"(ones));
  return 12.0 * 64 * repetitions;
}

__attribute__((target("avx2"))) double avx2_round() {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sum[12] = {};
  for (int i = 0; i < repetitions; ++i)
    for (__m256i& accumulator : sum) {
      __m256i product;
      asm volatile("vpmaddwd %2, %2, %1\n\tvpaddd %1, %0, %0"
                   : "+x"(accumulator), "=&x"(product)
                   : "x"(ones));
    }
  return 12.0 * 16 * repetitions;
}

bool supported(DotProduct kind) {
  return kind == DotProduct::avx2
             ? __builtin_cpu_supports("avx2") != 0
             : __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni");
}

double round_of(DotProduct kind) { return kind == DotProduct::avx2 ? avx2_round() : vnni_round(); }

#else

bool supported(DotProduct) { return false; }
double round_of(DotProduct) { return 0; }

#endif

double best_gmacs(DotProduct kind) {
  double best = 0;
  for (int i = 0; i < rounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const double macs = round_of(kind);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::max(best, macs / took.count() / 1e9);
  }
  return best;
}

}  // namespace

double peak_gmacs(DotProduct kind, int threads) {
  if (!supported(kind)) return 0;
  std::vector<double> best(static_cast<size_t>(threads), 0);
  std::vector<std::thread> others;
  for (size_t i = 1; i < best.size(); ++i)
    others.emplace_back([&best, i, kind] { best[i] = best_gmacs(kind); });
  best[0] = best_gmacs(kind);
  for (std::thread& other : others) other.join();
  return std::accumulate(best.begin(), best.end(), 0.0);
}

}  // namespace mattec::tools
