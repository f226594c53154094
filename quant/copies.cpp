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

bool keeps_grid(OpKind kind) {
  return kind == OpKind::slice || kind == OpKind::upsample2 || kind == OpKind::avg_pool2;
}

// What decides how each tensor of a fused graph is stored.
struct Tensors {
  std::vector<TensorId> root;     // through slices and resampling, what the tensor is made of
  std::vector<bool> wide;         // 16 bits: states, blends and their slices
  std::vector<bool> fixed;        // never of 4 bits, or of no use at 4 bits
  std::vector<bool> others_read;  // of roots: something but convolutions reads it
};

bool is_segment(const Op& op, size_t input) {
  return op.kind == OpKind::conv && input < static_cast<size_t>(op.segment_count());
}

Tensors classify(const Graph& fused) {
  const size_t count = fused.tensors.size();
  Tensors tensors;
  for (size_t i = 0; i < count; ++i) tensors.root.push_back(static_cast<TensorId>(i));
  tensors.wide.assign(count, false);
  tensors.others_read.assign(count, false);
  for (const GridRule rule : resolved_grid_rules(fused))
    tensors.fixed.push_back(rule == GridRule::unit);
  for (const ir::State& state : fused.states) tensors.wide[at(state.input)] = true;
  for (const ir::Output& output : fused.outputs) tensors.fixed[at(output.tensor)] = true;
  std::vector<bool> vector(count, false);  // 1x1: so few products that bits cost nothing
  for (const Op& op : fused.ops) {
    const TensorId made = op.output;
    if (keeps_grid(op.kind)) tensors.root[at(made)] = tensors.root[at(op.inputs[0])];
    if (op.kind == OpKind::slice) tensors.wide[at(made)] = tensors.wide[at(op.inputs[0])];
    if (op.kind == OpKind::blend) tensors.wide[at(made)] = true;
    vector[at(made)] =
        op.kind == OpKind::global_avg_pool ||
        (op.kind == OpKind::conv && std::all_of(op.inputs.begin(), op.inputs.end(),
                                                [&](TensorId id) { return vector[at(id)]; }));
    if (vector[at(made)]) tensors.fixed[at(made)] = true;
    for (size_t i = 0; i < op.inputs.size(); ++i) {
      const bool for_its_size = op.kind == OpKind::upsample2 && i == 1;
      if (!is_segment(op, i) && !(keeps_grid(op.kind) && i == 0) && !for_its_size)
        tensors.others_read[at(tensors.root[at(op.inputs[i])])] = true;
    }
  }
  return tensors;
}

bool is_fixed(const Tensors& tensors, TensorId id) {
  return tensors.fixed[at(id)] || tensors.fixed[at(tensors.root[at(id)])];
}

std::vector<TensorId> segments(const Op& op) {
  return {op.inputs.begin(), op.inputs.begin() + op.segment_count()};
}

// One reader, or several that convolve the same tensors (the matte's two convolutions).
bool read_alike(const Graph& fused, TensorId id) {
  const std::vector<int> readers = fused.consumers(id);
  const auto same = [&](int reader) {
    return segments(fused.ops[static_cast<size_t>(reader)]) ==
           segments(fused.ops[static_cast<size_t>(readers[0])]);
  };
  return std::all_of(readers.begin(), readers.end(), same);
}

// The name by which a policy chooses the bits that `convolution` reads `input` with: the tensor's,
// where it is stored for convolutions alone and they read it through slices or all alike.
std::string site_name(const Graph& fused, const Tensors& tensors, TensorId input,
                      const Op& convolution) {
  const TensorId root = tensors.root[at(input)];
  if (!tensors.wide[at(root)] && !tensors.others_read[at(root)] &&
      (input != root || read_alike(fused, root)))
    return fused.tensor(root).name;
  return fused.tensor(input).name + " > " + convolution.name;
}

