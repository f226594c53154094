// Depthwise convolutions and kernels without weights: vectors of channels, several pixels at once.
#include <algorithm>

#include "schedules/kinds.h"

namespace mattec::schedules {

using namespace Halide;

namespace {

TailStrategy tail(int extent, int factor) {
  return extent % factor == 0 ? TailStrategy::RoundUp : TailStrategy::ShiftInwards;
}

// Largest of the usual vector widths that the channels fill.
int lanes_for(int channels, int most) {
  int lanes = most;
  while (lanes > 4 && lanes > channels) lanes /= 2;
  return lanes;
}

}  // namespace

void schedule_depthwise(const lower::Kernel& kernel, const Machine& machine,
                        generators::Pipeline& p) {
  Var co("co"), ci("ci"), xo("xo"), xi("xi");
  const int lanes = lanes_for(kernel.output.channels, machine.vector_bytes / 4);
  // Neighbouring pixels share their widened inputs: 16 at once are 1.3 times as fast as 4. A 5x5
  // kernel on 16 registers spills at 16.
  const bool few_registers = machine.vector_bytes < 64;
  const int pixels = std::min(few_registers && kernel.kernel > 3 ? 8 : 16, kernel.width);
  p.output.split(p.x, xo, xi, pixels, tail(kernel.width, pixels))
      .split(p.c, co, ci, lanes, tail(kernel.output.channels, lanes))
      .reorder(ci, xi, co, xo, p.y)
      .vectorize(ci)
      .unroll(xi);
  p.accumulator.compute_at(p.output, co).store_in(MemoryType::Register);
  p.accumulator.vectorize(p.c).unroll(p.x);
  const RDom& r = p.updates[0].domain;
  p.accumulator.update(0)
      .reorder(p.c, p.x, r.x, r.y)
      .vectorize(p.c)
      .unroll(p.x)
      .unroll(r.x)
      .unroll(r.y);
}

void schedule_elementwise(const lower::Kernel& kernel, const Machine& machine,
                          generators::Pipeline& p) {
  Var co("co"), ci("ci"), xo("xo"), xi("xi");
  const int channels = kernel.output.channels;
  if (kernel.kind == lower::KernelKind::global_avg_pool) {
    const int lanes = lanes_for(channels, machine.vector_bytes);
    p.output.split(p.c, co, ci, lanes, tail(channels, lanes)).vectorize(ci);
    p.accumulator.compute_at(p.output, co).store_in(MemoryType::Register).vectorize(p.c);
    const RDom& r = p.updates[0].domain;
    p.accumulator.update(0)
        .reorder(p.c, r.x, r.y)
        .vectorize(p.c)
        .unroll(r.x, std::min(4, kernel.input_width));
    return;
  }
  if (kernel.kind == lower::KernelKind::unpack || kernel.kind == lower::KernelKind::widen) {
    p.output.split(p.c, co, ci, 32).vectorize(ci).unroll(co);
    return;
  }
  const bool widen16 =
      kernel.kind == lower::KernelKind::upsample2 || kernel.kind == lower::KernelKind::avg_pool2;
  const int lanes = lanes_for(channels, machine.vector_bytes / (widen16 ? 2 : 4));
  const int pixels = std::min(kernel.width, kernel.kind == lower::KernelKind::upsample2 ? 4 : 2);
  p.output.split(p.x, xo, xi, pixels, tail(kernel.width, pixels))
      .split(p.c, co, ci, lanes, tail(channels, lanes))
      .reorder(ci, xi, co, xo, p.y)
      .vectorize(ci)
      .unroll(xi);
}

void apply(const lower::Kernel& kernel, const Machine& machine, generators::Pipeline& pipeline) {
  switch (kernel.kind) {
    case lower::KernelKind::conv:
      return schedule_conv(kernel, conv_tile(kernel, machine), pipeline);
    case lower::KernelKind::depthwise:
      return schedule_depthwise(kernel, machine, pipeline);
    default:
      return schedule_elementwise(kernel, machine, pipeline);
  }
}

}  // namespace mattec::schedules
