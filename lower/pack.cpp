#include "lower/pack.h"

#include <cstdlib>
#include <cstring>

#include "ir/arithmetic.h"
#include "microkernels/blocks.h"

namespace mattec::lower {
namespace {

int weight_inputs(const ir::Convolution& conv) {
  const int taps = conv.kernel * conv.kernel;
  return static_cast<int>(conv.quantized_weight.size()) / (conv.output_channels * taps);
}

// Output channels [first_output, first_output + outputs).
void pack_block(const ir::Convolution& conv, const std::vector<Segment>& segments, int first_output,
                int outputs, WeightOrder order, std::vector<int8_t>& packed) {
  const int k = conv.kernel, inputs = weight_inputs(conv);
  const int together = order.depth * order.together;
  for (const Segment& segment : segments) {
    const int padded = segment.padded_channels();
    const int run = round_up(segment.positions * padded, order.depth);
    std::vector<int> channels(size_t(padded), -1);  // of the weights, of each stored one
    for (int c = 0; c < segment.count; ++c)
      channels[size_t(segment.stored.empty() ? c : segment.stored[size_t(c)])] = c;
    for (int tap = 0; tap < k * k; tap += segment.positions)
      for (int first = 0; first < run; first += order.depth)
        for (int at = 0; at < outputs * order.depth; ++at) {
          const int o = first_output + at / together * order.together + at % order.together;
          const int i = first + at % together / order.together;
          const bool inside = o < conv.output_channels && i < segment.positions * padded;
          const int channel = inside ? channels[size_t(i % padded)] : -1;
          const size_t from =
              (size_t(o) * inputs + segment.weight_channel + channel) * k * k + tap + i / padded;
          packed.push_back(channel >= 0 ? conv.quantized_weight[from] : int8_t(0));
        }
  }
}

}  // namespace

std::vector<int8_t> pack_dense(const ir::Convolution& conv, const std::vector<Segment>& segments,
                               int padded_outputs, WeightOrder order) {
  std::vector<int8_t> packed;
  if (order.unit == 0) {
    pack_block(conv, segments, 0, padded_outputs, order, packed);
    return packed;
  }
  int units = round_up(conv.output_channels, order.unit) / order.unit, first = 0;
  while (units > 0) {
    const int now = mattec_block_units(units, order.most_units);
    pack_block(conv, segments, first, now * order.unit, order, packed);
    first += now * order.unit;
    units -= now;
  }
  return packed;
}

std::vector<int8_t> pack_depthwise(const ir::Convolution& conv, int padded_outputs) {
  const int taps = conv.kernel * conv.kernel;
  std::vector<int8_t> packed(size_t(taps) * padded_outputs, 0);
  for (int o = 0; o < conv.output_channels; ++o)
    for (int tap = 0; tap < taps; ++tap)
      packed[size_t(tap) * padded_outputs + o] = conv.quantized_weight[size_t(o) * taps + tap];
  return packed;
}

std::vector<uint8_t> pack_nibbles(const std::vector<int8_t>& weights) {
  constexpr size_t block = weight_block, half = block / 2;
  std::vector<uint8_t> packed((weights.size() + block - 1) / block * half, 0);
  for (size_t i = 0; i < weights.size(); ++i) {
    const auto nibble = static_cast<unsigned>(weights[i]) & 15U;
    const bool is_high = i % block >= half;
    packed[i / block * half + i % half] |= static_cast<uint8_t>(is_high ? nibble << 4 : nibble);
  }
  return packed;
}

std::vector<int32_t> folded_bias(const ir::Convolution& conv,
                                 const std::vector<Segment>& segments) {
  const int taps = conv.kernel * conv.kernel, inputs = weight_inputs(conv);
  std::vector<int32_t> bias = conv.quantized_bias;
  for (int o = 0; o < conv.output_channels; ++o)
    for (const Segment& segment : segments) {
      int32_t sum = 0;
      const int channels = conv.depthwise ? 1 : segment.count;
      for (int c = 0; c < channels; ++c) {
        const int grid_channel = segment.grid_channel + (conv.depthwise ? o : c);
        const int32_t zero = segment.grid->zero_point_of(grid_channel) - segment.offset;
        const size_t at =
            (size_t(o) * inputs + (conv.depthwise ? 0 : segment.weight_channel + c)) * taps;
        for (int tap = 0; tap < taps; ++tap) sum += conv.quantized_weight[at + tap] * zero;
      }
      bias[size_t(o)] -= sum * (1 << segment.shift);
    }
  return bias;
}

int64_t signed_reach(const ir::Convolution& conv, const std::vector<Segment>& segments,
                     int output) {
  const int taps = conv.kernel * conv.kernel, inputs = weight_inputs(conv);
  int64_t reach = 0;
  for (const Segment& segment : segments) {
    const int64_t largest = int64_t{1} << (segment.grid->bits - 1 + segment.shift);
    const size_t first =
        (size_t(output) * inputs + (conv.depthwise ? 0 : segment.weight_channel)) * taps;
    const size_t count = size_t(conv.depthwise ? 1 : segment.count) * taps;
    for (size_t i = first; i < first + count; ++i)
      reach += std::abs(int64_t{conv.quantized_weight[i]}) * largest;
  }
  return reach;
}

Constants::Constants(const Kernel& kernel)
    : kernel_(kernel),
      padded_(round_up(kernel.output.channels, channel_block)),
      words_(size_t(padded_) * constant_rows(kernel), 0) {
  for (int c = 0; c < padded_; ++c) {
    if (has_row(kernel, row_zero_point)) set_range(row_of(kernel, row_zero_point), c, 0, 0, 0);
    for (int copy = 0; copy < kernel.copy_count(); ++copy)
      set_range(row_of(kernel, copy, copy_zero_point), c, 0, 0, 0);
  }
}

void Constants::set(int row, int channel, int32_t value) {
  words_[size_t(row) * padded_ + channel] = value;
}

void Constants::set(int row, int channel, float value) {
  int32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  set(row, channel, bits);
}

void Constants::set_int(ConstantRow row, int channel, int32_t value) {
  set(row_of(kernel_, row), channel, value);
}

void Constants::set_float(ConstantRow row, int channel, float value) {
  set(row_of(kernel_, row), channel, value);
}

void Constants::set_range(int row, int channel, int32_t zero_point, int32_t low, int32_t high) {
  if (kernel_.clamps_in_16_bits) {
    set(row, channel, zero_point);
    set(row + 1, channel, low);
    set(row + 2, channel, high);
  } else {
    set(row, channel, zero_point - rounding_bias);
    set(row + 1, channel, static_cast<float>(low));
    set(row + 2, channel, static_cast<float>(high));
  }
}

void Constants::set_grid(int channel, const ir::Grid& grid, int grid_channel,
                         ir::Activation activation) {
  static_assert(row_low == row_zero_point + 1 && row_high == row_zero_point + 2);
  const int32_t zero = grid.zero_point_of(grid_channel);
  const ir::Bounds bounds = ir::epilogue_bounds(activation, grid, grid_channel);
  set_range(row_of(kernel_, row_zero_point), channel, zero - stored_offset(grid, kernel_.is_signed),
            bounds.lowest - zero, bounds.highest - zero);
}

void Constants::set_copy(int copy, int channel, float scale, const ir::Grid& grid,
                         int grid_channel) {
  static_assert(copy_low == copy_zero_point + 1 && copy_high == copy_zero_point + 2);
  const int32_t zero = grid.zero_point_of(grid_channel);
  set(row_of(kernel_, copy, copy_multiplier), channel,
      ir::requantize_multiplier(scale, grid.scale_of(grid_channel)));
  set_range(row_of(kernel_, copy, copy_zero_point), channel,
            zero - stored_offset(grid, kernel_.is_signed), grid.lowest() - zero,
            grid.highest() - zero);
}

}  // namespace mattec::lower
