// Depthwise convolutions and kernels without weights: vectors of channels, several pixels at once.
#include "schedules/kinds.h"

namespace mattec::schedules {

using namespace Halide;

namespace {

TailStrategy tail(int extent, int factor) {
  return extent % factor == 0 ? TailStrategy::RoundUp : TailStrategy::ShiftInwards;
}

}  // namespace

void schedule_depthwise(const Schedule& schedule, const lower::Kernel& kernel,
                        generators::Pipeline& p) {
  const Var tile = tile_output(schedule, kernel, p);
  p.accumulator.compute_at(p.output, tile).store_in(MemoryType::Register);
  p.accumulator.vectorize(p.c, schedule.lanes).unroll(p.c).unroll(p.x);
  const RDom& r = p.updates[0].domain;
  if (schedule.shared_inputs) {
    p.inputs[0].compute_at(p.accumulator, r.y).store_in(MemoryType::Register);
    p.inputs[0].vectorize(p.c, schedule.lanes).unroll(p.c).unroll(p.x);
  }
  p.accumulator.update(0)
      .reorder(p.c, p.x, r.x, r.y)
      .vectorize(p.c, schedule.lanes)
      .unroll(p.c)
      .unroll(p.x)
      .unroll(r.x)
      .unroll(r.y);
}

void schedule_elementwise(const Schedule& schedule, const lower::Kernel& kernel,
                          generators::Pipeline& p) {
  Var co("co"), ci("ci");
  if (kernel.kind == lower::KernelKind::global_avg_pool) {
    const int lanes = schedule.lanes;
    p.output.split(p.c, co, ci, lanes, tail(kernel.output.channels, lanes)).vectorize(ci);
    p.accumulator.compute_at(p.output, co).store_in(MemoryType::Register).vectorize(p.c);
    const RDom& r = p.updates[0].domain;
    p.accumulator.update(0).reorder(p.c, r.x, r.y).vectorize(p.c).unroll(r.x, schedule.pixels);
    return;
  }
  if (kernel.kind == lower::KernelKind::unpack || kernel.kind == lower::KernelKind::widen) {
    p.output.split(p.c, co, ci, schedule.lanes).vectorize(ci).unroll(co);
    return;
  }
  const Var tile = tile_output(schedule, kernel, p);
  if (!schedule.shared_inputs) return;
  for (Func& input : p.inputs)
    input.compute_at(p.output, tile).store_in(MemoryType::Register).vectorize(p.c).unroll(p.x);
}

generators::Pipeline apply(const Schedule& schedule, const lower::Kernel& kernel,
                           const std::string& microkernel) {
  generators::Division division;
  for (const std::vector<Reduction>& segment : schedule.reductions) {
    division.emplace_back();
    for (const Reduction& reduction : segment) division.back().push_back(reduction.part);
  }
  generators::Pipeline pipeline = generators::build(kernel, division, microkernel);
  switch (kernel.kind) {
    case lower::KernelKind::conv:
      schedule_conv(schedule, kernel, pipeline);
      break;
    case lower::KernelKind::depthwise:
      schedule_depthwise(schedule, kernel, pipeline);
      break;
    default:
      schedule_elementwise(schedule, kernel, pipeline);
  }
  return pipeline;
}

}  // namespace mattec::schedules
