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

const Op& output_conv(const Graph& graph, const char* name) {
  const ir::Output* output = graph.find_output(name, ir::Variant::both);
  if (!output)
    throw Error(graph.name + ": no output \"" + name + "\"; a matting network has fgr and pha");
  const int index = producer_of_kind(graph, output->tensor, OpKind::conv);
  if (index < 0 || !graph.consumers(output->tensor).empty())
    throw Error(graph.name + ": output \"" + name + "\" is not made by a convolution of its own");
  return graph.ops[size_t(index)];
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

Graph merge_matte(const Graph& graph, TensorId& matte) {
  const Op& foreground = output_conv(graph, "fgr");
  const Op& alpha = output_conv(graph, "pha");
  const int segments = foreground.segment_count();
  const ir::Convolution& a = foreground.conv;
  const ir::Convolution& b = alpha.conv;
  const bool same = segments == alpha.segment_count() && !b.has_residual &&
                    a.output_channels == 3 && b.output_channels == 1 && a.kernel == b.kernel &&
                    a.stride == b.stride && a.padding == b.padding && a.pad_value == b.pad_value &&
                    a.dilation == b.dilation && !a.depthwise && !b.depthwise &&
                    a.segment_shift == b.segment_shift && foreground.rounding == alpha.rounding &&
                    foreground.activation == alpha.activation &&
                    std::equal(alpha.inputs.begin(), alpha.inputs.end(), foreground.inputs.begin());
  if (!same)
    throw Error(graph.name + ": " + foreground.name + " and " + alpha.name +
                " do not convolve the same tensors; no kernel computes them together");

  Graph merged = graph;
  Op op = foreground;
  op.name = "matte";
  op.conv.output_channels = 4;
  op.conv.weight_bits = std::max(a.weight_bits, b.weight_bits);
  append(op.conv.quantized_weight, b.quantized_weight);
  append(op.conv.quantized_bias, b.quantized_bias);
  append(op.conv.accumulator_scale, b.accumulator_scale);
  ir::Grid grid;
  grid.scale.clear();
  for (const auto& [made, channels] : {std::pair(foreground.output, 3), std::pair(alpha.output, 1)})
    for (int c = 0; c < channels; ++c) {
      grid.scale.push_back(graph.tensor(made).grid->scale_of(c));
      grid.zero_point.push_back(graph.tensor(made).grid->zero_point_of(c));
    }
  const std::string removed[] = {foreground.name, alpha.name};
  merged.ops.erase(
      std::remove_if(merged.ops.begin(), merged.ops.end(),
                     [&](const Op& o) { return o.name == removed[0] || o.name == removed[1]; }),
      merged.ops.end());
  matte = merged.add_op(op, 4);
  merged.tensor(matte).grid = grid;
  return merged;
}

}  // namespace mattec::lower
