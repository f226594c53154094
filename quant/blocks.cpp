#include "quant/blocks.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

namespace mattec::quant {
namespace {

using ir::Graph;
using ir::Op;
using ir::OpKind;
using ir::TensorId;

size_t at(int index) { return static_cast<size_t>(index); }

bool is_view(OpKind kind) { return kind == OpKind::slice || kind == OpKind::requantize; }
bool is_resampling(OpKind kind) { return kind == OpKind::avg_pool2 || kind == OpKind::upsample2; }

class Partition {
 public:
  explicit Partition(const Graph& graph) : graph_(graph), group_(graph.ops.size()) {
    std::iota(group_.begin(), group_.end(), 0);
    find_vectors();
    for (int i = 0; i < count(); ++i) join_op(i);
    join_recurrent_units();
    join_last();
    while (join_cycle()) continue;
  }

  // Operations of each group, groups in an order that respects the data flow.
  std::vector<std::vector<int>> ordered() const {
    std::vector<std::vector<int>> groups;
    std::set<int> done;
    while (done.size() < at(count())) {
      const int next = first_ready(done);
      groups.emplace_back();
      for (int i = 0; i < count(); ++i)
        if (group_[at(i)] == group_[at(next)]) groups.back().push_back(i);
      done.insert(groups.back().begin(), groups.back().end());
    }
    return groups;
  }

 private:
  int count() const { return static_cast<int>(graph_.ops.size()); }
  const Op& op(int index) const { return graph_.ops[at(index)]; }

  void join(int a, int b) {
    if (a < 0 || b < 0) return;
    const int from = group_[at(b)], to = group_[at(a)];
    std::replace(group_.begin(), group_.end(), from, to);
  }

  // Tensors of 1x1 pixels.
  void find_vectors() {
    vector_.assign(graph_.tensors.size(), false);
    for (const Op& op : graph_.ops)
      vector_[at(op.output)] = op.kind == OpKind::global_avg_pool ||
                               std::all_of(op.inputs.begin(), op.inputs.end(),
                                           [this](TensorId id) { return vector_[at(id)]; });
  }

  // The operation that a tensor, or what it is a copy or a slice of, is made by; -1: none.
  int source(TensorId id) const {
    int made = graph_.producer(id);
    while (made >= 0 && is_view(op(made).kind)) made = graph_.producer(op(made).inputs[0]);
    return made;
  }

  // Operations that read the tensor or copies and slices of it.
  std::set<int> readers(TensorId id) const {
    std::set<int> all;
    for (const int reader : graph_.consumers(id)) {
      if (!is_view(op(reader).kind)) {
        all.insert(reader);
        continue;
      }
      const std::set<int> more = readers(op(reader).output);
      all.insert(more.begin(), more.end());
    }
    return all;
  }

  bool is_conv(int index) const { return index >= 0 && op(index).kind == OpKind::conv; }
  bool is_depthwise(int index) const { return is_conv(index) && op(index).conv.depthwise; }
  bool is_gated(int index) const {
    return index >= 0 && op(index).kind == OpKind::mul && vector_[at(op(index).inputs[1])];
  }
  bool is_pointwise(int index) const {
    return is_conv(index) && !is_depthwise(index) && op(index).conv.kernel == 1;
  }
  bool is_linear(int index) const { return op(index).activation == ir::Activation::none; }
  bool is_spatial(int index) const {
    return is_conv(index) && !is_depthwise(index) && op(index).conv.kernel > 1 && !is_linear(index);
  }
  bool is_read_by(int made, int reader) const {
    return readers(op(made).output) == std::set<int>{reader};
  }

  void join_op(int i) {
    const Op& it = op(i);
    const int before = source(it.inputs[0]);
    if (is_view(it.kind)) join(before, i);
    if (is_resampling(it.kind)) {
      const std::set<int> reading = readers(it.output);
      join(reading.empty() ? before : *reading.begin(), i);
    }
    if (vector_[at(it.output)])
      for (const int reader : graph_.consumers(it.output)) join(reader, i);
    if (is_gated(i) && is_conv(before)) join(before, i);
    if (is_depthwise(i) && is_pointwise(before) && is_read_by(before, i)) join(before, i);
    const bool ends_residual = is_pointwise(i) && is_linear(i) && it.segment_count() == 1;
    if (ends_residual && (is_depthwise(before) || is_gated(before))) join(before, i);
    // Pairs: a long row of them is no block.
    if (is_spatial(i) && is_spatial(before) && it.segment_count() == 1 && is_read_by(before, i) &&
        paired_.count(before) == 0) {
      join(before, i);
      paired_.insert(i);
    }
  }

