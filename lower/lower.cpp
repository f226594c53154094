// From the quantized graph to the plan: one step per kernel, in the graph's order.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "ir/arithmetic.h"
#include "ir/verify.h"
#include "lower/arena.h"
#include "lower/lowering.h"
#include "lower/plan.h"

namespace mattec::lower {

using ir::Op;
using ir::OpKind;
using ir::TensorId;

namespace {

constexpr int most_tasks = 16;  // of a step: more help nobody

// Time of an output row in multiplications of a dense convolution.
double work_per_row(const Kernel& kernel, const Isa& isa) {
  const double each = kernel.kind == KernelKind::depthwise ? isa.depthwise_product : 1;
  return kernel.macs_per_row() * each + isa.output_byte * kernel.width * kernel.output.pixel_stride;
}

}  // namespace

Lowering::Lowering(const ir::Graph& graph, ir::Size frame, const Options& options)
    : graph_(merge_matte(graph)), options_(options) {
  wanted_ = find_wanted(graph_);
  sizes_ = ir::infer_sizes(graph_, frame);
  grus_ = find_grus(graph_);
  check_states(graph_, grus_);
  fused_.assign(graph_.ops.size(), false);
  views_.resize(graph_.tensors.size());
  for (const Gru& gru : grus_) {
    gates_of_[gru.gates] = &gru;
    update_of_[gru.update] = &gru;
    fused_[size_t(gru.product)] = fused_[size_t(gru.candidate)] = true;
  }
  plan_.name = graph_.name;
  plan_.is_signed = options.isa.signed_inputs;
  plan_.size = frame;
}

void Lowering::check_supported() const {
  for (const Op& op : graph_.ops) {
    const ir::Tensor& made = graph_.tensor(op.output);
    if (op.kind == OpKind::conv && !op.conv.pad_value.empty() &&
        (op.segment_count() != 1 || op.inputs[0] != graph_.frame))
      throw Error(graph_.name + ": " + op.name +
                  " pads with values of its own; only a convolution of the frame alone can");
    const bool resamples = op.kind == OpKind::avg_pool2 || op.kind == OpKind::upsample2 ||
                           op.kind == OpKind::global_avg_pool;
    if (resamples && graph_.tensor(op.inputs[0]).grid->is_signed)
      throw Error(graph_.name + ": " + op.name + " reads a state in 16 bits; no kernel does");
    const bool is_state = op.kind == OpKind::blend || op.kind == OpKind::slice;
    if (made.grid->is_signed && !is_state)
      throw Error(graph_.name + ": " + op.name +
                  " makes 16 bits; only states have a kernel for it");
  }
}

Plan Lowering::run() {
  check_supported();
  make_states();
  make_frames();
  for (size_t i = 0; i < graph_.ops.size(); ++i) {
    wanted_now_ = wanted_[size_t(graph_.ops[i].output)];
    if (!fused_[i] && wanted_now_ != 0) lower_op(static_cast<int>(i));
  }
  const int steps = static_cast<int>(plan_.steps.size());
  plan_.alpha = find_output("pha");
  plan_.foreground = find_output("fgr");
  for (const int state : plan_.states) {
    plan_.storages[size_t(state)].first_step = 0;
    plan_.storages[size_t(state)].last_step = steps;
  }
  if (options_.keep_all) keep_all();
  plan_arena(plan_);
  return std::move(plan_);
}

PlanOutput Lowering::find_output(const char* name) {
  const ir::Output* output = graph_.find_output(name, ir::Variant::both);
  if (output == nullptr) return {};
  const View& view = views_[size_t(output->tensor)];
  plan_.storages[size_t(view.storage)].last_step = static_cast<int>(plan_.steps.size());
  return {view.storage, view.first_channel};
}

// Not listed, since nothing holds them when a frame ends: the GRU's r (round(r * h) takes its
// place) and its candidate, and the states as the frame found them.
void Lowering::keep_all() {
  for (Storage& storage : plan_.storages) {
    storage.first_step = 0;
    storage.last_step = static_cast<int>(plan_.steps.size());
  }
  std::vector<bool> is_replaced(graph_.tensors.size(), false);
  for (const Gru& gru : grus_) {
    is_replaced[size_t(graph_.ops[size_t(gru.gates)].output)] = true;
    for (const TensorId factor : graph_.ops[size_t(gru.product)].inputs)
      is_replaced[size_t(factor)] = true;
  }
  for (const Op& op : graph_.ops) {
    if (op.kind != OpKind::slice && op.kind != OpKind::requantize) continue;
    const auto& states = plan_.states;
    const int storage = views_[size_t(op.output)].storage;
    if (is_replaced[size_t(op.inputs[0])] &&
        std::find(states.begin(), states.end(), storage) != states.end())
      is_replaced[size_t(op.output)] = true;
  }
  for (size_t id = 0; id < graph_.tensors.size(); ++id) {
    const View& view = views_[id];
    if (view.storage < 0 || is_replaced[id]) continue;
    StoredTensor stored = {graph_.tensors[id].name,
                           view.storage,
                           stored_offset(*graph_.tensors[id].grid, plan_.is_signed),
                           {}};
    for (int c = 0; c < graph_.tensors[id].channels; ++c)
      stored.channels.push_back(view.first_channel +
                                (view.channels.empty() ? c : view.channels[size_t(c)]));
    plan_.stored.push_back(std::move(stored));
  }
}

void Lowering::lower_op(int index) {
  const Op& op = graph_.ops[size_t(index)];
  switch (op.kind) {
    case OpKind::conv: {
      const auto gates = gates_of_.find(index);
      if (gates != gates_of_.end()) return lower_gates(*gates->second);
      return lower_conv(op);
    }
    case OpKind::blend:
      return lower_update(*update_of_.at(index));
    case OpKind::slice: {
      const View from = views_[size_t(op.inputs[0])];
      views_[size_t(op.output)] = {from.storage, from.first_channel + op.first_channel};
      return;
    }
    case OpKind::global_avg_pool:
      return lower_pool(op);
    case OpKind::mul:
      return lower_gate(op);
    case OpKind::requantize:
      if (gathers(op)) return lower_gather(op);
      if (graph_.tensor(op.inputs[0]).grid->is_signed)
        throw Error(graph_.name + ": " + op.name +
                    " is a state's third grid; kernels write two copies of a state");
      return lower_move(index);
    case OpKind::upsample2:
    case OpKind::avg_pool2:
      return lower_move(index);
    default:
      throw Error(graph_.name + ": no kernel computes " + op.name + " (" + ir::name_of(op.kind) +
                  ")");
  }
}

void Lowering::lower_pool(const Op& op) {
  const View input = views_[size_t(op.inputs[0])];
  const ir::Size size = sizes_[size_t(op.inputs[0])];
  const ir::Grid& from = *graph_.tensor(op.inputs[0]).grid;
  const ir::Grid& to = *graph_.tensor(op.output).grid;
  const int output = store(op.output);
  const int padded = plan_.storages[size_t(output)].pixel_stride;
  const int count = size.height * size.width;
  if (int64_t(count) * 255 > std::numeric_limits<int32_t>::max())
    throw Error(graph_.name + ": the sum of " + op.name + " can leave 32 bits at " +
                std::to_string(size.width) + "x" + std::to_string(size.height) +
                " pixels; compile for a smaller size");
  Step step = new_step(op.name, KernelKind::global_avg_pool);
  step.kernel.input_width = size.width;
  step.kernel.input_height = size.height;
  step.kernel.inputs = {layout(input, padded)};
  step.kernel.output = layout({output, 0}, padded);
  Constants constants(step.kernel);
  for (int c = 0; c < graph_.tensor(op.output).channels; ++c) {
    constants.set_int(row_bias, c, -count * stored_zero(from, c));
    constants.set_float(row_to_grid, c,
                        ir::pool_multiplier(from.scale_of(c), to.scale_of(c), count));
    constants.set_grid(c, to, c, ir::Activation::none);
  }
  step.operands = {operand(input, 0, 0, 0), add_constants(constants),
                   operand({output, 0}, 0, 0, 1)};
  finish(std::move(step), {1, 1}, {output});
}

void Lowering::lower_gate(const Op& op) {
  const View x = views_[size_t(op.inputs[0])], g = views_[size_t(op.inputs[1])];
  const ir::Grid& from = *graph_.tensor(op.inputs[0]).grid;
  const ir::Grid& gate = *graph_.tensor(op.inputs[1]).grid;
  const ir::Grid& to = *graph_.tensor(op.output).grid;
  const int channels = graph_.tensor(op.output).channels;
  if (sizes_[size_t(op.inputs[1])] != ir::Size{1, 1} || gate.is_signed || from.is_signed)
    throw Error(graph_.name + ": no kernel computes " + op.name +
                "; only products with a gate of one pixel have one");
  const int output = store(op.output);
  const int padded = plan_.storages[size_t(output)].pixel_stride;
  Step step = new_step(op.name, KernelKind::gate);
  step.kernel.inputs = {layout(x, padded), layout(g, padded)};
  step.kernel.output = layout({output, 0}, padded);
  Constants constants(step.kernel);
  Ranges ranges;
  for (int c = 0; c < channels; ++c) {
    constants.set_int(row_bias, c, stored_zero(from, c));
    constants.set_int(row_residual, c, stored_zero(gate, c));
    const float multiplier =
        ir::product_multiplier(from.scale_of(c), gate.scale_of(c), to.scale_of(c));
    constants.set_float(row_to_grid, c, multiplier);
    constants.set_grid(c, to, c, ir::Activation::none);
    ranges.add(255.0 * 255 * double{multiplier}, ir::epilogue_bounds(ir::Activation::none, to, c),
               to);
  }
  ranges.set(step.kernel);
  step.operands = {operand(x, 0, 0, 1), operand(g, 0, 0, 0), add_constants(constants),
                   operand({output, 0}, 0, 0, 1)};
  finish(std::move(step), sizes_[size_t(op.output)], {output});
}

// Operations that move integers: upsampling, averaging, and copies that no other kernel writes.
void Lowering::lower_move(int index) {
  const Op& op = graph_.ops[size_t(index)];
  const bool is_copy = op.kind == OpKind::requantize;
  const View input = views_[size_t(op.inputs[0])];
  const ir::Size size = sizes_[size_t(op.inputs[0])];
  Outputs outputs;
  if (is_copy) {
    outputs.copies = {{{{index, 0}}, -1}};
    store_copy(op.inputs[0], outputs.copies[0]);
  } else {
    outputs = make_outputs(op.output);
  }
  // Padding channels too; behind a slice they hold what comes next, which nobody reads.
  const int channels = plan_.storages[size_t(outputs.storages()[0])].pixel_stride;
  Step step = new_step(op.name, is_copy                        ? KernelKind::requantize
                                : op.kind == OpKind::upsample2 ? KernelKind::upsample2
                                                               : KernelKind::avg_pool2);
  if (!is_copy) {
    step.kernel.input_width = size.width;
    step.kernel.input_height = size.height;
  }
  step.kernel.inputs = {layout(input, channels)};
  set_layouts(outputs, step.kernel);
  step.operands = {operand(input, 0, 0, is_copy ? 1 : 0)};
  if (!outputs.copies.empty()) {
    const ir::Grid& from = *graph_.tensor(op.inputs[0]).grid;
    Constants constants(step.kernel);
    for (int c = 0; c < graph_.tensor(op.inputs[0]).channels; ++c)
      constants.set_int(row_bias, c, stored_zero(from, c));
    set_copies(outputs.copies, from, step.kernel, constants);
    step.operands.push_back(add_constants(constants));
  }
  add_outputs(outputs, step);
  finish(std::move(step), sizes_[size_t(op.output)], outputs.storages());
}

// Some channels of a tensor, side by side.
void Lowering::lower_gather(const Op& op) {
  const View input = views_[size_t(op.inputs[0])];
  const ir::Tensor& from = graph_.tensor(op.inputs[0]);
  const ir::Tensor& made = graph_.tensor(op.output);
  const int output = store(op.output);
  Step step = new_step(op.name, KernelKind::gather);
  step.kernel.inputs = {layout(input, from.channels)};
  step.kernel.output = layout({output, 0}, plan_.storages[size_t(output)].pixel_stride);
  step.kernel.only_copies = true;
  Constants constants(step.kernel);
  for (int c = 0; c < made.channels; ++c) {
    const int channel = op.source_channel(c);
    constants.set_int(row_bias, c, stored_zero(*from.grid, channel));
    constants.set_int(row_source, c, channel);
    constants.set_copy(0, c, from.grid->scale_of(channel), *made.grid, c);
  }
  step.operands = {operand(input, 0, 0, 1), add_constants(constants),
                   operand({output, 0}, 0, 0, 1)};
  finish(std::move(step), sizes_[size_t(op.output)], {output});
}

Step Lowering::new_step(const std::string& name, KernelKind kind) const {
  Step step;
  step.name = name;
  step.kernel.kind = kind;
  step.kernel.is_signed = plan_.is_signed;
  step.kernel.clamps_in_16_bits = options_.isa.saturating_narrowing;
  return step;
}

int32_t Lowering::stored_zero(const ir::Grid& grid, int channel) const {
  return grid.zero_point_of(channel) - stored_offset(grid, plan_.is_signed);
}

Operand Lowering::add_constants(const Constants& constants) {
  return add_constants(constants.words().data(), constants.words().size() * sizeof(int32_t));
}

Operand Lowering::add_constants(const void* data, size_t bytes) {
  std::vector<uint8_t>& constants = plan_.constants;
  constants.resize((constants.size() + 63) / 64 * 64, 0);  // kernels assume 64-byte alignment
  Operand made;
  made.buffer = Buffer::constants;
  made.offset = static_cast<int64_t>(constants.size());
  const auto* first = static_cast<const uint8_t*>(data);
  constants.insert(constants.end(), first, first + bytes);
  return made;
}

Operand Lowering::operand(const View& view, int row, int column, int rows_per_row) const {
  const Storage& storage = plan_.storages[size_t(view.storage)];
  Operand made;
  made.storage = view.storage;
  made.offset = storage.position(row, column) + int64_t(view.first_channel) * storage.element_bytes;
  made.row_advance = rows_per_row * storage.row_bytes();
  return made;
}

Layout Lowering::layout(const View& view, int channels) const {
  const Storage& storage = plan_.storages[size_t(view.storage)];
  return {channels, storage.pixel_stride,
          static_cast<int>(storage.row_bytes() / storage.element_bytes)};
}

void Lowering::finish(Step step, ir::Size output, const std::vector<int>& written) {
  for (const Operand& operand : step.operands)
    if (operand.storage >= 0) read(operand.storage);
  step.kernel.width = output.width;
  step.rows = output.height;
  const double work = work_per_row(step.kernel, options_.isa) * output.height;
  const int tasks = std::max(
      1, static_cast<int>(
             std::min<double>({work / options_.work_per_task, most_tasks, double(output.height)})));
  step.rows_per_task = (output.height + tasks - 1) / tasks;
  step.wanted = wanted_now_;
  for (const int storage : written)
    if (plan_.storages[size_t(storage)].halo > 0) step.written.push_back(storage);
  plan_.steps.push_back(std::move(step));
}

Plan lower(const ir::Graph& graph, ir::Size frame, const Options& options) {
  if (graph.stage != ir::Stage::quantized)
    throw Error(graph.name + ": is not quantized; run mattec quantize first");
  ir::verify(graph, graph.name);
  return Lowering(graph, frame, options).run();
}

}  // namespace mattec::lower
