// Dense convolution over segments, and the GRU's two fused epilogues.
#include <utility>

#include "generators/arguments.h"
#include "generators/generators.h"

namespace mattec::generators {

using namespace Halide;

namespace {

// Adds one segment by sums of pairs: `group` is the first of its weights.
void add_pairs(const lower::Kernel& kernel, const std::vector<Part>& parts, size_t segment,
               const ImageParam& input, const ImageParam& weights, int group, Pipeline& made) {
  const Var c = made.c, x = made.x, y = made.y, half = made.half;
  const Var step("step"), block("block"), column("column"), row("row");
  const int k = kernel.kernel, groups = kernel.inputs[segment].channels / 4;
  // Two products: saturating_add of widening_mul is the form that becomes vpmaddubsw. Nothing
  // saturates: two products fit, and so do all that a sum adds up. Those additions are plain ones:
  // saturating ones would take the multiplier's place (0.80 against 0.56 cycles a pair on Zen 5).
  const RDom r2(0, 2, "two" + std::to_string(segment));
  const auto pair_of = [&](const std::string& name, bool along_row) {
    const Expr at = along_row ? step % groups : step;
    const Expr dx = along_row ? step / groups : column;
    const Expr value = input(4 * at + 2 * half + r2, x * kernel.stride + dx * kernel.dilation,
                             y * kernel.stride + row * kernel.dilation);
    const Expr weight = weights(2 * half + r2, c, group + at + groups * (dx + k * row));
    Func pair(name);
    pair(half, c, x, y, step, column, row) = cast<int16_t>(0);
    pair(half, c, x, y, step, column, row) =
        saturating_add(pair(half, c, x, y, step, column, row), widening_mul(value, weight));
    return pair;
  };
  for (size_t part = 0; part < parts.size(); ++part) {
    const Part& sums = parts[part];
    const std::string name = std::to_string(made.updates.size());
    const RDom s(0, sums.steps, 0, sums.columns, 0, sums.rows, "s" + name);
    const Func pair = pair_of("pair" + name, sums.along_row);
    Func partial("pairs" + name);
    partial(half, c, x, y, block, column, row) = cast<int16_t>(0);
    partial(half, c, x, y, block, column, row) +=
        pair(half, c, x, y, sums.first + s.x + block * sums.steps, column + s.y, row + s.z);

    const int columns = sums.along_row ? 1 : k / sums.columns;
    const RDom r(0, 2, 0, sums.blocks, 0, columns, 0, k / sums.rows, "r" + name);
    made.accumulator(c, x, y) += cast<int32_t>(partial(r.x, c, x, y, r.y, r.z, r.w));
    made.updates.push_back(
        {static_cast<int>(made.updates.size()), r, segment, part, {}, pair, partial, s});
  }
}

// Adds one segment by dot products of `depth` channels.
void add_products(const lower::Kernel& kernel, const std::vector<Part>& parts, size_t segment,
                  const ImageParam& input, const ImageParam& weights, int group, Pipeline& made) {
  const Var c = made.c, x = made.x, y = made.y;
  Func in("in" + std::to_string(segment));
  const Expr pixel = input(c, x, y);
  in(c, x, y) = kernel.factor_bits == 16 ? cast<int16_t>(pixel) : pixel;
  made.inputs.push_back(in);
  const lower::Runs runs = lower::runs_of(kernel, kernel.inputs[segment]);
  const int depth = kernel.depth, k = kernel.kernel;
  const int groups = runs.positions * kernel.inputs[segment].channels / depth;
  for (size_t part = 0; part < parts.size(); ++part) {
    const std::string name = std::to_string(made.updates.size());
    Func staged("staged" + name);
    staged(c, x, y) = in(c, x, y);
    const RDom r(0, depth, 0, parts[part].steps, 0, runs.runs, 0, k, "r" + name);
    const Expr at = parts[part].first + r.y;
    const Expr w = weights(r.x, c, group + at + groups * (r.z + runs.runs * r.w));
    const Expr value = staged(r.x + depth * at, x * kernel.stride + r.z * kernel.dilation,
                              y * kernel.stride + r.w * kernel.dilation);
    // 16-bit factors of a 32-bit sum: the form that LLVM turns into dot-product instructions.
    made.accumulator(c, x, y) +=
        cast<int32_t>(cast<int16_t>(w)) * cast<int32_t>(cast<int16_t>(value));
    made.updates.push_back({static_cast<int>(made.updates.size()), r, segment, part, staged});
  }
}

// acc(c, x, y): bias first (or last, where segments are shifted), then one update per segment.
void accumulate(const lower::Kernel& kernel, const Division& division,
                const std::vector<ImageParam>& inputs, const ImageParam& weights,
                const Constants& constants, Pipeline& made) {
  const Var c = made.c, x = made.x, y = made.y;
  Func& acc = made.accumulator;
  acc = Func("acc");
  const bool bias_last = kernel.any_shift();
  acc(c, x, y) = bias_last ? Expr(0) : constants.integer(lower::row_bias);
  int group = 0;
  for (size_t j = 0; j < inputs.size(); ++j) {
    const auto add = kernel.short_steps.empty() ? add_products : add_pairs;
    add(kernel, division[j], j, inputs[j], weights, group, made);
    group += kernel.inputs[j].channels / kernel.depth * kernel.kernel * kernel.kernel;
    if (kernel.shifts[j] != 0) {
      acc(c, x, y) = acc(c, x, y) << kernel.shifts[j];
      made.updates.push_back({static_cast<int>(made.updates.size()), RDom()});
    }
  }
}

// Unsigned 8-bit integer of a sigmoid, as a float: r and z of the GRU, zero point 0.
Expr gate_integer(const Expr& value) { return rounded(min(max(value, 0.0f), 255.0f)); }

// The candidate's `value` -> h += z (c - h) and h's copies. All integers are below 2^24, so floats
// hold them and their products exactly, and a 32-bit integer multiplication is four times as slow.
void blend(const lower::Kernel& kernel, const Constants& constants, const RowRange& rows,
           const Expr& value, Pipeline& made) {
  const Var c = made.c, x = made.x, y = made.y;
  const ImageParam z = input_parameter("z", stored_type(kernel), kernel.extra, kernel.width);
  const Expr candidate = to_grid(value, constants, kernel.rounding).centred;
  // An update of the output itself: h is read and written in place, and all values are computed
  // before any is stored.
  Func& output = made.output;
  output = Func("output");
  std::vector<Expr> undefined(kernel.copies.size(), undef(stored_type(kernel)));
  undefined.insert(undefined.begin(), undef<int16_t>());
  output(c, x, y) = Tuple(undefined);
  const Expr old = cast<float>(cast<int32_t>(output(c, x, y)[0]));
  const Expr gate = cast<int32_t>(z(c, x, y)) + constants.offset();
  const Expr step = (candidate * 256.0f - old) * cast<float>(gate);
  // Within 2^22: z is a sigmoid's integer, at most 1 in real value, and the step below 2^16.
  const Expr change = rounded(step * constants.real(lower::row_second));
  const Expr updated = min(max(old + change, -32768.0f), 32767.0f);
  std::vector<Expr> values = copies(kernel, constants, updated);
  // The low half of the sum's bits is the integer: rounding_bias has none there.
  values.insert(values.begin(), cast<int16_t>(round_biased(updated)));
  output(c, x, y) = Tuple(values);
  made.arguments.emplace_back(z);
  bind_outputs(kernel, rows, made);
}

}  // namespace

Pipeline build_conv(const lower::Kernel& kernel, const Division& division,
                    const std::string& microkernel) {
  Pipeline made;
  const Var c = made.c, x = made.x, y = made.y;
  const RowRange rows;
  const int channels = kernel.output.channels;
  const int padded = lower::round_up(channels, lower::channel_block);

  std::vector<ImageParam> inputs;
  int groups = 0;
  const int columns =
      (kernel.width - 1) * kernel.stride + (kernel.kernel - 1) * kernel.dilation + 1;
  for (const lower::Layout& layout : kernel.inputs) {
    lower::Layout read = layout;
    read.channels *= lower::runs_of(kernel, layout).positions;
    inputs.push_back(input_parameter("input" + std::to_string(inputs.size()), stored_type(kernel),
                                     read, columns));
    groups += layout.channels / kernel.depth * kernel.kernel * kernel.kernel;
  }
  ImageParam weights(Int(kernel.factor_bits), 3, "weights");
  weights.set_host_alignment(64);
  weights.dim(0).set_bounds(0, kernel.depth).set_stride(1);
  weights.dim(1).set_bounds(0, padded).set_stride(kernel.depth);
  weights.dim(2).set_bounds(0, groups).set_stride(kernel.depth * padded);
  const Constants constants(kernel, c);

  if (kernel.microkernel.empty())
    accumulate(kernel, division, inputs, weights, constants, made);
  else
    call_microkernel(kernel, microkernel, inputs, weights, constants.parameter(), made);
  Expr sum = made.accumulator(c, x, y);
  if (kernel.any_shift()) sum += constants.integer(lower::row_bias);
  const Expr value = activated(kernel.activation, sum, constants);

  made.arguments = {rows.first, rows.count};
  for (const ImageParam& input : inputs) made.arguments.emplace_back(input);
  made.arguments.emplace_back(weights);
  made.arguments.emplace_back(constants.parameter());

  if (kernel.epilogue == lower::Epilogue::blend) {
    blend(kernel, constants, rows, value, made);
    return made;
  }
  const Expr second = constants.real(lower::row_second);
  if (kernel.epilogue == lower::Epilogue::gates) {
    const int half = kernel.extra.channels;
    const ImageParam h = input_parameter("h", Int(16), kernel.extra, kernel.width);
    const Expr gate = gate_integer(value);
    const Expr state = cast<float>(cast<int32_t>(h(min(c, half - 1), x, y)));
    const Expr product = gate * state * second;  // gate * state is below 2^23: exact
    const Expr reset = to_grid(product, constants, kernel.rounding).stored;
    write(kernel, constants, rows,
          {select(c < half, reset, constants.stored(round_biased(gate) - constants.offset())),
           Expr()},
          made);
    made.arguments.emplace_back(h);
  } else if (kernel.has_residual) {
    const ImageParam residual =
        input_parameter("residual", stored_type(kernel), kernel.extra, kernel.width);
    const Expr offset = constants.integer(lower::row_residual);
    const Expr added = cast<float>(cast<int32_t>(residual(c, x, y)) - offset) * second;
    write(kernel, constants, rows, to_grid(value + added, constants, kernel.rounding), made);
    made.arguments.emplace_back(residual);
  } else {
    write(kernel, constants, rows, to_grid(value, constants, kernel.rounding), made);
  }
  return made;
}

}  // namespace mattec::generators