  void join_recurrent_units() {
    for (const ir::State& state : graph_.states) {
      const int made = graph_.producer(state.output);
      for (const int reader : graph_.consumers(state.input)) join(made, reader);
    }
    while (join_cycle()) continue;  // from the state read to the state made
    for (const ir::State& state : graph_.states) {
      const int unit = group_[at(graph_.producer(state.output))];
      for (int i = 0; i < count(); ++i) {
        if (group_[at(i)] != unit || !is_conv(i)) continue;
        for (const TensorId input : op(i).inputs) {
          const int before = source(input);
          if (is_spatial(before)) join(i, before);
        }
      }
    }
  }

  void join_last() {
    int last = -1;
    for (const ir::Output& output : graph_.outputs) {
      const int made = graph_.producer(output.tensor);
      if (!is_conv(made)) continue;
      if (last >= 0 && op(last).inputs[0] == op(made).inputs[0]) join(last, made);
      last = made;
    }
  }

  // Groups that each group reads from.
  std::vector<std::set<int>> reads() const {
    std::vector<std::set<int>> reads(group_.size());
    for (int i = 0; i < count(); ++i)
      for (const TensorId input : op(i).inputs) {
        const int made = graph_.producer(input);
        if (made >= 0 && group_[at(made)] != group_[at(i)])
          reads[at(group_[at(i)])].insert(group_[at(made)]);
      }
    return reads;
  }

  // Joins two groups that read each other's results, directly or not; false if none do.
  bool join_cycle() {
    std::vector<std::set<int>> all = reads();
    for (bool grown = true; grown;) {
      grown = false;
      for (std::set<int>& from : all) {
        const size_t before = from.size();
        for (const int group : std::set<int>(from))
          from.insert(all[at(group)].begin(), all[at(group)].end());
        grown = grown || from.size() > before;
      }
    }
    for (int i = 0; i < count(); ++i)
      for (const int other : all[at(i)])
        if (other != i && all[at(other)].count(i) != 0) {
          std::replace(group_.begin(), group_.end(), other, i);
          return true;
        }
    return false;
  }

  // An operation of the first group, in the graph's order, that reads only what is done.
  int first_ready(const std::set<int>& done) const {
    const std::vector<std::set<int>> all = reads();
    std::set<int> open;
    for (int i = 0; i < count(); ++i)
      if (done.count(i) == 0) open.insert(group_[at(i)]);
    for (int i = 0; i < count(); ++i) {
      const int group = group_[at(i)];
      const auto is_open = [&](int other) { return open.count(other) != 0; };
      if (is_open(group) && std::none_of(all[at(group)].begin(), all[at(group)].end(), is_open))
        return i;
    }
    return -1;  // never: there are no cycles
  }

  const Graph& graph_;
  std::vector<int> group_;  // of each operation
  std::vector<bool> vector_;
  std::set<int> paired_;
};

void add_once(std::vector<TensorId>& list, TensorId id) {
  if (std::find(list.begin(), list.end(), id) == list.end()) list.push_back(id);
}

// Fills what follows from `ops`.
void describe(const Graph& graph, Block& block) {
  std::vector<bool> inside(graph.ops.size(), false), learnt(graph.tensors.size(), false);
  for (const int i : block.ops) inside[at(i)] = true;
  std::set<TensorId> states, kept;
  for (const ir::State& state : graph.states) {
    states.insert(state.input);
    kept.insert(state.output);
  }
  for (const ir::Output& output : graph.outputs) kept.insert(output.tensor);
  for (const int i : block.ops) {
    const Op& op = graph.ops[at(i)];
    bool is_learnt = op.kind == OpKind::conv;
    for (const TensorId input : op.inputs) {
      is_learnt = is_learnt || learnt[at(input)];
      const int made = graph.producer(input);
      if (made >= 0 ? !inside[at(made)] : states.count(input) == 0) add_once(block.inputs, input);
    }
    learnt[at(op.output)] = is_learnt;
    const std::vector<int> readers = graph.consumers(op.output);
    const bool leaves = std::any_of(readers.begin(), readers.end(),
                                    [&](int reader) { return !inside[at(reader)]; });
    if (is_learnt && (leaves || kept.count(op.output) != 0)) block.outputs.push_back(op.output);
    for (size_t s = 0; s < graph.states.size(); ++s)
      if (graph.states[s].output == op.output) block.states.push_back(static_cast<int>(s));
  }
  block.name = graph.ops[at(block.ops.back())].name;
}

}  // namespace

std::vector<Block> blocks_of(const Graph& graph) {
  std::vector<Block> blocks;
  for (std::vector<int>& ops : Partition(graph).ordered()) {
    Block block;
    block.ops = std::move(ops);
    describe(graph, block);
    blocks.push_back(std::move(block));
  }
  return blocks;
}

}  // namespace mattec::quant
