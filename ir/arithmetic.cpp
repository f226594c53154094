#include "ir/arithmetic.h"

namespace mattec::ir {
namespace {

// For a NaN, which no legal graph produces, the lower bound: defined on every input.
float clamp(float value, float lowest, float highest) {
  const float raised = value > lowest ? value : lowest;
  return raised < highest ? raised : highest;
}

}  // namespace

EpilogueConstants epilogue_constants(Activation activation, float accumulator_scale,
                                     float output_scale, float residual_scale) {
  const double output = output_scale;
  EpilogueConstants constants;
  constants.to_real = accumulator_scale;
  constants.residual = static_cast<float>(static_cast<double>(residual_scale) / output);
  switch (activation) {
    case Activation::none:
    case Activation::relu:
    case Activation::clamp01:
      constants.to_grid = static_cast<float>(static_cast<double>(accumulator_scale) / output);
      break;
    case Activation::hardswish:
    case Activation::hardsigmoid:
      constants.to_grid = static_cast<float>(1.0 / (6.0 * output));
      break;
    case Activation::sigmoid:
    case Activation::tanh:
      constants.to_grid = static_cast<float>(1.0 / output);
      break;
  }
  return constants;
}

float tanh_approximation(float x) {
  const float c = clamp(x, -tanh_limit, tanh_limit);
  const float s = c * c;
  return c * (tanh_p0 + tanh_p1 * s) / (1.0F + s * (tanh_q0 + tanh_q1 * s));
}

float sigmoid_approximation(float x) { return 0.5F * tanh_approximation(0.5F * x) + 0.5F; }

float convolution_epilogue(Activation activation, const EpilogueConstants& constants, int32_t acc,
                           int32_t residual, bool has_residual) {
  const float a = static_cast<float>(acc);
  const float v = a * constants.to_real;
  switch (activation) {
    case Activation::hardswish:
      return (v * clamp(v + 3.0F, 0.0F, 6.0F)) * constants.to_grid;
    case Activation::hardsigmoid:
      return clamp(v + 3.0F, 0.0F, 6.0F) * constants.to_grid;
    case Activation::sigmoid:
      return sigmoid_approximation(v) * constants.to_grid;
    case Activation::tanh:
      return tanh_approximation(v) * constants.to_grid;
    case Activation::none:
    case Activation::relu:
    case Activation::clamp01:
      break;
  }
  const float t = a * constants.to_grid;
  return has_residual ? t + static_cast<float>(residual) * constants.residual : t;
}

Bounds epilogue_bounds(Activation activation, const Grid& grid, int channel) {
  Bounds bounds{grid.lowest(), grid.highest()};
  const int32_t zero_point = grid.zero_point_of(channel);
  if (activation == Activation::relu || activation == Activation::clamp01)
    bounds.lowest = zero_point;
  if (activation == Activation::clamp01) bounds.highest = halo_value(grid, channel, 1.0F);
  return bounds;
}

int32_t to_grid(float value, Rounding rounding, int32_t zero_point, int32_t lowest,
                int32_t highest) {
  if (rounding == Rounding::down)
    return static_cast<int32_t>(clamp(value, 0.0F, static_cast<float>(highest)));
  const float inside = clamp(value, static_cast<float>(lowest - zero_point),
                             static_cast<float>(highest - zero_point));
  return static_cast<int32_t>(std::rint(inside)) + zero_point;
}

float product_multiplier(float x_scale, float y_scale, float output_scale) {
  return static_cast<float>(static_cast<double>(x_scale) * y_scale / output_scale);
}

float requantize_multiplier(float input_scale, float output_scale) {
  return static_cast<float>(static_cast<double>(input_scale) / output_scale);
}

float pool_multiplier(float input_scale, float output_scale, int64_t count) {
  return static_cast<float>(static_cast<double>(input_scale) /
                            (static_cast<double>(output_scale) * static_cast<double>(count)));
}

float blend_multiplier(float z_scale) { return z_scale; }

int32_t blend(int32_t z, int32_t h, int32_t c, float multiplier) {
  const int32_t difference = (c - 128) * 256 - h;
  const float change = static_cast<float>(difference * z) * multiplier;
  const int32_t sum = h + static_cast<int32_t>(std::rint(change));
  return sum < -32768 ? -32768 : sum > 32767 ? 32767 : sum;
}

int32_t halo_value(const Grid& grid, int channel, float pad_value) {
  const int32_t zero_point = grid.zero_point_of(channel);
  const double steps = std::rint(static_cast<double>(pad_value) / grid.scale_of(channel));
  const double q = steps + zero_point;
  if (!(q > grid.lowest())) return grid.lowest();
  return q < grid.highest() ? static_cast<int32_t>(q) : grid.highest();
}

}  // namespace mattec::ir
