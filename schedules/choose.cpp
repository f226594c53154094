// The schedule of a kernel by a cost model.
#include <algorithm>

#include "schedules/schedule.h"

namespace mattec::schedules {
namespace {

using generators::Part;

// Cost of a tile per useful multiply, in dot products: those themselves, the weight load shared by
// `pixels` and the broadcast shared by `vectors`, lanes that compute padding, and what a tile costs
// before and after its sums.
double cost(const Schedule& tile, const lower::Kernel& kernel, const lower::Isa& isa) {
  const lower::ConvolutionCosts& costs = isa.convolution;
  const int lanes = tile.lanes * tile.vectors, accumulators = tile.vectors * tile.pixels;
  const int channels = kernel.output.channels;
  const double padding = double(lower::round_up(channels, lanes)) / channels;
  const double columns = double(lower::round_up(kernel.width, tile.pixels)) / kernel.width;
  const double loads = costs.weight_load / tile.pixels + costs.input_broadcast / tile.vectors;
  const double latency = std::max(1.0, double(costs.covering_accumulators) / accumulators);
  const double sums = kernel.macs_per_row() / kernel.width / channels / kernel.depth;
  const double overhead = costs.tile / (sums * accumulators);
  return padding * columns * ((1 + loads) * latency + overhead);
}

void choose_tile(const lower::Kernel& kernel, const lower::Isa& isa, Schedule& made) {
  const int weights = isa.vector_bytes * 8 / (kernel.factor_bits * kernel.depth);
  const int lanes = std::min(weights, kernel.output.channels);
  const int registers = kernel.short_steps.empty() ? isa.accumulators : isa.accumulators_16_bits;
  double lowest = 1e30;
  Schedule tile = made;
  tile.lanes = lanes;
  for (int vectors = 1; vectors <= 8 && lanes * vectors <= kernel.output.channels; ++vectors)
    for (const int pixels : {1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 16}) {
      if (pixels > kernel.width || vectors * pixels > registers) continue;
      tile.vectors = vectors;
      tile.pixels = pixels;
      const double now = cost(tile, kernel, isa);
      if (now < lowest) {
        lowest = now;
        made = tile;
      }
    }
}

// The sums of a segment with `groups` groups of channels, none of more than `limit` steps. Adding a
// sum to 32 bits costs as much as two steps, so each takes as many steps as it may.
std::vector<Part> divide(int kernel, int groups, int limit) {
  constexpr int longest_row = 48;  // unrolled: beyond it, code outgrows the cache
  if (kernel * kernel * groups <= limit) return {{0, groups, 1, kernel, kernel, false}};
  if (kernel * groups <= limit) return {{0, groups, 1, kernel, 1, false}};
  std::vector<Part> sums;
  if (kernel > 1 && groups % limit != 0 && kernel * groups <= longest_row) {
    for (int first = 0; first < kernel * groups; first += limit)
      sums.push_back({first, std::min(limit, kernel * groups - first), 1, 1, 1, true});
    return sums;
  }
  if (groups >= limit) sums.push_back({0, limit, groups / limit, 1, 1, false});
  if (groups % limit != 0)
    sums.push_back({groups - groups % limit, groups % limit, 1, 1, 1, false});
  return sums;
}

std::vector<Reduction> pair_reductions(const lower::Kernel& kernel, size_t segment, int pixels) {
  std::vector<Reduction> made;
  const int groups = kernel.inputs[segment].channels / kernel.depth;
  for (const Part& sums : divide(kernel.kernel, groups, kernel.short_steps[segment])) {
    const int steps = sums.steps;
    Reduction reduction;
    reduction.part = sums;
    reduction.unrolled_groups = steps <= 12      ? steps
                                : steps % 4 == 0 ? 4
                                : steps % 3 == 0 ? 3
                                : steps % 2 == 0 ? 2
                                                 : 1;
    reduction.unrolled_columns = steps * pixels <= 24;
    made.push_back(reduction);
  }
  return made;
}

// Whole vectors of inputs, then what is left by halves.
std::vector<Reduction> element_reductions(const lower::Kernel& kernel, const lower::Isa& isa,
                                          size_t segment) {
  const lower::Layout& input = kernel.inputs[segment];
  const int groups = lower::runs_of(kernel, input).positions * input.channels / kernel.depth;
  const int whole = std::min(isa.vector_bytes * 8 / (kernel.factor_bits * kernel.depth), 8);
  std::vector<Reduction> made;
  int first = 0;
  for (int width = whole; width > 0; width /= 2) {
    const int covered = (groups - first) / width * width;
    if (covered == 0) continue;
    Reduction reduction;
    reduction.part.first = first;
    reduction.part.steps = covered;
    reduction.unrolled_groups = width;
    reduction.by_element = true;
    reduction.unrolled_turns = kernel.factor_bits == 8 && covered / width <= 3;
    made.push_back(reduction);
    first += covered;
  }
  return made;
}

// A short body leaves the loop's own instructions visible: what is short is unrolled.
Reduction product_reduction(const lower::Kernel& kernel, size_t segment) {
  const int groups = kernel.inputs[segment].channels / kernel.depth;
  Reduction made;
  made.part.steps = groups;
  if (groups <= (kernel.kernel == 1 ? 12 : 4)) {
    made.unrolled_groups = groups;
    made.unrolled_columns = groups <= 2;
  } else if (groups % 2 == 0 && kernel.depth == 2) {
    made.unrolled_groups = 2;  // half of what one turn does at a depth of 4
  }
  return made;
}

// Largest of the usual vector widths that the channels fill.
int lanes_for(int channels, int most) {
  int lanes = most;
  while (lanes > 4 && lanes > channels) lanes /= 2;
  return lanes;
}

Schedule choose_conv(const lower::Kernel& kernel, const lower::Isa& isa) {
  Schedule made;
  if (!kernel.microkernel.empty()) {
    made.lanes = made.output_lanes = lanes_for(kernel.output.channels, isa.value_lanes);
    made.pixels = std::min(4, kernel.width);
    made.inner = Inner::columns;
    return made;
  }
  choose_tile(kernel, isa, made);
  made.output_lanes = made.lanes;
  while (made.output_lanes < isa.value_lanes &&
         made.lanes * made.vectors % (2 * made.output_lanes) == 0)
    made.output_lanes *= 2;
  made.inner = Inner::columns;
  // 87 against 54 GMAC/s on one Zen 4 core (AVX2).
  made.widened_rows = kernel.factor_bits == 16;
  for (size_t j = 0; j < kernel.inputs.size(); ++j) {
    if (!kernel.short_steps.empty())
      made.reductions.push_back(pair_reductions(kernel, j, made.pixels));
    else if (isa.by_element)
      made.reductions.push_back(element_reductions(kernel, isa, j));
    else
      made.reductions.push_back({product_reduction(kernel, j)});
  }
  return made;
}

}  // namespace

Schedule choose(const lower::Kernel& kernel, const lower::Isa& isa) {
  using lower::KernelKind;
  const int channels = kernel.output.channels;
  Schedule made;
  switch (kernel.kind) {
    case KernelKind::conv:
      return choose_conv(kernel, isa);
    case KernelKind::depthwise: {
      // Neighbouring pixels share their widened inputs: 16 at once are 1.3 times as fast as 4. A
      // 5x5 kernel on 16 registers spills at 16.
      const bool spills = isa.vector_registers < 32 && kernel.kernel > 3;
      const int registers = std::max(1, isa.value_lanes * 4 / isa.vector_bytes);  // of a pixel
      made.lanes = lanes_for(channels, isa.value_lanes);
      made.pixels = std::min((spills ? 8 : 16) / registers, kernel.width);
      made.shared_inputs = isa.widening_products;
      break;
    }
    case KernelKind::global_avg_pool:
      made.lanes = lanes_for(channels, isa.vector_bytes);
      made.pixels = std::min(4, kernel.input_width);  // of the input, which are summed
      break;
    case KernelKind::unpack:
    case KernelKind::widen:
      made.lanes = lower::weight_block / 2;
      made.vectors = 2;
      break;
    case KernelKind::upsample2:
      made.lanes = lanes_for(channels, isa.vector_bytes / 2);  // sums of 16 bits
      made.pixels = std::min(kernel.width % 8 == 0 ? 8 : 4, kernel.width);
      // Tiles that are moved inwards may start at odd columns, and cover one more of the input's.
      made.shared_inputs = kernel.width % 4 == 0;
      break;
    case KernelKind::avg_pool2:
      made.lanes = lanes_for(channels, isa.vector_bytes / 2);
      made.pixels = std::min(2, kernel.width);
      break;
    case KernelKind::gate:
    case KernelKind::requantize:
    case KernelKind::gather:
      made.lanes = lanes_for(channels, isa.value_lanes);
      made.pixels = std::min(2, kernel.width);
      break;
  }
  made.output_lanes = made.lanes;
  return made;
}

}  // namespace mattec::schedules
