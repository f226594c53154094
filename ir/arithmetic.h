// Every rounding of the engine, in one place. docs/numerics.md derives these formulas.
//
// Integer accumulators are exact. What follows them is IEEE 754 binary32 with
// round-to-nearest-even, one operation at a time in the order written here: no fused multiply-add,
// no reassociation. That makes the result the same on every target, and it is cheaper than a 32-bit
// fixed-point multiply-high on x86 (93-97 % against 85-94 % of peak in the convolution kernels).
#pragma once

#include <cmath>
#include <cstdint>

#include "ir/graph.h"

namespace mattec::ir {

// Multipliers a kernel needs for one output channel of a convolution. All derived in double and
// rounded once to float.
struct EpilogueConstants {
  float to_real = 0;   // accumulator -> real value, for hardswish, hardsigmoid, sigmoid, tanh
  float to_grid = 0;   // accumulator (none, relu, clamp01) or activated value -> output grid
  float residual = 0;  // residual's integer (zero point removed) -> output grid
};
EpilogueConstants epilogue_constants(Activation activation, float accumulator_scale,
                                     float output_scale, float residual_scale);

// tanh within 5e-4 for every float: x clamped to +-4.2, then the rational minimax approximation
//   s = x * x;  x * (p0 + p1 * s) / (1 + s * (q0 + q1 * s))
// each operation rounded to float, in the order of the parentheses.
constexpr float tanh_limit = 4.2F;
constexpr float tanh_p0 = 0.9984906315803528F, tanh_p1 = 0.08014089614152908F;
constexpr float tanh_q0 = 0.40969014167785645F, tanh_q1 = 0.006146083120256662F;
float tanh_approximation(float x);
// 0.5 * tanh_approximation(0.5 * x) + 0.5
float sigmoid_approximation(float x);

// Accumulator -> value on the output grid, zero point not yet added, not yet rounded.
// `residual` is the residual's integer less its zero point.
float convolution_epilogue(Activation activation, const EpilogueConstants& constants, int32_t acc,
                           int32_t residual, bool has_residual);

// Rounds, adds the zero point, clamps to [lowest, highest].
// nearest_even: clamp after rounding to nearest even. down: max(value, 0), truncated.
int32_t to_grid(float value, Rounding rounding, int32_t zero_point, int32_t lowest,
                int32_t highest);

// mul: product of the two integers (zero points removed) -> output grid: float(x * y) * multiplier.
float product_multiplier(float x_scale, float y_scale, float output_scale);
// requantize: float(q - z) * multiplier.
float requantize_multiplier(float input_scale, float output_scale);
// global_avg_pool: float(sum of (q - z)) * multiplier; `count` = height * width.
float pool_multiplier(float input_scale, float output_scale, int64_t count);
// blend: h + round(float((c - 128) * 256 - h) * z) * multiplier), h in units of 2^-15, c of 2^-7.
float blend_multiplier(float z_scale);

// The halo of a stored tensor that a convolution reads: the integer nearest to the real pad value
// (0 unless the convolution says otherwise), clamped to the grid.
int32_t halo_value(const Grid& grid, int channel, float pad_value);

}  // namespace mattec::ir
