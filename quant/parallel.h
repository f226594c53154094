// Jobs of unequal length on LibTorch's threads.
#pragma once

#include <ATen/Parallel.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <atomic>
#include <cstddef>

namespace mattec::quant {

// work(0) .. work(count - 1), each on one thread and without gradients, in this order as threads
// get free: jobs that take long belong first. (at::parallel_for gives each thread an equal number
// in a row; a network's convolutions differ so much that one of two threads waited half the time.)
template <class Work>
void for_each_job(size_t count, const Work& work) {
  std::atomic<size_t> next{0};
  at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t, int64_t) {
    const torch::NoGradGuard no_gradients;  // it is a thread's own
    for (size_t i = next++; i < count; i = next++) work(i);
  });
}

}  // namespace mattec::quant
