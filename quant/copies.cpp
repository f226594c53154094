#include "quant/copies.h"

#include <algorithm>
#include <map>
#include <utility>

#include "quant/grids.h"

namespace mattec::quant {
namespace {

using ir::Graph;
using ir::Op;
using ir::OpKind;
using ir::TensorId;

size_t at(TensorId id) { return static_cast<size_t>(id); }

bool reads_16_bits(OpKind kind) {
  return kind == OpKind::slice || kind == OpKind::mul || kind == OpKind::blend;
}

bool is_segment(const Op& op, size_t input) {
  return op.kind == OpKind::conv && input < static_cast<size_t>(op.segment_count());
}

bool is_for_its_size(const Op& op, size_t input) {
  return op.kind == OpKind::upsample2 && input == 1;
}

std::vector<TensorId> segments(const Op& op) {
  return {op.inputs.begin(), op.inputs.begin() + op.segment_count()};
}

// What decides how each tensor of a fused graph is stored. A root is what a tensor is made of,
// through slices and resampling; they share its grid.
class Tensors {
 public:
  explicit Tensors(const Graph& fused)
      : fused_(fused),
        root_(fused.tensors.size()),
        wide_(root_.size(), false),
        fixed_(root_.size(), false),
        others_read_(root_.size(), false),
        rules_(resolved_grid_rules(fused)) {
    for (size_t i = 0; i < root_.size(); ++i) root_[i] = static_cast<TensorId>(i);
    for (const ir::State& state : fused.states) wide_[at(state.input)] = true;
    for (const Op& op : fused.ops) find_root(op);
    find_fixed();
    for (const Op& op : fused.ops) find_readers(op);
  }

  TensorId root(TensorId id) const { return root_[at(id)]; }
  // Has 16 bits: states, blends and their slices.
  bool is_wide(TensorId id) const { return wide_[at(id)]; }
  // Never has 4 bits, or would gain nothing by it.
  bool is_fixed(TensorId id) const { return fixed_[at(root(id))]; }
  // Nothing but convolutions reads it.
  bool is_for_convolutions(TensorId id) const {
    return !wide_[at(root(id))] && !others_read_[at(root(id))];
  }
  // All convolutions read it, or what is made of it, with bits of one choice.
  bool has_one_site(TensorId id) const {
    return is_for_convolutions(id) && is_read_alike(root(id));
  }
  // By its name a policy chooses the bits with which convolutions read `input`.
  const std::string& policy_name(TensorId input) const {
    return fused_.tensor(has_one_site(input) ? root(input) : input).name;
  }
  std::string site(TensorId input, const Op& convolution) const {
    return policy_name(input) + (has_one_site(input) ? "" : " > " + convolution.name);
  }
  // The matte's two convolutions, of one site, must go on having the same shifts of segments.
  bool has_parts(TensorId input, const Op& convolution) const {
    return !is_fixed(input) && root(input) == input && rules_[at(input)] == GridRule::per_tensor &&
           !convolution.conv.depthwise && convolution.conv.pad_value.empty() &&
           (!has_one_site(input) || fused_.consumers(input).size() == 1);
  }

 private:
  void find_root(const Op& op) {
    if (keeps_grid(op.kind)) root_[at(op.output)] = root(op.inputs[0]);
    if (op.kind == OpKind::slice) wide_[at(op.output)] = is_wide(op.inputs[0]);
    if (op.kind == OpKind::blend) wide_[at(op.output)] = true;
  }

  // Frames, gates and outputs by their rule; 1x1 vectors, of which so few products are made that
  // bits cost nothing.
  void find_fixed() {
    for (size_t i = 0; i < root_.size(); ++i) fixed_[i] = rules_[i] == GridRule::unit;
    std::vector<bool> vector(root_.size(), false);
    for (const Op& op : fused_.ops) {
      const bool is_vector =
          op.kind == OpKind::global_avg_pool ||
          (op.kind == OpKind::conv && std::all_of(op.inputs.begin(), op.inputs.end(),
                                                  [&](TensorId id) { return vector[at(id)]; }));
      vector[at(op.output)] = is_vector;
      if (is_vector) fixed_[at(op.output)] = true;
    }
  }

  void find_readers(const Op& op) {
    for (size_t i = 0; i < op.inputs.size(); ++i) {
      if (!is_segment(op, i) && !keeps_grid(op.kind)) others_read_[at(root(op.inputs[i]))] = true;
    }
  }

  // By no convolution itself, by one, or by several of the same inputs.
  bool is_read_alike(TensorId id) const {
    std::vector<std::vector<TensorId>> inputs;
    for (const int reader : fused_.consumers(id)) {
      const Op& op = fused_.ops[static_cast<size_t>(reader)];
      if (op.kind == OpKind::conv) inputs.push_back(segments(op));
    }
    return std::all_of(inputs.begin(), inputs.end(),
                       [&](const auto& other) { return other == inputs[0]; });
  }

