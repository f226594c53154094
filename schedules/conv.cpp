// Dense convolutions: a tile of output channels times pixels stays in registers over all segments.
#include <algorithm>

#include "schedules/kinds.h"

namespace mattec::schedules {

using namespace Halide;

namespace {

constexpr int accumulator_registers_avx512 = 26;  // of 32: the rest holds weights, input, constants
constexpr int accumulator_registers_avx2 = 10;    // of 16

// Cost of a tile in instructions per useful multiply: dot products, plus the weight load shared by
// `pixels` and the broadcast shared by `vectors`, plus lanes that compute padding.
double cost(const Tile& tile, int channels, int width) {
  const int lanes = tile.lanes * tile.vectors;
  const double padding = double(lower::round_up(channels, lanes)) / channels;
  const double columns = double(lower::round_up(width, tile.pixels)) / width;
  const double loads = 0.5 / tile.pixels + 0.15 / tile.vectors;
  // Fewer than 8 accumulators leave the dot product's latency (4-5 cycles, 2 a cycle) uncovered.
  const double latency = std::max(1.0, 8.0 / (tile.vectors * tile.pixels));
  return padding * columns * (1 + loads) * latency;
}

}  // namespace

Tile conv_tile(const lower::Kernel& kernel, const Machine& machine) {
  const int lanes = std::min(machine.vector_bytes / 4, kernel.output.channels);
  const int registers =
      machine.vector_bytes == 64 ? accumulator_registers_avx512 : accumulator_registers_avx2;
  const int channels = kernel.output.channels;
  Tile best;
  double lowest = 1e30;
  for (int vectors = 1; vectors <= 8; ++vectors) {
    if (lanes * vectors > channels) break;
    for (const int pixels : {1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 16}) {
      if (pixels > kernel.width || vectors * pixels > registers) continue;
      const Tile tile{lanes, vectors, pixels};
      const double now = cost(tile, channels, kernel.width);
      if (now < lowest) {
        lowest = now;
        best = tile;
      }
    }
  }
  return best;
}

void schedule_conv(const lower::Kernel& kernel, const Machine& machine, const Tile& tile,
                   generators::Pipeline& p) {
  Var co("co"), ci("ci"), xo("xo"), xi("xi");
  Func& acc = p.accumulator;
  const int block = tile.lanes * tile.vectors;
  // In-place updates must not be computed twice, so tiles may not overlap there.
  const bool in_place = kernel.epilogue == lower::Epilogue::blend;
  const bool exact_columns = kernel.width % tile.pixels == 0;
  const bool exact_channels = kernel.output.channels % block == 0;
  const TailStrategy columns = exact_columns ? TailStrategy::RoundUp
                               : in_place    ? TailStrategy::GuardWithIf
                                             : TailStrategy::ShiftInwards;
  const TailStrategy channels = exact_channels ? TailStrategy::RoundUp
                                : in_place     ? TailStrategy::GuardWithIf
                                               : TailStrategy::ShiftInwards;
  Stage out = in_place ? p.output.update(0) : Stage(p.output);
  out.split(p.x, xo, xi, tile.pixels, columns)
      .split(p.c, co, ci, block, channels)
      .reorder(ci, xi, xo, co, p.y)
      .vectorize(ci, tile.lanes)
      .unroll(ci)
      .unroll(xi);
  acc.compute_at(p.output, xo).store_in(MemoryType::Register);
  acc.bound_extent(p.c, block);
  acc.vectorize(p.c, tile.lanes).unroll(p.c).unroll(p.x);
  for (const auto& update : p.updates) {
    Stage stage = acc.update(update.index);
    if (!update.domain.defined()) {
      stage.vectorize(p.c, tile.lanes).unroll(p.c).unroll(p.x);
      continue;
    }
    const RDom& r = update.domain;
    stage.reorder(r.x, p.c, p.x, r.y, r.z, r.w).vectorize(p.c, tile.lanes).unroll(p.c).unroll(p.x);
    if (machine.dot_product_lanes == 4) {
      stage.atomic().vectorize(r.x);
    } else {
      RVar pair("pair"), half("half");
      stage.split(r.x, half, pair, 2).reorder(pair, p.c, p.x, half, r.y, r.z, r.w);
      stage.atomic().vectorize(pair).unroll(half);
    }
  }
}

}  // namespace mattec::schedules