// Builds the graph of with_copies operation by operation.
class Builder {
 public:
  Builder(const Graph& fused, const BitPolicy& policy, Copies copies)
      : fused_(fused), policy_(policy), copies_(copies), tensors_(classify(fused)) {
    stored_.graph = fused;
    stored_.graph.ops.clear();
    for (size_t i = 0; i < fused.tensors.size(); ++i) {
      const auto id = static_cast<TensorId>(i);
      stored_.source.push_back(id);
      const auto root = at(tensors_.root[i]);
      const bool may_be_low = !tensors_.others_read[root] && !is_fixed(tensors_, id);
      stored_.bits.push_back(tensors_.wide[i] ? 16 : may_be_low && !tensors_.wide[root] ? 4 : 8);
    }
    // 4 bits only if that is what every reader wants.
    for (const Op& op : fused.ops)
      for (size_t j = 0; j < op.inputs.size(); ++j)
        if (is_segment(op, j) && (wanted(op.inputs[j], op) == 8 || has_own_copy(op.inputs[j], op)))
          for (size_t i = 0; i < fused.tensors.size(); ++i)
            if (tensors_.root[i] == tensors_.root[at(op.inputs[j])] && stored_.bits[i] == 4)
              stored_.bits[i] = 8;
    for (size_t i = 0; i < fused.tensors.size(); ++i)
      stored_.site.push_back(fused.tensor(tensors_.root[i]).name);
  }

  StoredGraph build() {
    for (Op op : fused_.ops) {
      for (size_t i = 0; i < op.inputs.size(); ++i) {
        TensorId& input = op.inputs[i];
        if (is_segment(op, i))
          input = copy_of(input, wanted(input, op), &op);
        else if (tensors_.wide[at(input)] && op.kind != OpKind::slice && op.kind != OpKind::mul &&
                 op.kind != OpKind::blend)
          input = copy_of(input, 8, nullptr);
      }
      stored_.graph.ops.push_back(std::move(op));
    }
    return std::move(stored_);
  }

 private:
  int wanted(TensorId input, const Op& convolution) const {
    if (is_fixed(tensors_, input)) return 8;
    const TensorId root = tensors_.root[at(input)];
    return policy_.of_input(fused_.tensor(tensors_.wide[at(root)] ? input : root).name,
                            convolution.name);
  }

  bool has_own_copy(TensorId input, const Op& convolution) const {
    return copies_ == Copies::one_per_site && site_name(fused_, tensors_, input, convolution) !=
                                                  fused_.tensor(tensors_.root[at(input)]).name;
  }

  TensorId copy_of(TensorId id, int bits, const Op* convolution) {
    if (stored_.bits[at(id)] == bits) return id;
    const std::string site =
        bits == 4 ? site_name(fused_, tensors_, id, *convolution) : std::string();
    std::string name = fused_.tensor(id).name + (bits == 8 ? ".copy" : ".copy4");
    if (bits == 4 && copies_ == Copies::one_per_site) name = site;
    const auto [found, is_new] = made_.try_emplace(name, ir::no_tensor);
    if (is_new) {
      Op op;
      op.kind = OpKind::requantize;
      op.name = name;
      op.inputs = {id};
      found->second = stored_.graph.add_op(op, fused_.tensor(id).channels);
      stored_.bits.push_back(bits);
      stored_.source.push_back(id);
      stored_.site.push_back(site);
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

StoredGraph with_copies(const Graph& fused, const BitPolicy& policy, Copies copies) {
  return Builder(fused, policy, copies).build();
}

std::vector<Site> sites_of(const Graph& fused) {
  const Tensors tensors = classify(fused);
  std::vector<Site> sites;
  const auto add = [&](const std::string& name, bool weights) {
    const auto same = [&](const Site& site) {
      return site.name == name && site.weights == weights;
    };
    if (std::none_of(sites.begin(), sites.end(), same)) sites.push_back({name, weights});
  };
  for (const Op& op : fused.ops) {
    if (op.kind != OpKind::conv) continue;
    add(op.name, true);
    for (int j = 0; j < op.segment_count(); ++j) {
      const TensorId input = op.inputs[static_cast<size_t>(j)];
      if (!is_fixed(tensors, input)) add(site_name(fused, tensors, input, op), false);
    }
  }
  return sites;
}

}  // namespace mattec::quant
