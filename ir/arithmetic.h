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

// tanh within 8.2e-4 for every float (3.7e-4 inside +-4.2, a tenth of the 2^-7 step it is stored
// in): x clamped to +-4.2, then the rational minimax approximation
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

// The integers that an epilogue may leave in one channel of a grid. relu and clamp01 are nothing
// but these bounds: from the integer of 0 (the zero point), and for clamp01 up to the integer of 1.
struct Bounds {
  int32_t lowest = 0;
  int32_t highest = 0;
};
Bounds epilogue_bounds(Activation activation, const Grid& grid, int channel);

// Value on the grid -> stored integer. The clamp comes first, on floats, so that no value can
// overflow the conversion; with integer bounds that equals clamping after the rounding.
// nearest_even: rne(min(max(value, lowest - zero_point), highest - zero_point)) + zero_point.
// down: trunc(min(max(value, 0), highest)); legal with zero point 0 only (verify.h).
int32_t to_grid(float value, Rounding rounding, int32_t zero_point, int32_t lowest,
                int32_t highest);

// mul: product of the two integers (zero points removed) -> output grid: float(x * y) * multiplier.
float product_multiplier(float x_scale, float y_scale, float output_scale);
// requantize: float(q - z) * multiplier.
float requantize_multiplier(float input_scale, float output_scale);
// global_avg_pool: float(sum of (q - z)) * multiplier; `count` = height * width.
float pool_multiplier(float input_scale, float output_scale, int64_t count);
// blend: clamp(h + rne(float(((c - 128) * 256 - h) * z) * multiplier)), h in units of 2^-15, c of
// 2^-7 around 128. The product stays below 2^24, so its conversion to float is exact.
float blend_multiplier(float z_scale);
int32_t blend(int32_t z, int32_t h, int32_t c, float multiplier);

// No multiplier of a legal graph is larger (verify.h): 2^31 times this is far inside binary32, so
// no infinity and no NaN can arise in an epilogue.
constexpr float largest_multiplier = 1152921504606846976.0F;  // 2^60

// The halo of a stored tensor that a convolution reads: the integer nearest to the real pad value
// (0 unless the convolution says otherwise), clamped to the grid.
int32_t halo_value(const Grid& grid, int channel, float pad_value);

}  // namespace mattec::ir
