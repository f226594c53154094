// The most multiply-accumulates this processor can do: what kernels are measured against.
#pragma once

namespace mattec::tools {

// The instruction that does a target's 8-bit convolutions.
enum class DotProduct {
  avx512vnni,  // vpdpbusd on 512 bits: 64 a instruction
  avx2         // vpmaddwd + vpaddd on 256 bits: 16 a pair
};

// 1e9 multiply-accumulates a second by `threads` threads together, registers only: the best of
// many short rounds of each thread. 0 where the processor lacks the instruction.
double peak_gmacs(DotProduct kind, int threads);

}  // namespace mattec::tools
