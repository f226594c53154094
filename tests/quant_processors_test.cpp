// Calibration's matrix products run on the vectors that the processor has.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>

#include "quant/processors.h"

extern "C" char* openblas_get_corename() __attribute__((weak));

namespace mattec::quant {
namespace {

TEST(UseAllProcessors, LeavesNoNewProcessorToTheKernelsOfAnOldOne) {
#ifndef __x86_64__
  GTEST_SKIP() << "not an x86-64 processor";
#else
  if (openblas_get_corename == nullptr) GTEST_SKIP() << "LibTorch uses no OpenBLAS here";
  if (__builtin_cpu_supports("avx2") == 0) GTEST_SKIP() << "the processor is an old one";
  use_all_processors();
  EXPECT_NE(std::string(openblas_get_corename()), "Prescott");
  torch::manual_seed(1);
  const torch::Tensor a = torch::rand({70, 300}), b = torch::rand({300, 90});
  const torch::Tensor direct = (a.unsqueeze(2) * b.unsqueeze(0)).sum(1);
  EXPECT_LT((torch::mm(a, b) - direct).abs().max().item<double>(), 1e-3);
#endif
}

}  // namespace
}  // namespace mattec::quant
