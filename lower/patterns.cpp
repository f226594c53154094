#include "lower/patterns.h"

#include <algorithm>

#include "base/error.h"

namespace mattec::lower {

using ir::Activation;
using ir::Graph;
using ir::Op;
using ir::OpKind;
using ir::TensorId;

namespace {

// Index of the operation that makes `id` if it is of `kind`, else -1.
int producer_of_kind(const Graph& graph, TensorId id, OpKind kind) {
  const int index = graph.producer(id);
  return index >= 0 && graph.ops[size_t(index)].kind == kind ? index : -1;
}

bool only_reader(const Graph& graph, TensorId id, int op) {
  return graph.consumers(id) == std::vector<int>{op};
}

// Fills `gru` from its blend; false where the operations around it are not a GRU's.
bool match(const Graph& graph, int blend, Gru& gru) {
  const Op& update = graph.ops[size_t(blend)];
  const TensorId z = update.inputs[0], h = update.inputs[1], c = update.inputs[2];
  gru.update = blend;
  gru.state = h;
  gru.channels = graph.tensor(h).channels;
  gru.candidate = producer_of_kind(graph, c, OpKind::conv);
  const int z_slice = producer_of_kind(graph, z, OpKind::slice);
  if (gru.candidate < 0 || z_slice < 0) return false;
  const Op& candidate = graph.ops[size_t(gru.candidate)];
  if (candidate.activation != Activation::tanh || candidate.conv.has_residual) return false;

  const Op& slice = graph.ops[size_t(z_slice)];
  gru.gates = producer_of_kind(graph, slice.inputs[0], OpKind::conv);
  if (gru.gates < 0) return false;
  const Op& gates = graph.ops[size_t(gru.gates)];
  if (gates.activation != Activation::sigmoid || gates.conv.has_residual) return false;
  if (slice.first_channel != gru.channels || gates.conv.output_channels != 2 * gru.channels)
    return false;

  for (const TensorId input : candidate.inputs) {
    const int product = producer_of_kind(graph, input, OpKind::mul);
    if (product < 0) continue;
    const Op& mul = graph.ops[size_t(product)];
    // r * h or h * r: the product's multiplier is the same.
    const int r_index = mul.inputs[0] == h ? 1 : 0;
    const int r_slice = producer_of_kind(graph, mul.inputs[size_t(r_index)], OpKind::slice);
    if (r_slice < 0 || mul.inputs[size_t(1 - r_index)] != h) continue;
    const Op& r = graph.ops[size_t(r_slice)];
    if (r.inputs[0] != gates.output || r.first_channel != 0) continue;
    gru.product = product;
    return only_reader(graph, mul.output, gru.candidate) && only_reader(graph, c, blend) &&
           only_reader(graph, z, blend) && only_reader(graph, r.output, product) &&
           graph.consumers(gates.output).size() == 2;
  }
  return false;
}

// Throws where something reads `old`, the GRU's state or what only views it, too late.
void check_readers(const Graph& graph, const std::vector<Gru>& grus, const Gru& gru, TensorId old) {
  for (const int reader : graph.consumers(old)) {
    const Op& op = graph.ops[size_t(reader)];
    if (op.kind == OpKind::requantize || op.kind == OpKind::slice) {
      check_readers(graph, grus, gru, op.output);
      continue;
    }
    const bool for_its_size = op.kind == OpKind::upsample2 && op.inputs[0] != old;
    if (for_its_size || reader == gru.update) continue;
    int runs_at = reader;
    for (const Gru& other : grus)  // a candidate is computed together with its update
      if (other.candidate == reader) runs_at = other.update;
    if (runs_at >= gru.update)
      throw Error(graph.name + ": " + op.name + " reads " + graph.tensor(old).name + " after " +
                  graph.ops[size_t(gru.update)].name + " has replaced it; no kernel keeps both");
  }
}

// The convolution that makes an output which nothing reads; null where there is none.
const Op* output_conv(const Graph& graph, const char* name) {
  const ir::Output* output = graph.find_output(name, ir::Variant::both);
  if (output == nullptr || !graph.consumers(output->tensor).empty()) return nullptr;
  const int index = producer_of_kind(graph, output->tensor, OpKind::conv);
  return index < 0 ? nullptr : &graph.ops[size_t(index)];
}

bool convolve_alike(const Op& foreground, const Op& alpha) {
  const ir::Convolution &a = foreground.conv, &b = alpha.conv;
  const int segments = foreground.segment_count();
  return segments == alpha.segment_count() && !b.has_residual && a.output_channels == 3 &&
         b.output_channels == 1 && a.kernel == b.kernel && a.stride == b.stride &&
         a.padding == b.padding && a.pad_value == b.pad_value && a.dilation == b.dilation &&
         !a.depthwise && !b.depthwise && a.segment_shift == b.segment_shift &&
         foreground.rounding == alpha.rounding && foreground.activation == alpha.activation &&
         std::equal(alpha.inputs.begin(), alpha.inputs.end(), foreground.inputs.begin());
}

template <typename T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

std::vector<Gru> find_grus(const Graph& graph) {
  std::vector<Gru> found;
  for (size_t i = 0; i < graph.ops.size(); ++i) {
    if (graph.ops[i].kind != OpKind::blend) continue;
    Gru gru;
    if (!match(graph, static_cast<int>(i), gru))
      throw Error(graph.name + ": " + graph.ops[i].name +
                  " is not the update of a convolutional GRU; no kernel computes it");
    found.push_back(gru);
  }
  return found;
}

void check_states(const Graph& graph, const std::vector<Gru>& grus) {
  const auto updates = [&](const Gru& gru, const ir::State& state) {
    return gru.state == state.input && graph.ops[size_t(gru.update)].output == state.output;
  };
  for (const ir::State& state : graph.states) {
    const auto gru = std::find_if(grus.begin(), grus.end(),
                                  [&](const Gru& each) { return updates(each, state); });
    if (gru == grus.end())
      throw Error(graph.name + ": state " + state.name +
                  " is not updated by a convolutional GRU of its own; no kernel computes it");
    check_readers(graph, grus, *gru, state.input);
  }
  for (const Gru& gru : grus)
    if (std::none_of(graph.states.begin(), graph.states.end(),
                     [&](const ir::State& state) { return updates(gru, state); }))
      throw Error(graph.name + ": " + graph.ops[size_t(gru.update)].name +
                  " updates what is no state; no kernel computes it");
}

Graph merge_matte(const Graph& graph) {
  const Op* const fgr = output_conv(graph, "fgr");
  const Op* const pha = output_conv(graph, "pha");
  if (fgr == nullptr || pha == nullptr || !convolve_alike(*fgr, *pha)) return graph;

  Graph merged = graph;
  Op matte = *fgr;
  matte.name = "matte";
  matte.conv.output_channels = 4;
  matte.conv.weight_bits = std::max(fgr->conv.weight_bits, pha->conv.weight_bits);
  append(matte.conv.quantized_weight, pha->conv.quantized_weight);
  append(matte.conv.quantized_bias, pha->conv.quantized_bias);
  append(matte.conv.accumulator_scale, pha->conv.accumulator_scale);
  const TensorId made = matte.output = merged.add_tensor("matte", 4);
  ir::Grid& grid = merged.tensor(made).grid.emplace();
  std::vector<Op> slices;
  for (const Op* part : {fgr, pha}) {
    Op slice;
    slice.kind = OpKind::slice;
    slice.name = part->name;
    slice.inputs = {made};
    slice.output = part->output;
    slice.first_channel = static_cast<int>(grid.scale.size());
    slices.push_back(slice);
    for (int c = 0; c < part->conv.output_channels; ++c) {
      grid.scale.push_back(graph.tensor(part->output).grid->scale_of(c));
      grid.zero_point.push_back(graph.tensor(part->output).grid->zero_point_of(c));
    }
  }
  const auto is_replaced = [&](const Op& op) {
    return op.output == fgr->output || op.output == pha->output;
  };
  merged.ops.erase(std::remove_if(merged.ops.begin(), merged.ops.end(), is_replaced),
                   merged.ops.end());
  merged.ops.push_back(std::move(matte));
  append(merged.ops, slices);
  return merged;
}

std::vector<int> find_wanted(const Graph& graph) {
  if (graph.find_output("pha", ir::Variant::both) == nullptr)
    throw Error(graph.name + ": no output \"pha\"; a matting network has one");
  std::vector<int> wanted(graph.tensors.size(), 0);
  for (const ir::Output& output : graph.outputs) {
    if (output.name == "pha") wanted[size_t(output.tensor)] |= wanted_by_alpha;
    if (output.name == "fgr") wanted[size_t(output.tensor)] |= wanted_by_foreground;
  }
  for (const ir::State& state : graph.states) wanted[size_t(state.output)] |= wanted_by_states;
  for (auto op = graph.ops.rbegin(); op != graph.ops.rend(); ++op)
    for (size_t i = 0; i < op->inputs.size(); ++i) {
      const bool for_its_size = op->kind == OpKind::upsample2 && i == 1;
      if (!for_its_size) wanted[size_t(op->inputs[i])] |= wanted[size_t(op->output)];
    }
  return wanted;
}

}  // namespace mattec::lower
