// Dense convolutions: a tile of output channels times pixels stays in registers over all segments.
#include <algorithm>

#include "schedules/kinds.h"

namespace mattec::schedules {

using namespace Halide;

namespace {

constexpr int accumulator_registers_avx512 = 26;  // of 32: the rest holds weights, input, constants
constexpr int accumulator_registers_avx2 = 12;    // of 16
// Sums of pairs in 16 bits; with 12 of them the 32-bit ones beside them cost 4 % more than with 8.
constexpr int accumulator_registers_pairs = 8;

// Cost of a tile per useful multiply, in dot products: those themselves, the weight load shared by
// `pixels` and the broadcast shared by `vectors`, lanes that compute padding, and what a tile costs
// before and after its sums (loop ends that are predicted wrongly, filling the pipeline).
double cost(const Tile& tile, const lower::Kernel& kernel) {
  const int lanes = tile.lanes * tile.vectors, accumulators = tile.vectors * tile.pixels;
  const int channels = kernel.output.channels;
  const double padding = double(lower::round_up(channels, lanes)) / channels;
  const double columns = double(lower::round_up(kernel.width, tile.pixels)) / kernel.width;
  const double loads = 0.5 / tile.pixels + 0.15 / tile.vectors;
  // Fewer than 8 accumulators leave the dot product's latency (4-5 cycles, 2 a cycle) uncovered.
  const double latency = std::max(1.0, 8.0 / accumulators);
  const double sums = kernel.macs_per_row() / kernel.width / channels / kernel.lanes;
  const double overhead = 30.0 / (sums * accumulators);
  return padding * columns * ((1 + loads) * latency + overhead);
}

// 16-bit dot products want 16-bit inputs: each row is widened once, into a ring of the rows that
// the kernel covers, instead of once per use (87 against 54 GMAC/s on one Zen 4 core).
void widen_inputs(const lower::Kernel& kernel, generators::Pipeline& p) {
  const int rows = (kernel.kernel - 1) * kernel.dilation + 1;
  int ring = 1;  // a power of two, so that the index is a mask
  while (ring < rows + kernel.stride - 1) ring *= 2;
  for (size_t j = 0; j < p.inputs.size(); ++j) {
    Func& in = p.inputs[j];
    // Register: on the stack whatever its size (Stack would go to the heap beyond 16 KiB).
    in.store_root()
        .compute_at(p.output, p.y)
        .store_in(MemoryType::Register)
        .fold_storage(p.y, ring);
    in.vectorize(p.c, kernel.inputs[j].channels % 8 == 0 ? 8 : 4);
  }
}

// The 16-bit sums of one tile live in registers while they grow; the 32-bit ones wait on the stack.
void schedule_pairs(const Tile& tile, const generators::Pipeline::Update& update,
                    generators::Pipeline& p) {
  const int block = tile.lanes * tile.vectors;
  const RDom& r = update.domain;
  Stage add = p.accumulator.update(update.index);
  add.reorder(r.x, p.c, p.x, r.y, r.z, r.w).atomic().vectorize(r.x).vectorize(p.c, tile.lanes);
  add.unroll(p.c).unroll(p.x);

  Func partial = update.partial;
  const RDom& s = update.steps;
  partial.compute_at(p.accumulator, r.y).store_in(MemoryType::Register);
  partial.bound_extent(p.half, 2).bound_extent(p.c, block).reorder(p.half, p.c, p.x);
  partial.vectorize(p.half).vectorize(p.c, tile.lanes).unroll(p.c).unroll(p.x);
  Stage sum = partial.update();
  sum.reorder(p.half, p.c, p.x, s.x, s.y, s.z);
  sum.vectorize(p.half).vectorize(p.c, tile.lanes).unroll(p.c).unroll(p.x);
  const int steps = update.step_count;
  if (steps <= 12)
    sum.unroll(s.x);
  else
    sum.unroll(s.x, steps % 4 == 0 ? 4 : steps % 3 == 0 ? 3 : steps % 2 == 0 ? 2 : 1);
  if (steps * tile.pixels <= 24) sum.unroll(s.y);

  Func pair = update.pair;
  pair.compute_at(partial, p.c).store_in(MemoryType::Register);
  pair.bound_extent(p.half, 2).bound_extent(p.c, tile.lanes).reorder(p.half, p.c);
  pair.vectorize(p.half).vectorize(p.c);
  const RVar lane = pair.rvars()[0];
  // A saturating reduction: associative as long as nothing saturates.
  pair.update().reorder(lane, p.half, p.c).atomic(true).vectorize(lane);
  pair.update().vectorize(p.half).vectorize(p.c);
}

}  // namespace

Tile conv_tile(const lower::Kernel& kernel, const Machine& machine) {
  const int lanes = std::min(machine.vector_bytes / 4, kernel.output.channels);
  const int registers = !kernel.pairs.empty()        ? accumulator_registers_pairs
                        : machine.vector_bytes == 64 ? accumulator_registers_avx512
                                                     : accumulator_registers_avx2;
  const int channels = kernel.output.channels;
  Tile best;
  double lowest = 1e30;
  for (int vectors = 1; vectors <= 8; ++vectors) {
    if (lanes * vectors > channels) break;
    for (const int pixels : {1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 16}) {
      if (pixels > kernel.width || vectors * pixels > registers) continue;
      const Tile tile{lanes, vectors, pixels};
      const double now = cost(tile, kernel);
      if (now < lowest) {
        lowest = now;
        best = tile;
      }
    }
  }
  return best;
}

void schedule_conv(const lower::Kernel& kernel, const Tile& tile, generators::Pipeline& p) {
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
  int segment = 0;
  for (const auto& update : p.updates) {
    if (update.partial.defined()) {
      schedule_pairs(tile, update, p);
      continue;
    }
    Stage stage = acc.update(update.index);
    if (!update.domain.defined()) {
      stage.vectorize(p.c, tile.lanes).unroll(p.c).unroll(p.x);
      continue;
    }
    const RDom& r = update.domain;
    stage.reorder(r.x, p.c, p.x, r.y, r.z, r.w).vectorize(p.c, tile.lanes).unroll(p.c).unroll(p.x);
    stage.atomic().vectorize(r.x);
    // A short body leaves the loop's own instructions visible: unroll what is short.
    const int groups = kernel.inputs[size_t(segment++)].channels / kernel.lanes;
    if (groups <= (kernel.kernel == 1 ? 12 : 4)) {
      stage.unroll(r.y);
      if (groups <= 2) stage.unroll(r.z);
    } else if (groups % 2 == 0 && kernel.lanes == 2) {
      stage.unroll(r.y, 2);
    }
  }
  if (kernel.lanes == 2) widen_inputs(kernel, p);
}

}  // namespace mattec::schedules
