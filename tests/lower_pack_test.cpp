// Packed weights, folded biases and epilogue constants against the formulas that define them.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "ir/arithmetic.h"
#include "lower/pack.h"
#include "tests/ir_graphs.h"

namespace mattec::lower {
namespace {

// A convolution over segments of odd channel counts; weights are never 0, so that padding shows.
struct Example {
  ir::Convolution conv;
  std::vector<ir::Grid> grids;
  std::vector<Segment> segments;
};

Example example(uint32_t seed, std::vector<int> channels, int outputs, int kernel) {
  test::GraphMaker random(seed);
  random.only_8_bits = true;
  Example made;
  made.conv.kernel = kernel;
  made.conv.output_channels = outputs;
  int inputs = 0;
  for (const int count : channels) {
    made.grids.push_back(random.grid(count, false));
    inputs += count;
  }
  for (size_t j = 0, first = 0; j < channels.size(); first += size_t(channels[j++]))
    made.segments.push_back({channels[j], &made.grids[j], 0, static_cast<int>(first),
                             static_cast<int>(channels.size() - 1 - j) * 2});
  for (int i = 0; i < outputs * inputs * kernel * kernel; ++i)
    made.conv.quantized_weight.push_back(
        static_cast<int8_t>(random.pick<int>({random.uniform(-128, -1), random.uniform(1, 127)})));
  for (int o = 0; o < outputs; ++o)
    made.conv.quantized_bias.push_back(random.uniform(-100000, 100000));
  return made;
}

// Where a weight lies, from the order that pack.h states.
size_t place(const Example& e, size_t segment, int o, int c, int tap, int padded, int depth) {
  const int taps = e.conv.kernel * e.conv.kernel;
  const int multiple = std::max(depth, 4);
  const auto stored = [&](size_t j) {
    return (e.segments[j].count + multiple - 1) / multiple * multiple;
  };
  size_t before = 0;
  for (size_t j = 0; j < segment; ++j) before += size_t(stored(j) * taps * padded);
  const int groups = stored(segment) / depth;
  return before + size_t(((tap * groups + c / depth) * padded + o) * depth + c % depth);
}

TEST(Pack, DenseWeightsLieInTheirOrder) {
  // 12 channels: whole groups of 4, not of 8.
  for (const auto& [depth, stored] : {std::pair(1, 4 + 8 + 12), std::pair(2, 4 + 8 + 12),
                                      std::pair(4, 4 + 8 + 12), std::pair(8, 8 + 8 + 16)}) {
    const Example e = example(1, {3, 8, 12}, 7, 3);
    const int padded = 16, taps = 9, inputs = 23;
    std::vector<int8_t> wanted(size_t(stored * taps * padded), 0);
    for (size_t s = 0; s < e.segments.size(); ++s)
      for (int o = 0; o < 7; ++o)
        for (int c = 0; c < e.segments[s].count; ++c)
          for (int tap = 0; tap < taps; ++tap)
            wanted[place(e, s, o, c, tap, padded, depth)] =
                e.conv
                    .quantized_weight[size_t(o * inputs + e.segments[s].weight_channel + c) * taps +
                                      size_t(tap)];
    EXPECT_EQ(pack_dense(e.conv, e.segments, padded, {depth}), wanted) << depth;
  }
}

// What micro-kernels read: blocks of outputs, runs of a filter's row, outputs side by side.
struct BlockCase {
  WeightOrder order;
  std::vector<int> blocks;  // their outputs
};

// Where a weight lies in a block of `outputs`, the first of which is 0 here.
size_t place_in_block(const Example& e, const WeightOrder& order, int outputs, size_t segment,
                      int o, int c, int tap) {
  const auto run_bytes = [&](size_t j) {
    return round_up(e.segments[j].positions * round_up(e.segments[j].count, 4), order.depth);
  };
  size_t before = 0;
  for (size_t j = 0; j < segment; ++j)
    before += size_t(9 / e.segments[j].positions * run_bytes(j) * outputs);
  const int positions = e.segments[segment].positions;
  const int in_run = tap % positions * round_up(e.segments[segment].count, 4) + c;
  const int group = in_run / order.depth, of_group = in_run % order.depth;
  return before +
         size_t(tap / positions * run_bytes(segment) * outputs + group * order.depth * outputs +
                o / order.together * order.together * order.depth + of_group * order.together +
                o % order.together);
}

TEST(Pack, DenseWeightsOfMicroKernelsLieInBlocksOfRuns) {
  for (const BlockCase& now : {BlockCase{{8, 1, 4, 5}, {12, 12}}, BlockCase{{4, 8, 8, 2}, {16, 8}},
                               BlockCase{{4, 8, 8, 4}, {24}}}) {
    Example e = example(6, {3, 8, 12}, 21, 3);
    e.segments[0].positions = e.segments[2].positions = 3;
    const int inputs = 23;
    const std::vector<int8_t> packed = pack_dense(e.conv, e.segments, 32, now.order);
    std::vector<int8_t> wanted(packed.size(), 0);
    size_t block_start = 0;
    int first = 0;
    for (const int outputs : now.blocks) {
      for (size_t s = 0; s < e.segments.size(); ++s)
        for (int o = first; o < std::min(first + outputs, 21); ++o)
          for (int c = 0; c < e.segments[s].count; ++c)
            for (int tap = 0; tap < 9; ++tap)
              wanted.at(block_start + place_in_block(e, now.order, outputs, s, o - first, c, tap)) =
                  e.conv
                      .quantized_weight[size_t(o * inputs + e.segments[s].weight_channel + c) * 9 +
                                        size_t(tap)];
      const int per_output =
          3 * round_up(12, now.order.depth) + 9 * 8 + 3 * round_up(36, now.order.depth);
      block_start += size_t(outputs * per_output);
      first += outputs;
    }
    EXPECT_EQ(packed.size(), block_start);
    EXPECT_EQ(packed, wanted) << now.order.depth << " " << now.order.together;
  }
}

// Kernels take segments in the order of their shifts: the weights must follow.
TEST(Pack, DenseWeightsFollowTheOrderOfTheSegments) {
  Example e = example(2, {4, 6}, 5, 1);
  std::swap(e.segments[0], e.segments[1]);
  const std::vector<int8_t> packed = pack_dense(e.conv, e.segments, 16, {4});
  EXPECT_EQ(packed[0], e.conv.quantized_weight[4]);                   // channel 4 of output 0
  EXPECT_EQ(packed[4], e.conv.quantized_weight[10 + 4]);              // and of output 1
  EXPECT_EQ(packed[size_t{2} * 16 * 4], e.conv.quantized_weight[0]);  // two groups further
  EXPECT_EQ(packed[size_t{2} * 16 * 4 + 3], e.conv.quantized_weight[3]);
}

TEST(Pack, DepthwiseWeightsLieInTheirOrder) {
  Example e = example(3, {1}, 5, 3);  // 5 filters of one channel
  const std::vector<int8_t> packed = pack_depthwise(e.conv, 16);
  ASSERT_EQ(packed.size(), 9U * 16);
  for (int tap = 0; tap < 9; ++tap)
    for (int o = 0; o < 16; ++o)
      EXPECT_EQ(packed[size_t(tap * 16 + o)],
                o < 5 ? e.conv.quantized_weight[size_t(o) * 9 + size_t(tap)] : 0);
}

// The definition, b + sum (w (x - z)) << e, and what kernels compute, b' + sum (w x) << e, agree.
TEST(Pack, FoldedBiasReplacesTheZeroPoints) {
  const Example e = example(4, {3, 8, 5}, 7, 3);
  const std::vector<int32_t> folded = folded_bias(e.conv, e.segments);
  std::mt19937 random(5);
  const int taps = 9, inputs = 16;
  for (int o = 0; o < 7; ++o) {
    int64_t defined = e.conv.quantized_bias[size_t(o)], computed = folded[size_t(o)];
    for (const Segment& segment : e.segments)
      for (int c = 0; c < segment.count; ++c)
        for (int tap = 0; tap < taps; ++tap) {
          const int64_t x = random() % 256;
          const size_t at = size_t(o * inputs + segment.weight_channel + c) * taps + size_t(tap);
          const int8_t w = e.conv.quantized_weight[at];
          defined += w * (x - segment.grid->zero_point_of(c)) * (1 << segment.shift);
          computed += w * x * (1 << segment.shift);
        }
    EXPECT_EQ(computed, defined) << "output " << o;
  }
}

TEST(Pack, FoldedBiasOfADepthwiseConvolutionTakesItsOwnChannel) {
  Example e = example(6, {5}, 5, 3);
  e.conv.depthwise = true;
  e.conv.quantized_weight.resize(size_t{5} * 9);
  ir::Grid grid = test::unit_grid();
  grid.scale.assign(5, 1.0F);
  grid.zero_point = {0, 1, 10, 100, 255};
  e.segments = {{5, &grid, 0, 0, 0}};
  const std::vector<int32_t> folded = folded_bias(e.conv, e.segments);
  for (int o = 0; o < 5; ++o) {
    int32_t sum = 0;
    for (int tap = 0; tap < 9; ++tap) sum += e.conv.quantized_weight[size_t(o) * 9 + size_t(tap)];
    EXPECT_EQ(folded[size_t(o)], e.conv.quantized_bias[size_t(o)] - sum * grid.zero_point_of(o));
  }
}

// One step more could leave 16 bits.
TEST(Pack, ShortSumsFillSixteenBits) {
  EXPECT_EQ(short_steps(2, 8, false, 4), 8);
  EXPECT_EQ(short_steps(2, 4, false, 4), 136);
  EXPECT_EQ(short_steps(2, 4, false, 8), 8);
  EXPECT_EQ(short_steps(2, 8, false, 8), 0);
  EXPECT_EQ(short_steps(1, 8, true, 4), 31);
  EXPECT_EQ(short_steps(1, 4, true, 4), 511);
  EXPECT_EQ(short_steps(1, 4, true, 8), 31);
}

// The first 32 of 64 weights in the low halves of 32 bytes, two's complement.
TEST(Pack, NibblesLieInTheirOrder) {
  std::vector<int8_t> weights(70);
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] = static_cast<int8_t>(i % 13 == 0 ? -8 : static_cast<int>(i % 8));
  const std::vector<uint8_t> packed = pack_nibbles(weights);
  ASSERT_EQ(packed.size(), 64U);
  for (size_t i = 0; i < 128; ++i) {
    const uint8_t pair = packed[i / 64 * 32 + i % 32];
    const int nibble = i % 64 < 32 ? pair & 15 : pair >> 4;
    const int wanted = i < weights.size() ? weights[i] : 0;
    EXPECT_EQ(nibble >= 8 ? nibble - 16 : nibble, wanted) << i;
  }
}

Kernel kernel_with_copy() {
  Kernel kernel;
  kernel.output.channels = 13;
  kernel.copies.resize(1);
  return kernel;
}

float as_float(int32_t word) {
  float value = 0;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

int32_t word(const Constants& constants, int row, int channel) {
  return constants.words()[size_t(row) * 16 + size_t(channel)];
}

// Scales around 1 / (n + 1/2), where 1 lies between two integers: the bound must be rounded as the
// interpreter rounds it.
TEST(Pack, BoundsAreTheInterpreters) {
  const Kernel kernel = kernel_with_copy();
  for (int n = 0; n < 260; ++n)
    for (const ir::Activation activation :
         {ir::Activation::none, ir::Activation::relu, ir::Activation::clamp01}) {
      const ir::Grid grid = {8, false, {static_cast<float>(1.0 / (n + 0.5))}, {n % 7}};
      Constants constants(kernel);
      constants.set_grid(3, grid, 0, activation);
      const ir::Bounds bounds = ir::epilogue_bounds(activation, grid, 0);
      EXPECT_EQ(as_float(word(constants, row_of(kernel, row_low), 3)), bounds.lowest - n % 7);
      EXPECT_EQ(as_float(word(constants, row_of(kernel, row_high), 3)), bounds.highest - n % 7)
          << "scale 1 / " << n + 0.5;
      EXPECT_EQ(word(constants, row_of(kernel, row_zero_point), 3), n % 7 - rounding_bias);
    }
}

// Integers, and no rounding bias in the zero point.
TEST(Pack, BoundsAreIntegersWhereTheyAreClampedIn16Bits) {
  Kernel kernel = kernel_with_copy();
  kernel.clamps_in_16_bits = kernel.is_signed = true;
  Constants constants(kernel);
  constants.set_grid(3, {8, false, {0.5F}, {200}}, 0, ir::Activation::relu);
  EXPECT_EQ(word(constants, row_of(kernel, row_zero_point), 3), 200 - 128);
  EXPECT_EQ(word(constants, row_of(kernel, row_low), 3), 0);
  EXPECT_EQ(word(constants, row_of(kernel, row_high), 3), 55);
  constants.set_copy(0, 4, 0.5F, {4, false, {0.25F}, {3}}, 0);
  EXPECT_EQ(word(constants, row_of(kernel, 0, copy_zero_point), 4), 3 - 8);
  EXPECT_EQ(word(constants, row_of(kernel, 0, copy_low), 4), -3);
  EXPECT_EQ(word(constants, row_of(kernel, 0, copy_high), 4), 12);
}

TEST(Pack, CopiesHaveTheirOwnGrid) {
  const Kernel kernel = kernel_with_copy();
  Constants constants(kernel);
  constants.set_copy(0, 4, 0.5F, {4, false, {1.0F, 0.25F}, {9, 3}}, 1);
  EXPECT_EQ(as_float(word(constants, row_of(kernel, 0, copy_multiplier), 4)), 2.0F);
  EXPECT_EQ(as_float(word(constants, row_of(kernel, 0, copy_low), 4)), -3.0F);
  EXPECT_EQ(as_float(word(constants, row_of(kernel, 0, copy_high), 4)), 12.0F);
  EXPECT_EQ(word(constants, row_of(kernel, 0, copy_zero_point), 4), 3 - rounding_bias);
}

TEST(Pack, PaddingChannelsGiveZero) {
  const Kernel kernel = kernel_with_copy();
  const Constants constants(kernel);
  for (int c = 0; c < 16; ++c) {
    EXPECT_EQ(word(constants, row_of(kernel, row_low), c), 0);
    EXPECT_EQ(word(constants, row_of(kernel, row_high), c), 0);
    EXPECT_EQ(word(constants, row_of(kernel, row_zero_point), c), -rounding_bias);
    EXPECT_EQ(word(constants, row_of(kernel, 0, copy_low), c), 0);
    EXPECT_EQ(word(constants, row_of(kernel, 0, copy_high), c), 0);
    EXPECT_EQ(word(constants, row_of(kernel, 0, copy_zero_point), c), -rounding_bias);
  }
}

// A kernel has the rows that it reads and no others: no two share a place.
TEST(Pack, RowsAreThoseThatTheKernelReads) {
  Kernel kernel;
  kernel.activation = ir::Activation::relu;
  EXPECT_EQ(constant_rows(kernel), 5);
  kernel.activation = ir::Activation::tanh;
  EXPECT_EQ(constant_rows(kernel), 6);
  kernel.epilogue = Epilogue::blend;
  kernel.copies.resize(2);
  EXPECT_EQ(constant_rows(kernel), 7 + 2 * copy_rows);
  EXPECT_EQ(row_of(kernel, row_to_real), 5);
  EXPECT_EQ(row_of(kernel, row_second), 6);
  EXPECT_EQ(row_of(kernel, 0, copy_multiplier), 7);
  EXPECT_EQ(row_of(kernel, 1, copy_multiplier), 7 + copy_rows);
  Kernel average;
  average.kind = KernelKind::avg_pool2;
  EXPECT_EQ(constant_rows(average), 0);
  average.only_copies = true;
  EXPECT_EQ(constant_rows(average), 1 + copy_rows);
}

}  // namespace
}  // namespace mattec::lower
