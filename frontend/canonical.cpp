#include <map>
#include <utility>

#include "base/error.h"
#include "frontend/passes.h"
#include "ir/compare.h"

namespace mattec::frontend {
namespace {

using ir::Op;
using ir::OpKind;
using ir::TensorId;

// Equal operations on equal inputs become one. result[t] = the tensor that stands for t.
std::vector<TensorId> merge_equal(std::vector<Op>& ops, size_t tensors) {
  std::vector<TensorId> stands_for(tensors);
  for (size_t t = 0; t < tensors; ++t) stands_for[t] = static_cast<TensorId>(t);
  std::map<std::pair<OpKind, std::vector<TensorId>>, std::vector<const Op*>> seen;
  for (Op& op : ops) {
    for (TensorId& input : op.inputs) input = stands_for[static_cast<size_t>(input)];
    std::vector<const Op*>& candidates = seen[{op.kind, op.inputs}];
    bool found = false;
    for (const Op* candidate : candidates) {
      if (!ir::attribute_difference(*candidate, op, 0).empty()) continue;
      stands_for[static_cast<size_t>(op.output)] = candidate->output;
      found = true;
      break;
    }
    if (!found) candidates.push_back(&op);
  }
  return stands_for;
}

// Indices of the operations that `roots` need, inputs before their readers, in depth-first order.
std::vector<size_t> depth_first(const std::vector<Op>& ops, size_t tensors,
                                const std::vector<TensorId>& roots) {
  std::vector<int> producer(tensors, -1);
  for (size_t i = 0; i < ops.size(); ++i)
    if (producer[static_cast<size_t>(ops[i].output)] < 0)
      producer[static_cast<size_t>(ops[i].output)] = static_cast<int>(i);
  std::vector<bool> done(ops.size(), false);
  std::vector<size_t> order;
  for (TensorId root : roots) {
    // (operation, next input to visit); a stack of its own, as networks may be thousands deep.
    std::vector<std::pair<size_t, size_t>> path;
    const auto enter = [&](TensorId tensor) {
      const int maker = producer[static_cast<size_t>(tensor)];
      if (maker < 0 || done[static_cast<size_t>(maker)]) return;
      done[static_cast<size_t>(maker)] = true;
      path.push_back({static_cast<size_t>(maker), 0});
    };
    enter(root);
    while (!path.empty()) {
      const size_t op = path.back().first;
      if (path.back().second < ops[op].inputs.size()) {
        enter(ops[op].inputs[path.back().second++]);
      } else {
        order.push_back(op);
        path.pop_back();
      }
    }
  }
  return order;
}

const char* suffix_of(const Op& op) {
  return op.kind == OpKind::activation ? ir::name_of(op.activation) : ir::name_of(op.kind);
}

// Gives out `wanted`, numbered from its second use on.
class UniqueNames {
 public:
  std::string operator()(const std::string& wanted) {
    int& count = used_[wanted];
    if (++count == 1) return wanted;
    for (;; ++count) {
      std::string name = wanted + "." + std::to_string(count);
      if (used_.emplace(name, 1).second) return name;
    }
  }

 private:
  std::map<std::string, int> used_;
};

}  // namespace

ir::Graph canonical(const ir::Graph& graph) {
  std::vector<TensorId> wanted;
  for (const ir::Output& output : graph.outputs) wanted.push_back(output.tensor);
  for (const ir::State& state : graph.states) wanted.push_back(state.output);
  std::vector<Op> ops;  // inputs before readers, as merging needs them
  for (size_t i : depth_first(graph.ops, graph.tensors.size(), wanted)) ops.push_back(graph.ops[i]);
  const std::vector<TensorId> stands_for = merge_equal(ops, graph.tensors.size());
  const auto standing = [&](TensorId id) { return stands_for[static_cast<size_t>(id)]; };
  for (TensorId& root : wanted) root = standing(root);

  ir::Graph result;
  result.name = graph.name;
  result.stage = graph.stage;
  UniqueNames unique;
  std::vector<TensorId> renumbered(graph.tensors.size(), ir::no_tensor);
  std::vector<std::string> follows;  // per new tensor: what operations on it are named after
  const auto add_input = [&](TensorId id, const std::string& name) {
    follows.push_back(unique(name));
    return renumbered[static_cast<size_t>(id)] =
               result.add_tensor(follows.back(), graph.tensor(id).channels);
  };
  result.frame = add_input(graph.frame, "frame");
  for (const ir::State& state : graph.states)
    result.states.push_back({state.name, add_input(state.input, state.name), ir::no_tensor});

  for (size_t i : depth_first(ops, graph.tensors.size(), wanted)) {
    Op op = std::move(ops[i]);
    for (TensorId& input : op.inputs) {
      input = renumbered[static_cast<size_t>(input)];
      if (input == ir::no_tensor)
        throw Error("operation '" + op.name + "' reads a tensor that nothing makes");
    }
    const TensorId old = op.output;
    const std::string base =
        op.kind == OpKind::conv ? op.name : follows[static_cast<size_t>(op.inputs.at(0))];
    op.name = unique(op.kind == OpKind::conv ? base : base + "." + suffix_of(op));
    follows.push_back(op.kind == OpKind::conv ? op.name : base);
    renumbered[static_cast<size_t>(old)] = result.add_op(std::move(op), graph.tensor(old).channels);
  }
  for (size_t i = 0; i < graph.states.size(); ++i)
    result.states[i].output = renumbered[static_cast<size_t>(standing(graph.states[i].output))];
  for (const ir::Output& output : graph.outputs)
    result.outputs.push_back(
        {output.name, renumbered[static_cast<size_t>(standing(output.tensor))], output.variant});
  return result;
}

}  // namespace mattec::frontend
