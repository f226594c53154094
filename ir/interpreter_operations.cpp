#include "ir/interpreter_operations.h"

#include <algorithm>
#include <array>

namespace mattec::ir {
namespace {

// Calls body(index of the value, channel) for every value of the tensor.
template <typename Body>
void for_each_value(const IntegerTensor& tensor, const Body& body) {
  const auto channels = static_cast<size_t>(tensor.channels);
  for (size_t first = 0; first < tensor.values.size(); first += channels)
    for (size_t c = 0; c < channels; ++c) body(first + c, static_cast<int>(c));
}

int32_t rounded(float value, const Grid& grid, int channel) {
  return to_grid(value, Rounding::nearest_even, grid.zero_point_of(channel), grid.lowest(),
                 grid.highest());
}

void avg_pool2(const IntegerTensor& x, IntegerTensor& out) {
  size_t at = 0;
  for (int y = 0; y < out.size.height; ++y)
    for (int column = 0; column < out.size.width; ++column)
      for (int c = 0; c < out.channels; ++c) {
        int32_t sum = 0, count = 0;
        for (int in_y = 2 * y; in_y < std::min(2 * y + 2, x.size.height); ++in_y)
          for (int in_x = 2 * column; in_x < std::min(2 * column + 2, x.size.width); ++in_x) {
            sum += x.at(in_y, in_x, c);
            ++count;
          }
        // Halves go up; >> rounds down for the negative integers of a signed grid too.
        out.values[at++] = count == 4 ? (sum + 2) >> 2 : count == 2 ? (sum + 1) >> 1 : sum;
      }
}

// The two inputs of one output coordinate, and the first one's weight in quarters.
struct Taps {
  int first, second;
  int32_t weight;
};

Taps upsample_taps(int output, int extent) {
  const int i = output / 2;
  const int first = output % 2 == 0 ? i - 1 : i;
  return {std::max(first, 0), std::min(first + 1, extent - 1), output % 2 == 0 ? 1 : 3};
}

void upsample2(const IntegerTensor& x, IntegerTensor& out) {
  size_t at = 0;
  for (int y = 0; y < out.size.height; ++y) {
    const Taps rows = upsample_taps(y, x.size.height);
    for (int column = 0; column < out.size.width; ++column) {
      const Taps columns = upsample_taps(column, x.size.width);
      for (int c = 0; c < out.channels; ++c) {
        const auto along_row = [&](int row) {
          return columns.weight * x.at(row, columns.first, c) +
                 (4 - columns.weight) * x.at(row, columns.second, c);
        };
        const int32_t sixteenths =
            rows.weight * along_row(rows.first) + (4 - rows.weight) * along_row(rows.second);
        out.values[at++] = (sixteenths + 8) >> 4;
      }
    }
  }
}

void global_avg_pool(const IntegerTensor& x, const Grid& in, const Grid& grid, IntegerTensor& out) {
  std::vector<int32_t> sums(static_cast<size_t>(x.channels));  // fit: the constructor checked
  for_each_value(x, [&](size_t at, int c) {
    sums[static_cast<size_t>(c)] += x.values[at] - in.zero_point_of(c);
  });
  const int64_t count = static_cast<int64_t>(x.size.height) * x.size.width;
  for (int c = 0; c < x.channels; ++c) {
    const float multiplier = pool_multiplier(in.scale_of(c), grid.scale_of(c), count);
    out.values[static_cast<size_t>(c)] =
        rounded(static_cast<float>(sums[static_cast<size_t>(c)]) * multiplier, grid, c);
  }
}

void multiply(const IntegerTensor& x, const Grid& x_grid, const IntegerTensor& y,
              const Grid& y_grid, const Grid& grid, IntegerTensor& out) {
  std::vector<float> multipliers;
  multipliers.reserve(static_cast<size_t>(out.channels));
  for (int c = 0; c < out.channels; ++c)
    multipliers.push_back(
        product_multiplier(x_grid.scale_of(c), y_grid.scale_of(c), grid.scale_of(c)));
  const bool is_gate = y.size == Size{1, 1};
  for_each_value(out, [&](size_t at, int c) {
    const int32_t factor = y.values[is_gate ? static_cast<size_t>(c) : at];
    const int32_t product =
        (x.values[at] - x_grid.zero_point_of(c)) * (factor - y_grid.zero_point_of(c));
    out.values[at] =
        rounded(static_cast<float>(product) * multipliers[static_cast<size_t>(c)], grid, c);
  });
}

void requantize(const Op& op, const IntegerTensor& x, const Grid& in, const Grid& grid,
                IntegerTensor& out) {
  std::vector<float> multipliers;
  multipliers.reserve(static_cast<size_t>(out.channels));
  for (int c = 0; c < out.channels; ++c)
    multipliers.push_back(
        requantize_multiplier(in.scale_of(op.source_channel(c)), grid.scale_of(c)));
  const auto channels = static_cast<size_t>(out.channels);
  for_each_value(out, [&](size_t at, int c) {
    const int from = op.source_channel(c);
    const int32_t value =
        x.values[at / channels * static_cast<size_t>(x.channels) + static_cast<size_t>(from)];
    const auto difference = static_cast<float>(value - in.zero_point_of(from));
    out.values[at] = rounded(difference * multipliers[static_cast<size_t>(c)], grid, c);
  });
}

void slice(const IntegerTensor& x, int first_channel, IntegerTensor& out) {
  const auto channels = static_cast<size_t>(out.channels);
  for_each_value(out, [&](size_t at, int c) {
    const size_t pixel = at / channels;
    out.values[at] =
        x.values[pixel * static_cast<size_t>(x.channels) + static_cast<size_t>(first_channel + c)];
  });
}

void blend_states(const IntegerTensor& z, const Grid& z_grid, const IntegerTensor& h,
                  const IntegerTensor& c, IntegerTensor& out) {
  for_each_value(out, [&](size_t at, int channel) {
    out.values[at] =
        blend(z.values[at], h.values[at], c.values[at], blend_multiplier(z_grid.scale_of(channel)));
  });
}

}  // namespace

void interpret_avg_pool2(const Operands& of) { avg_pool2(of.value(0), of.out()); }
void interpret_global_avg_pool(const Operands& of) {
  global_avg_pool(of.value(0), of.grid(0), of.out_grid(), of.out());
}
void interpret_upsample2(const Operands& of) { upsample2(of.value(0), of.out()); }
void interpret_slice(const Operands& of) { slice(of.value(0), of.op.first_channel, of.out()); }
void interpret_mul(const Operands& of) {
  multiply(of.value(0), of.grid(0), of.value(1), of.grid(1), of.out_grid(), of.out());
}
void interpret_blend(const Operands& of) {
  blend_states(of.value(0), of.grid(0), of.value(1), of.value(2), of.out());
}
void interpret_requantize(const Operands& of) {
  requantize(of.op, of.value(0), of.grid(0), of.out_grid(), of.out());
}

}  // namespace mattec::ir
