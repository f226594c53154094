// Dense convolutions: a tile of output channels times pixels stays in registers over all segments.
#include "schedules/kinds.h"

namespace mattec::schedules {

using namespace Halide;

namespace {

// Each input row is widened once, into a ring of the rows that the kernel covers.
void widen_inputs(const lower::Kernel& kernel, generators::Pipeline& p) {
  const int rows = (kernel.kernel - 1) * kernel.dilation + 1;
  int ring = 1;  // a power of two, so that the index is a mask
  while (ring < rows + kernel.stride - 1) ring *= 2;
  for (size_t j = 0; j < p.inputs.size(); ++j) {
    Func& in = p.inputs[j];
    // Heap: targets/scratch.h puts it into the buffer.
    in.store_root().compute_at(p.output, p.y).store_in(MemoryType::Heap).fold_storage(p.y, ring);
    in.vectorize(p.c, kernel.inputs[j].channels % 8 == 0 ? 8 : 4);
  }
  p.arguments.emplace_back(ImageParam(UInt(8), 1, "scratch"));
}

void unroll(Stage& stage, const RVar& loop, int extent, int times) {
  if (times >= extent)
    stage.unroll(loop);
  else if (times > 1)
    stage.unroll(loop, times);
}

void schedule_products(const Schedule& tile, const Reduction& reduction, int depth,
                       const generators::Pipeline::Update& update, generators::Pipeline& p) {
  const RDom& r = update.domain;
  Stage stage = p.accumulator.update(update.index);
  if (reduction.by_element) {
    RVar turn("turn"), group("group");
    const int groups = reduction.unrolled_groups;
    stage.split(r.y, turn, group, groups)
        .reorder(r.x, group, p.c, p.x, turn, r.z, r.w)
        .vectorize(p.c, tile.lanes)
        .unroll(p.c)
        .unroll(p.x)
        .unroll(group);
    if (reduction.unrolled_turns) stage.unroll(turn);
    Func staged = update.staged;
    staged.compute_at(p.accumulator, p.c).store_in(MemoryType::Register);
    staged.bound_extent(p.c, groups * depth).vectorize(p.c).unroll(p.x);
  } else {
    stage.reorder(r.x, p.c, p.x, r.y, r.z, r.w).vectorize(p.c, tile.lanes).unroll(p.c).unroll(p.x);
    unroll(stage, r.y, reduction.part.steps, reduction.unrolled_groups);
  }
  if (depth > 1) stage.atomic().vectorize(r.x);
  if (reduction.unrolled_columns) stage.unroll(r.z);
}

// The 16-bit sums of one tile live in registers while they grow; the 32-bit ones wait on the stack.
void schedule_pairs(const Schedule& tile, const Reduction& reduction,
                    const generators::Pipeline::Update& update, generators::Pipeline& p) {
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
  unroll(sum, s.x, reduction.part.steps, reduction.unrolled_groups);
  if (reduction.unrolled_columns) sum.unroll(s.y);

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

void schedule_conv(const Schedule& tile, const lower::Kernel& kernel, generators::Pipeline& p) {
  Func& acc = p.accumulator;
  if (!kernel.microkernel.empty()) {
    tile_output(tile, kernel, p);
    acc.compute_at(p.output, p.y).store_in(MemoryType::Heap);
    p.arguments.emplace_back(ImageParam(UInt(8), 1, "scratch"));
    return;
  }
  const int block = tile.lanes * tile.vectors;
  acc.compute_at(p.output, tile_output(tile, kernel, p)).store_in(MemoryType::Register);
  acc.bound_extent(p.c, block);
  acc.vectorize(p.c, tile.lanes).unroll(p.c).unroll(p.x);
  for (const auto& update : p.updates) {
    if (!update.domain.defined()) {
      acc.update(update.index).vectorize(p.c, tile.lanes).unroll(p.c).unroll(p.x);
      continue;
    }
    const Reduction& reduction = tile.reductions[update.segment][update.part];
    if (update.pair.defined())
      schedule_pairs(tile, reduction, update, p);
    else
      schedule_products(tile, reduction, kernel.depth, update, p);
  }
  if (tile.widened_rows) widen_inputs(kernel, p);
}

}  // namespace mattec::schedules
