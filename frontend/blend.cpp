#include "frontend/blend.h"

#include "frontend/passes.h"

namespace mattec::frontend {
namespace {

using ir::Op;
using ir::OpKind;
using ir::TensorId;

class Matcher {
 public:
  explicit Matcher(const ir::Graph& graph) : producer_(graph.tensors.size(), nullptr) {
    for (const Op& op : graph.ops) producer_[static_cast<size_t>(op.output)] = &op;
  }

  // {z, h, c} of a blend whose last addition is `op`; empty = it is none.
  std::vector<TensorId> match(const Op& op) const {
    if (op.kind != OpKind::add) return {};
    for (int swap = 0; swap < 2; ++swap) {
      const TensorId left = op.inputs[static_cast<size_t>(swap)];
      const TensorId right = op.inputs[static_cast<size_t>(1 - swap)];
      std::vector<TensorId> found = match_weighted(left, right);
      if (found.empty()) found = match_difference(left, right);
      if (!found.empty()) return found;
    }
    return {};
  }

 private:
  const Op* made_by(TensorId id, OpKind kind) const {
    const Op* op = producer_[static_cast<size_t>(id)];
    return op && op->kind == kind ? op : nullptr;
  }
  // z, if `id` is 1 - z.
  TensorId complement_of(TensorId id) const {
    const Op* op = made_by(id, OpKind::scale_shift);
    if (!op) return ir::no_tensor;
    for (float factor : op->factor)
      if (factor != -1.0F) return ir::no_tensor;
    for (float offset : op->offset)
      if (offset != 1.0F) return ir::no_tensor;
    return op->inputs[0];
  }
  // left = (1 - z) h, right = z c
  std::vector<TensorId> match_weighted(TensorId left, TensorId right) const {
    const Op* kept = made_by(left, OpKind::mul);
    const Op* taken = made_by(right, OpKind::mul);
    if (!kept || !taken) return {};
    for (size_t i = 0; i < 2; ++i) {
      const TensorId z = complement_of(kept->inputs[i]);
      if (z == ir::no_tensor) continue;
      for (size_t j = 0; j < 2; ++j)
        if (taken->inputs[j] == z) return {z, kept->inputs[1 - i], taken->inputs[1 - j]};
    }
    return {};
  }
  // left = h, right = z (c - h)
  std::vector<TensorId> match_difference(TensorId left, TensorId right) const {
    const Op* product = made_by(right, OpKind::mul);
    if (!product) return {};
    for (size_t i = 0; i < 2; ++i) {
      const Op* difference = made_by(product->inputs[i], OpKind::sub);
      if (difference && difference->inputs[1] == left)
        return {product->inputs[1 - i], left, difference->inputs[0]};
    }
    return {};
  }

  std::vector<const Op*> producer_;
};

}  // namespace

ir::Graph recognise_blend(const ir::Graph& imported) {
  ir::Graph graph = imported;
  const Matcher matcher(imported);
  for (Op& op : graph.ops) {
    std::vector<TensorId> inputs = matcher.match(op);
    if (inputs.empty()) continue;
    op.kind = OpKind::blend;
    op.inputs = std::move(inputs);
  }
  return canonical(graph);
}

}  // namespace mattec::frontend
