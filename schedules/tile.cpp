// Tiles of the output, which conv.cpp and elementwise.cpp share.
#include "schedules/kinds.h"

namespace mattec::schedules {

using namespace Halide;

namespace {

// In-place updates must not be computed twice, so tiles may not overlap there.
TailStrategy tail(int extent, int factor, bool in_place) {
  if (extent % factor == 0) return TailStrategy::RoundUp;
  return in_place ? TailStrategy::GuardWithIf : TailStrategy::ShiftInwards;
}

}  // namespace

Var tile_output(const Schedule& schedule, const lower::Kernel& kernel, generators::Pipeline& p) {
  const Var co("co"), ci("ci"), xo("xo"), xi("xi");
  const int block = schedule.lanes * schedule.vectors, pixels = schedule.pixels;
  const bool in_place = kernel.epilogue == lower::Epilogue::blend;
  const bool columns_inside = schedule.inner == Inner::columns;
  Stage out = in_place ? p.output.update(0) : Stage(p.output);
  out.split(p.x, xo, xi, pixels, tail(kernel.width, pixels, in_place))
      .split(p.c, co, ci, block, tail(kernel.output.channels, block, in_place));
  if (columns_inside)
    out.reorder(ci, xi, xo, co, p.y);
  else
    out.reorder(ci, xi, co, xo, p.y);
  out.vectorize(ci, schedule.output_lanes).unroll(ci).unroll(xi);
  return columns_inside ? xo : co;
}

}  // namespace mattec::schedules
