#include <string>
#include <vector>

#include "base/error.h"
#include "ir/graph.h"

namespace mattec::ir {
namespace {

// Makes every reader of a `downsample` read what the downsample reads.
void bypass_downsample(Graph& graph) {
  std::vector<TensorId> instead(graph.tensors.size());
  for (size_t id = 0; id < instead.size(); ++id) instead[id] = static_cast<TensorId>(id);
  for (Op& op : graph.ops) {
    for (TensorId& input : op.inputs) input = instead[static_cast<size_t>(input)];
    if (op.kind == OpKind::downsample) instead[static_cast<size_t>(op.output)] = op.inputs[0];
  }
  for (State& state : graph.states) state.output = instead[static_cast<size_t>(state.output)];
  for (Output& output : graph.outputs) output.tensor = instead[static_cast<size_t>(output.tensor)];
}

// Marks what the outputs read, through the operations and through the states that matter.
std::vector<bool> needed_tensors(const Graph& graph) {
  std::vector<bool> needed(graph.tensors.size());
  const auto mark = [&](TensorId id) {
    const bool is_new = !needed[static_cast<size_t>(id)];
    needed[static_cast<size_t>(id)] = true;
    return is_new;
  };
  mark(graph.frame);
  for (const Output& output : graph.outputs) mark(output.tensor);
  for (bool grown = true; grown;) {
    for (auto op = graph.ops.rbegin(); op != graph.ops.rend(); ++op)
      if (needed[static_cast<size_t>(op->output)])
        for (TensorId input : op->inputs) mark(input);
    grown = false;
    for (const State& state : graph.states)
      if (needed[static_cast<size_t>(state.input)] && mark(state.output)) grown = true;
  }
  return needed;
}

}  // namespace

Graph extract(const Graph& graph, Variant variant) {
  Graph reduced = graph;
  reduced.outputs.clear();
  for (const Output& output : graph.outputs)
    if (output.variant == variant || output.variant == Variant::both)
      reduced.outputs.push_back({output.name, output.tensor, Variant::both});
  if (reduced.outputs.empty())
    throw Error("network " + graph.name + ": it has no outputs " +
                (variant == Variant::refined ? "with" : "without") + " a refiner");
  if (variant == Variant::direct) bypass_downsample(reduced);

  const std::vector<bool> needed = needed_tensors(reduced);
  const auto is_needed = [&](TensorId id) { return needed[static_cast<size_t>(id)]; };
  std::vector<TensorId> number(graph.tensors.size(), no_tensor);
  std::vector<Tensor> tensors;
  for (size_t id = 0; id < number.size(); ++id)
    if (needed[id]) {
      number[id] = static_cast<TensorId>(tensors.size());
      tensors.push_back(graph.tensors[id]);
    }
  const auto renumber = [&](TensorId& id) { id = number[static_cast<size_t>(id)]; };

  std::vector<Op> ops;
  for (Op& op : reduced.ops) {
    if (!is_needed(op.output)) continue;
    for (TensorId& input : op.inputs) renumber(input);
    renumber(op.output);
    ops.push_back(std::move(op));
  }
  std::vector<State> states;
  for (State state : reduced.states) {
    if (!is_needed(state.input)) continue;
    renumber(state.input);
    renumber(state.output);
    states.push_back(state);
  }
  for (Output& output : reduced.outputs) renumber(output.tensor);
  renumber(reduced.frame);
  reduced.tensors = std::move(tensors);
  reduced.ops = std::move(ops);
  reduced.states = std::move(states);
  return reduced;
}

}  // namespace mattec::ir
