// Steps of dense and depthwise convolutions, the GRU's fused ones among them.
#include <algorithm>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "ir/arithmetic.h"
#include "lower/lowering.h"

namespace mattec::lower {

using ir::Op;
using ir::TensorId;

Step Lowering::convolution_step(const Op& op, int padded, std::vector<Segment>& segments) {
  const ir::Convolution& conv = op.conv;
  Step step = new_step(op.name, conv.depthwise ? KernelKind::depthwise : KernelKind::conv);
  Kernel& kernel = step.kernel;
  kernel.kernel = conv.kernel;
  kernel.stride = conv.stride;
  kernel.dilation = conv.dilation;
  kernel.activation = op.activation;
  kernel.rounding = op.rounding;

  std::vector<int> order(size_t(op.segment_count()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return conv.segment_shift[size_t(a)] > conv.segment_shift[size_t(b)];
  });
  std::vector<int> weight_channel(order.size() + 1, 0);
  for (size_t j = 0; j < order.size(); ++j)
    weight_channel[j + 1] = weight_channel[j] + graph_.tensor(op.inputs[j]).channels;

  std::vector<View> views;
  for (size_t j = 0; j < order.size(); ++j) {
    const size_t segment = size_t(order[j]);
    const TensorId id = op.inputs[segment];
    views.push_back(id == graph_.frame ? View{frame_copy(op), 0} : views_[size_t(id)]);
    const int count = graph_.tensor(id).channels;
    const int shift = conv.segment_shift[segment];
    const ir::Grid& grid = *graph_.tensor(id).grid;
    segments.push_back({count, &grid, 0, weight_channel[segment], shift,
                        stored_offset(grid, plan_.is_signed), views.back().channels});
    const int next = j + 1 < order.size() ? conv.segment_shift[size_t(order[j + 1])] : 0;
    kernel.shifts.push_back(shift - next);
    step.operands.push_back(operand(views.back(), -conv.padding, -conv.padding, conv.stride));
  }
  const WeightOrder order_of_weights = choose_products(op, segments, kernel);
  for (size_t j = 0; j < views.size(); ++j) {
    kernel.inputs.push_back(
        layout(views[j], conv.depthwise ? padded : segments[j].padded_channels()));
    segments[j].positions = runs_of(kernel, kernel.inputs[j]).positions;
  }
  const int block = round_up(padded, channel_block);
  const std::vector<int8_t> weights = conv.depthwise
                                          ? pack_depthwise(conv, block)
                                          : pack_dense(conv, segments, block, order_of_weights);
  step.operands.push_back(add_weights(op, kernel, weights));
  plan_.macs += double(conv.quantized_weight.size()) * sizes_[size_t(op.output)].height *
                sizes_[size_t(op.output)].width;
  return step;
}

WeightOrder Lowering::choose_products(const Op& op, const std::vector<Segment>& segments,
                                      Kernel& kernel) const {
  const Isa& isa = options_.isa;
  if (op.conv.depthwise) return {};
  const int count = static_cast<int>(segments.size());
  const auto takes = [&](const MicroKernel& microkernel) {
    return count <= microkernel.most_segments &&
           count * op.conv.kernel * op.conv.kernel <= microkernel.most_runs;
  };
  kernel.short_steps = short_steps_of(op, segments);
  if (isa.short_products == 1 && !takes(isa.short_microkernel)) kernel.short_steps.clear();
  const MicroKernel& microkernel =
      kernel.short_steps.empty() ? isa.microkernel : isa.short_microkernel;
  if (takes(microkernel)) {
    kernel.microkernel = microkernel.name;
    kernel.joins_positions = true;
    kernel.depth = microkernel.depth;
    return {kernel.depth, microkernel.together, microkernel.unit, microkernel.most_units};
  }
  if (!kernel.short_steps.empty()) {
    kernel.depth = 4;
  } else {
    kernel.depth = isa.dot_product_depth;
    kernel.factor_bits = isa.factor_bits;
    // Rows that are widened have no positions side by side.
    kernel.joins_positions = isa.by_element && isa.factor_bits == 8;
  }
  return {kernel.depth};
}

// One segment whose products are too large for 16 bits takes the others with it: RVM has none.
// Fewer than 4 steps are too few: adding a sum to 32 bits costs as much as two.
std::vector<int> Lowering::short_steps_of(const Op& op,
                                          const std::vector<Segment>& segments) const {
  constexpr int fewest = 4;
  std::vector<int> steps;
  const int products = options_.isa.short_products;
  if (products == 0 || op.conv.depthwise) return steps;
  for (const Segment& segment : segments)
    steps.push_back(
        short_steps(products, segment.grid->bits, plan_.is_signed, op.conv.weight_bits));
  if (*std::min_element(steps.begin(), steps.end()) < fewest) steps.clear();
  return steps;
}

// Weights as the kernel reads them come from a step before it where constants would cost more: two
// to a byte they take half the library, and a kernel that unpacks for itself does so in every task,
// up to 9 times a frame; 16-bit dot products run 7 to 10 % faster on widened weights. Once a frame,
// all of RVM's 3.8 million weights take 0.1 ms to unpack; their memory is free when they have been
// read, so the arena grows by the largest convolution's at most.
Operand Lowering::add_weights(const Op& op, const Kernel& kernel, std::vector<int8_t> weights) {
  const bool unpacks = op.conv.weight_bits == 4;
  const bool widens = kernel.factor_bits == 16;
  if (unpacks || widens) weights.resize(round_up(int(weights.size()), weight_block), 0);
  const int blocks = static_cast<int>(weights.size()) / weight_block;
  const std::vector<uint8_t> packed =
      unpacks ? pack_nibbles(weights) : std::vector<uint8_t>(weights.begin(), weights.end());
  plan_.weight_bytes += static_cast<int64_t>(packed.size());
  Operand from = add_constants(packed.data(), packed.size());
  if (!unpacks && !widens) return from;

  Storage made;
  made.name = op.name + " weights";
  made.size = {blocks, 1};
  made.channels = made.pixel_stride = weight_block;
  made.element_bytes = kernel.factor_bits / 8;
  made.pattern.resize(size_t(made.pixel_bytes()));
  made.first_step = made.last_step = static_cast<int>(plan_.steps.size());
  plan_.storages.push_back(std::move(made));
  const View view{static_cast<int>(plan_.storages.size()) - 1, 0};

  Step step = new_step(op.name + " weights", unpacks ? KernelKind::unpack : KernelKind::widen);
  step.kernel.factor_bits = kernel.factor_bits;
  const int bytes = static_cast<int>(packed.size()) / blocks;
  step.kernel.inputs = {{bytes, bytes, bytes}};
  step.kernel.output = layout(view, weight_block);
  from.row_advance = bytes;
  step.operands = {from, operand(view, 0, 0, 1)};
  finish(std::move(step), plan_.storages.back().size, {});
  return operand(view, 0, 0, 0);
}

Constants Lowering::convolution_constants(const Op& op, const std::vector<Segment>& segments,
                                          Kernel& kernel) const {
  const ir::Convolution& conv = op.conv;
  const ir::Grid& output = *graph_.tensor(op.output).grid;
  const ir::Grid* residual = conv.has_residual ? &*graph_.tensor(op.residual()).grid : nullptr;
  const int residual_channels = residual ? graph_.tensor(op.residual()).channels : 0;
  const std::vector<int32_t> bias = folded_bias(conv, segments);
  Constants constants(kernel);
  Ranges ranges;
  for (int o = 0; o < conv.output_channels; ++o) {
    const int64_t reach = std::abs(int64_t{bias[size_t(o)]}) + signed_reach(conv, segments, o);
    // The verifier looks at unsigned inputs alone.
    if (plan_.is_signed && reach > std::numeric_limits<int32_t>::max())
      throw Error(graph_.name + ": the accumulator of channel " + std::to_string(o) + " of " +
                  op.name + " can leave 32 bits where bytes are signed");
    // The matte's alpha has no residual beside the foreground's three channels.
    const bool add = o < residual_channels;
    const ir::EpilogueConstants made =
        ir::epilogue_constants(op.activation, conv.accumulator_scale[size_t(o)], output.scale_of(o),
                               add ? residual->scale_of(o) : 0.0F);
    constants.set_int(row_bias, o, bias[size_t(o)]);
    if (!is_linear(op.activation)) constants.set_float(row_to_real, o, made.to_real);
    constants.set_float(row_to_grid, o, made.to_grid);
    if (add) {
      constants.set_float(row_second, o, made.residual);
      constants.set_int(row_residual, o, stored_zero(*residual, o));
    }
    constants.set_grid(o, output, o, op.activation);
    ranges.add(op.activation, static_cast<double>(reach), made, output, o);
  }
  ranges.set(kernel);
  return constants;
}

void Lowering::lower_conv(const Op& op) {
  // Depthwise kernels write one tensor.
  const Outputs outputs =
      op.conv.depthwise ? Outputs{store(op.output), {}} : make_outputs(op.output);
  const int padded = plan_.storages[size_t(outputs.storages()[0])].pixel_stride;
  std::vector<Segment> segments;
  Step step = convolution_step(op, padded, segments);
  set_layouts(outputs, step.kernel);
  step.kernel.has_residual = op.conv.has_residual;
  Constants constants = convolution_constants(op, segments, step.kernel);
  set_copies(outputs.copies, *graph_.tensor(op.output).grid, step.kernel, constants);
  step.operands.push_back(add_constants(constants));
  if (op.conv.has_residual) {
    const View view = views_[size_t(op.residual())];
    step.kernel.extra = layout(view, padded);
    step.operands.push_back(operand(view, 0, 0, 1));
  }
  add_outputs(outputs, step);
  finish(std::move(step), sizes_[size_t(op.output)], outputs.storages());
}

// Writes [r * h | z]; the candidate's convolution reads the first half, the update the second.
void Lowering::lower_gates(const Gru& gru) {
  const Op& op = graph_.ops[size_t(gru.gates)];
  const Op& product = graph_.ops[size_t(gru.product)];
  const Op& candidate = graph_.ops[size_t(gru.candidate)];
  const ir::Grid& gate = *graph_.tensor(op.output).grid;
  const ir::Grid& state = *graph_.tensor(gru.state).grid;
  const ir::Grid& reset = *graph_.tensor(product.output).grid;
  if (std::any_of(gate.zero_point.begin(), gate.zero_point.end(), [](int z) { return z != 0; }))
    throw Error(graph_.name + ": " + op.name + " must have zero point 0, as sigmoids have");

  const int output = make_storage(product.name + " and z", op.output, 2 * gru.channels, 1,
                                  candidate.conv.padding, pattern_of(reset, gru.channels));
  views_[size_t(product.output)] = views_[size_t(op.output)] = {output, 0};
  const int padded = plan_.storages[size_t(output)].pixel_stride;
  std::vector<Segment> segments;
  Step step = convolution_step(op, padded, segments);
  set_layouts({output, {}}, step.kernel);
  step.kernel.epilogue = Epilogue::gates;
  Constants constants = convolution_constants(op, segments, step.kernel);
  Ranges ranges;  // of the product: z is not narrowed
  for (int c = 0; c < gru.channels; ++c) {
    constants.set_grid(c, reset, c, ir::Activation::none);
    const float multiplier =
        ir::product_multiplier(gate.scale_of(c), state.scale_of(c), reset.scale_of(c));
    constants.set_float(row_second, c, multiplier);
    ranges.add(255.0 * 32768 * double{multiplier}, {}, reset);
  }
  ranges.set(step.kernel);
  step.operands.push_back(add_constants(constants));
  const View h = views_[size_t(gru.state)];
  step.kernel.extra = layout(h, gru.channels);
  step.operands.push_back(operand(h, 0, 0, 1));
  step.operands.push_back(operand({output, 0}, 0, 0, 1));
  finish(std::move(step), sizes_[size_t(op.output)], {output});
}

void Lowering::lower_update(const Gru& gru) {
  const Op& op = graph_.ops[size_t(gru.candidate)];
  const Op& update = graph_.ops[size_t(gru.update)];
  const View h = views_[size_t(gru.state)], z = views_[size_t(update.inputs[0])];
  const Outputs outputs{h.storage, state_copies_.at(gru.state)};
  const ir::Grid& z_grid = *graph_.tensor(update.inputs[0]).grid;
  const int padded = plan_.storages[size_t(h.storage)].pixel_stride;

  std::vector<Segment> segments;
  Step step = convolution_step(op, padded, segments);
  set_layouts(outputs, step.kernel);
  step.kernel.epilogue = Epilogue::blend;
  Constants constants = convolution_constants(op, segments, step.kernel);
  for (int c = 0; c < gru.channels; ++c)
    constants.set_float(row_second, c, ir::blend_multiplier(z_grid.scale_of(c)));
  set_copies(outputs.copies, *graph_.tensor(gru.state).grid, step.kernel, constants);
  step.operands.push_back(add_constants(constants));
  step.kernel.extra = layout(z, padded);
  step.operands.push_back(operand(z, 0, 0, 1));
  add_outputs(outputs, step);
  finish(std::move(step), sizes_[size_t(op.output)], outputs.storages());
}

}  // namespace mattec::lower
