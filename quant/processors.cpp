#include "quant/processors.h"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <thread>

// Of OpenBLAS, where LibTorch uses that.
extern "C" {
void openblas_set_num_threads(int) __attribute__((weak));
char* openblas_get_corename() __attribute__((weak));
void gotoblas_dynamic_init() __attribute__((weak));
void gotoblas_dynamic_quit() __attribute__((weak));
}

namespace mattec::quant {
namespace {

// OpenBLAS 0.3.21, that of Debian 12, takes an Intel processor it has not heard of for a Pentium 4,
// and its products of matrices took 37 % of calibration's time in place of 11. It chooses its
// kernels once, as it is loaded; only these two functions make it choose again.
void mend_unknown_processor() {
#ifdef __x86_64__
  if (openblas_get_corename == nullptr || gotoblas_dynamic_init == nullptr ||
      gotoblas_dynamic_quit == nullptr || std::string(openblas_get_corename()) != "Prescott")
    return;
  const bool avx512 = __builtin_cpu_supports("avx512vl") != 0 &&
                      __builtin_cpu_supports("avx512bw") != 0 &&
                      __builtin_cpu_supports("avx512dq") != 0;
  if (!avx512 && __builtin_cpu_supports("avx2") == 0) return;
  setenv("OPENBLAS_CORETYPE", avx512 ? "SKYLAKEX" : "HASWELL", /*overwrite=*/0);
  gotoblas_dynamic_quit();
  gotoblas_dynamic_init();
#endif
}

}  // namespace

void use_all_processors() {
  torch::set_num_threads(static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
  if (openblas_set_num_threads != nullptr) openblas_set_num_threads(1);
  mend_unknown_processor();
}

}  // namespace mattec::quant
