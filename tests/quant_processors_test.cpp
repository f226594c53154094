// Calibration's matrix products run on the vectors that the processor has.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <string>

#include "quant/processors.h"

extern "C" char* openblas_get_corename() __attribute__((weak));

namespace mattec::quant {
namespace {

TEST(UseAllProcessors, LeavesNoNewProcessorToTheKernelsOfAnOldOne) {
  use_all_processors();
#ifdef __x86_64__
  // Another BLAS has no such name.
  if (openblas_get_corename != nullptr && __builtin_cpu_supports("avx2") != 0) {
    EXPECT_NE(std::string(openblas_get_corename()), "Prescott");
  }
#endif
  // And those it chose anew multiply.
  torch::manual_seed(1);
  const torch::Tensor a = torch::rand({70, 300}), b = torch::rand({300, 90});
  const torch::Tensor direct = (a.unsqueeze(2) * b.unsqueeze(0)).sum(1);
  EXPECT_LT((torch::mm(a, b) - direct).abs().max().item<double>(), 1e-3);
}

}  // namespace
}  // namespace mattec::quant
