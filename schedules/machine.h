// The part of a target that schedules know. No Halide here, so that targets/target.h needs none.
#pragma once

namespace mattec::schedules {

// What a schedule needs to know of a target.
struct Machine {
  int vector_bytes = 32;      // 64: AVX-512, 32: AVX2, 16: NEON
  int dot_product_lanes = 4;  // products a dot-product instruction sums: 4 (8 bit) or 2 (16 bit)
  bool pair_sums = false;     // has one that sums 2 products of 8 bits in 16: for 4-bit operands
};

}  // namespace mattec::schedules
