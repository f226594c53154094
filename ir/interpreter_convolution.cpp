#include <algorithm>
#include <cstring>

#include "ir/interpreter_operations.h"

namespace mattec::ir {
namespace {

constexpr size_t outputs_at_once = 4, pixels_at_once = 2;
constexpr size_t run_multiple = 8;  // one vector of 16-bit integers

size_t round_up(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// One segment of the input, zero points removed, with its halo: [row][column][channel].
struct Image {
  int width = 0;
  int channels = 0;
  std::vector<int16_t> values;
  const int16_t* at(int y, int x) const {
    return values.data() + (static_cast<size_t>(y) * width + x) * channels;
  }
};

Image centred(const IntegerTensor& tensor, const PackedConvolution::Segment& segment, int padding) {
  Image image;
  image.width = tensor.size.width + 2 * padding;
  image.channels = tensor.channels;
  const int height = tensor.size.height + 2 * padding;
  image.values.resize(static_cast<size_t>(height) * image.width * image.channels);
  int16_t* to = image.values.data();
  for (int y = -padding; y < tensor.size.height + padding; ++y)
    for (int x = -padding; x < tensor.size.width + padding; ++x, to += image.channels) {
      const bool inside = y >= 0 && y < tensor.size.height && x >= 0 && x < tensor.size.width;
      const int32_t* from =
          inside
              ? &tensor.values[(static_cast<size_t>(y) * tensor.size.width + x) * tensor.channels]
              : segment.halo.data();
      for (int c = 0; c < image.channels; ++c)
        to[c] = static_cast<int16_t>(from[c] - segment.zero_point[static_cast<size_t>(c)]);
    }
  return image;
}

// acc[p][o] += factor * sum over k of patch[p][k] * weight[o][k], for two pixels and four outputs.
// The sums are apart so that the compiler makes each one vector of 16-bit products.
void accumulate_block(const int16_t* patch, const int16_t* weight, size_t run, int32_t factor,
                      int32_t* acc, size_t acc_stride) {
  const int16_t *x0 = patch, *x1 = patch + run;
  const int16_t *w0 = weight, *w1 = w0 + run, *w2 = w1 + run, *w3 = w2 + run;
  int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
  for (size_t k = 0; k < run; ++k) {
    a0 += x0[k] * w0[k];
    a1 += x0[k] * w1[k];
    a2 += x0[k] * w2[k];
    a3 += x0[k] * w3[k];
    b0 += x1[k] * w0[k];
    b1 += x1[k] * w1[k];
    b2 += x1[k] * w2[k];
    b3 += x1[k] * w3[k];
  }
  const int32_t first[outputs_at_once] = {a0, a1, a2, a3};
  const int32_t second[outputs_at_once] = {b0, b1, b2, b3};
  for (size_t o = 0; o < outputs_at_once; ++o) {
    acc[o] += first[o] * factor;
    acc[acc_stride + o] += second[o] * factor;
  }
}

// Scratch memory of one convolution; rows are [pixel, rounded up to 2][...].
struct Row {
  std::vector<int16_t> patches;
  std::vector<int32_t> acc;
  size_t pixels = 0;      // rounded up
  size_t acc_stride = 0;  // output channels, rounded up
};

// Adds one segment's share to a row of accumulators.
void accumulate_dense(const Convolution& conv, const PackedConvolution::Segment& segment,
                      const Image& image, int y, int width, Row& row) {
  row.patches.assign(row.pixels * segment.run, 0);
  const size_t line = static_cast<size_t>(conv.kernel) * image.channels;
  for (int x = 0; x < width; ++x) {
    int16_t* to = row.patches.data() + static_cast<size_t>(x) * segment.run;
    for (int ky = 0; ky < conv.kernel; ++ky) {
      const int in_y = y * conv.stride + ky * conv.dilation;
      if (conv.dilation == 1) {
        std::memcpy(to, image.at(in_y, x * conv.stride), line * sizeof(int16_t));
        to += line;
        continue;
      }
      for (int kx = 0; kx < conv.kernel; ++kx, to += image.channels)
        std::memcpy(to, image.at(in_y, x * conv.stride + kx * conv.dilation),
                    static_cast<size_t>(image.channels) * sizeof(int16_t));
    }
  }
  for (size_t x = 0; x < row.pixels; x += pixels_at_once)
    for (size_t o = 0; o < row.acc_stride; o += outputs_at_once)
      accumulate_block(row.patches.data() + x * segment.run,
                       segment.weight.data() + o * segment.run, segment.run, segment.factor,
                       row.acc.data() + x * row.acc_stride + o, row.acc_stride);
}

void accumulate_depthwise(const Convolution& conv, const PackedConvolution::Segment& segment,
                          const Image& image, int y, int width, Row& row) {
  for (int ky = 0; ky < conv.kernel; ++ky)
    for (int kx = 0; kx < conv.kernel; ++kx) {
      const int16_t* weight =
          segment.weight.data() + (static_cast<size_t>(ky) * conv.kernel + kx) * image.channels;
      for (int x = 0; x < width; ++x) {
        const int16_t* in =
            image.at(y * conv.stride + ky * conv.dilation, x * conv.stride + kx * conv.dilation);
        int32_t* acc = row.acc.data() + static_cast<size_t>(x) * row.acc_stride;
        for (int c = 0; c < image.channels; ++c) acc[c] += in[c] * weight[c];
      }
    }
}

// Accumulators -> integers of the output's grid.
void finish_row(const Op& op, const PackedConvolution& packed, const Row& row, size_t first,
                const IntegerTensor* residual, IntegerTensor& out) {
  const auto channels = static_cast<size_t>(out.channels);
  for (int x = 0; x < out.size.width; ++x)
    for (size_t c = 0; c < channels; ++c) {
      const size_t at = first + static_cast<size_t>(x) * channels + c;
      const int32_t added =
          residual != nullptr ? residual->values[at] - packed.residual_zero_point[c] : 0;
      const float value = convolution_epilogue(op.activation, packed.constants[c],
                                               row.acc[static_cast<size_t>(x) * row.acc_stride + c],
                                               added, residual != nullptr);
      out.values[at] = to_grid(value, op.rounding, packed.zero_point[c], packed.bounds[c].lowest,
                               packed.bounds[c].highest);
    }
}

// [output][input][row][column] -> the segment's order.
void pack_weights(const Convolution& conv, int first_channel, int all_channels,
                  PackedConvolution::Segment& segment) {
  const std::vector<int8_t>& from = conv.quantized_weight;
  const size_t area = static_cast<size_t>(conv.kernel) * conv.kernel;
  const auto channels = static_cast<size_t>(segment.channels);
  const auto outputs = static_cast<size_t>(conv.output_channels);
  if (conv.depthwise) {
    for (size_t k = 0; k < area; ++k)
      for (size_t c = 0; c < channels; ++c) segment.weight.push_back(int16_t{from[c * area + k]});
    return;
  }
  segment.run = round_up(area * channels, run_multiple);
  segment.weight.assign(round_up(outputs, outputs_at_once) * segment.run, 0);
  for (size_t o = 0; o < outputs; ++o)
    for (size_t k = 0; k < area; ++k)
      for (size_t c = 0; c < channels; ++c) {
        const size_t input =
            o * static_cast<size_t>(all_channels) + static_cast<size_t>(first_channel) + c;
        segment.weight[o * segment.run + k * channels + c] = int16_t{from[input * area + k]};
      }
}

}  // namespace

PackedConvolution pack(const Graph& graph, const Op& op) {
  const Convolution& conv = op.conv;
  PackedConvolution packed;
  int all_channels = 0;
  for (int s = 0; s < op.segment_count(); ++s)
    all_channels += graph.tensor(op.inputs[static_cast<size_t>(s)]).channels;
  int first_channel = 0;
  for (int s = 0; s < op.segment_count(); ++s) {
    PackedConvolution::Segment segment;
    segment.tensor = op.inputs[static_cast<size_t>(s)];
    const Tensor& tensor = graph.tensor(segment.tensor);
    segment.channels = tensor.channels;
    segment.factor = 1 << conv.segment_shift[static_cast<size_t>(s)];
    for (int c = 0; c < tensor.channels; ++c) {
      const float pad =
          conv.pad_value.empty() ? 0 : conv.pad_value[static_cast<size_t>(first_channel) + c];
      segment.zero_point.push_back(tensor.grid->zero_point_of(c));
      segment.halo.push_back(halo_value(*tensor.grid, c, pad));
    }
    pack_weights(conv, first_channel, all_channels, segment);
    first_channel += tensor.channels;
    packed.segments.push_back(std::move(segment));
  }
  const Grid& out = *graph.tensor(op.output).grid;
  for (int c = 0; c < conv.output_channels; ++c) {
    float residual_scale = 0;
    if (conv.has_residual) {
      const Grid& residual = *graph.tensor(op.residual()).grid;
      residual_scale = residual.scale_of(c);
      packed.residual_zero_point.push_back(residual.zero_point_of(c));
    }
    packed.constants.push_back(epilogue_constants(op.activation,
                                                  conv.accumulator_scale[static_cast<size_t>(c)],
                                                  out.scale_of(c), residual_scale));
    packed.bounds.push_back(epilogue_bounds(op.activation, out, c));
    packed.zero_point.push_back(out.zero_point_of(c));
  }
  return packed;
}

void convolve(const Op& op, const PackedConvolution& packed, Values& values) {
  const Convolution& conv = op.conv;
  IntegerTensor& out = values[static_cast<size_t>(op.output)];
  const IntegerTensor* residual =
      conv.has_residual ? &values[static_cast<size_t>(op.residual())] : nullptr;
  std::vector<Image> images;
  for (const PackedConvolution::Segment& segment : packed.segments)
    images.push_back(centred(values[static_cast<size_t>(segment.tensor)], segment, conv.padding));

  Row row;
  row.pixels = round_up(static_cast<size_t>(out.size.width), pixels_at_once);
  row.acc_stride = round_up(static_cast<size_t>(out.channels), outputs_at_once);
  for (int y = 0; y < out.size.height; ++y) {
    row.acc.assign(row.pixels * row.acc_stride, 0);
    for (int x = 0; x < out.size.width; ++x)
      std::copy(conv.quantized_bias.begin(), conv.quantized_bias.end(),
                row.acc.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(x) * row.acc_stride));
    for (size_t s = 0; s < images.size(); ++s)
      (conv.depthwise ? accumulate_depthwise : accumulate_dense)(conv, packed.segments[s],
                                                                 images[s], y, out.size.width, row);
    const size_t first = static_cast<size_t>(y) * out.size.width * out.channels;
    finish_row(op, packed, row, first, residual, out);
  }
}

}  // namespace mattec::ir