  const Graph& fused_;
  std::vector<TensorId> root_;
  std::vector<bool> wide_;
  std::vector<bool> fixed_, others_read_;  // of roots
  std::vector<GridRule> rules_;
};

// Builds the graph of with_copies operation by operation.
class Builder {
 public:
  Builder(const Graph& fused, const BitPolicy& policy, Copies copies)
      : fused_(fused), policy_(policy), copies_(copies), tensors_(fused) {
    stored_.graph = fused;
    stored_.graph.ops.clear();
    stored_.bits = stored_bits();
    for (size_t i = 0; i < fused.tensors.size(); ++i) {
      const auto id = static_cast<TensorId>(i);
      stored_.source.push_back(id);
      stored_.site.push_back(fused.tensor(tensors_.root(id)).name);
    }
  }

  StoredGraph build() {
    for (Op op : fused_.ops) {
      for (size_t i = 0; i < op.inputs.size(); ++i) {
        TensorId& input = op.inputs[i];
        if (is_segment(op, i))
          input = copy_of(input, wanted(input, op), tensors_.site(input, op));
        else if (tensors_.is_wide(input) && !reads_16_bits(op.kind) && !is_for_its_size(op, i))
          input = copy_of(input, 8, {});
      }
      stored_.graph.ops.push_back(std::move(op));
    }
    return std::move(stored_);
  }

 private:
  int wanted(TensorId input, const Op& convolution) const {
    if (tensors_.is_fixed(input)) return 8;
    return policy_.of_input(tensors_.policy_name(input), convolution.name);
  }

  bool has_own_copy(TensorId input) const {
    return copies_ == Copies::one_per_site && !tensors_.has_one_site(input);
  }

  // 4 bits only if that is what every reader wants.
  std::vector<int> stored_bits() const {
    const size_t count = fused_.tensors.size();
    std::vector<bool> low(count);  // of roots
    for (size_t i = 0; i < count; ++i) {
      const auto id = static_cast<TensorId>(i);
      low[i] = tensors_.is_for_convolutions(id) && !tensors_.is_fixed(id);
    }
    for (const Op& op : fused_.ops)
      for (size_t j = 0; j < op.inputs.size(); ++j)
        if (is_segment(op, j) && (wanted(op.inputs[j], op) == 8 || has_own_copy(op.inputs[j])))
          low[at(tensors_.root(op.inputs[j]))] = false;
    std::vector<int> bits;
    for (size_t i = 0; i < count; ++i) {
      const auto id = static_cast<TensorId>(i);
      bits.push_back(tensors_.is_wide(id) ? 16 : low[at(tensors_.root(id))] ? 4 : 8);
    }
    return bits;
  }

  TensorId copy_of(TensorId id, int bits, const std::string& site) {
    if (stored_.bits[at(id)] == bits) return id;
    std::string name = fused_.tensor(id).name + (bits == 8 ? ".copy" : ".copy4");
    if (bits == 4 && has_own_copy(id)) name = site;
    const auto [found, is_new] = made_.try_emplace(name, ir::no_tensor);
    if (is_new) {
      Op op;
      op.kind = OpKind::requantize;
      op.name = name;
      op.inputs = {id};
      found->second = stored_.graph.add_op(op, fused_.tensor(id).channels);
      stored_.bits.push_back(bits);
      stored_.source.push_back(id);
      stored_.site.push_back(bits == 4 ? site : std::string());
    }
    return found->second;
  }

  const Graph& fused_;
  const BitPolicy& policy_;
  const Copies copies_;
  const Tensors tensors_;
  StoredGraph stored_;
  std::map<std::string, TensorId> made_;
};

}  // namespace

bool keeps_grid(OpKind kind) {
  return kind == OpKind::slice || kind == OpKind::upsample2 || kind == OpKind::avg_pool2;
}

StoredGraph with_copies(const Graph& fused, const BitPolicy& policy, Copies copies) {
  return Builder(fused, policy, copies).build();
}

std::vector<Site> sites_of(const Graph& fused) {
  const Tensors tensors(fused);
  std::vector<Site> sites;
  std::set<std::string> inputs;
  for (const Op& op : fused.ops) {
    if (op.kind != OpKind::conv) continue;
    sites.push_back({op.name, true});
    for (const TensorId input : segments(op)) {
      const std::string site = tensors.site(input, op);
      if (!tensors.is_fixed(input) && inputs.insert(site).second)
        sites.push_back({site, false, tensors.has_parts(input, op)});
    }
  }
  return sites;
}

std::vector<std::string> input_sites(const Graph& fused, const Op& convolution) {
  const Tensors tensors(fused);
  std::vector<std::string> sites;
  for (const TensorId input : segments(convolution))
    sites.push_back(tensors.is_fixed(input) ? std::string() : tensors.site(input, convolution));
  return sites;
}

std::set<std::string> activation_keys(const Graph& fused) {
  const Tensors tensors(fused);
  std::set<std::string> keys;
  for (const Op& op : fused.ops) {
    if (op.kind != OpKind::conv) continue;
    for (const TensorId input : segments(op)) {
      if (tensors.is_fixed(input)) continue;
      keys.insert(tensors.policy_name(input));
      keys.insert(tensors.policy_name(input) + " > " + op.name);
    }
  }
  return keys;
}

}  // namespace mattec::quant
