// A convolution's sums by a micro-kernel (microkernels/accumulate.h), a row at a time.
#include "generators/generators.h"
#include "microkernels/accumulate.h"

namespace mattec::generators {

using namespace Halide;

void call_microkernel(const lower::Kernel& kernel, const std::string& microkernel,
                      const std::vector<ImageParam>& inputs, const ImageParam& weights,
                      const ImageParam& constants, Pipeline& made) {
  const int padded = lower::round_up(kernel.output.channels, lower::channel_block);
  std::vector<ExternFuncArgument> arguments;
  for (size_t j = 0; j < MATTEC_MOST_SEGMENTS; ++j)
    arguments.emplace_back(inputs[j < inputs.size() ? j : 0]);
  arguments.emplace_back(weights);
  arguments.emplace_back(constants);
  for (const int value :
       {static_cast<int>(inputs.size()), kernel.kernel, kernel.stride, kernel.dilation,
        kernel.width, kernel.output.channels, padded, kernel.any_shift() ? 0 : 1})
    arguments.emplace_back(Expr(value));
  for (size_t j = 0; j < MATTEC_MOST_SEGMENTS; ++j) {
    const bool real = j < inputs.size();
    const lower::Layout layout = real ? kernel.inputs[j] : lower::Layout{};
    const int steps = real && !kernel.short_steps.empty() ? kernel.short_steps[j] : 0;
    const lower::Runs runs = lower::runs_of(kernel, layout);
    const int run_bytes = lower::round_up(runs.positions * layout.channels, kernel.depth);
    for (const int value : {layout.pixel_stride, layout.row_stride, runs.runs, run_bytes,
                            real ? kernel.shifts[j] : 0, steps})
      arguments.emplace_back(Expr(value));
  }
  Func& acc = made.accumulator;
  acc = Func("acc");
  acc.define_extern(microkernel, arguments, Int(32), {made.c, made.x, made.y}, NameMangling::C);
  // Constants, since Halide would let the micro-kernel choose; tiles may reach beyond the row.
  acc.bound(made.c, 0, padded);
  acc.bound(made.x, 0, kernel.width + MATTEC_MOST_PIXELS - 1);
  acc.bound_extent(made.y, 1);
}

}  // namespace mattec::generators
