#include "tools/peak.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "runtime/cpu_features.h"

namespace mattec::tools {
namespace {

constexpr int repetitions = 20000;  // about a tenth of a millisecond: seldom interrupted
constexpr int rounds = 200;

#if defined(__x86_64__)

// Twelve independent accumulators hide the latency; in one block of assembly, since a compiler may
// keep an array of them in memory. What they hold does not matter.
#define MATTEC_TWELVE(one) \
  one(0) one(1) one(2) one(3) one(4) one(5) one(6) one(7) one(8) one(9) one(10) one(11)

double vnni_round() {
#define MATTEC_STEP(n) "vpdpbusd %%zmm31, %%zmm31, %%zmm" #n "\n\t"
  for (int i = 0; i < repetitions; ++i)
    asm volatile(MATTEC_TWELVE(MATTEC_STEP)::
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11");
#undef MATTEC_STEP
  asm volatile("vzeroupper" ::: "memory");  // SSE code after it must not pay for the upper halves
  return 12.0 * 64 * repetitions;
}

double avx2_round() {
#define MATTEC_STEP(n) \
  "vpmaddwd %%ymm15, %%ymm15, %%ymm12\n\tvpaddd %%ymm12, %%ymm" #n ", %%ymm" #n "\n\t"
  for (int i = 0; i < repetitions; ++i)
    asm volatile(MATTEC_TWELVE(MATTEC_STEP)::
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11", "xmm12");
#undef MATTEC_STEP
  asm volatile("vzeroupper" ::: "memory");
  return 12.0 * 16 * repetitions;
}

bool supported(DotProduct kind) {
  const int64_t wanted = kind == DotProduct::avx2 ? MATTEC_CPU_AVX2 : MATTEC_CPU_AVX512_ICELAKE;
  return (mattec_cpu_features() & wanted) != 0;
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
