#include "ir/interpreter.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <utility>

#include "base/error.h"
#include "ir/operations.h"
#include "ir/verify.h"

namespace mattec::ir {
namespace {

// Every tensor of a frame is kept; past this the frame was hardly meant for the interpreter.
constexpr size_t most_values = size_t{1} << 31;

void check_pool(const Graph& graph, const Op& op, Size size) {
  const Tensor& tensor = graph.tensor(op.inputs[0]);
  const int64_t count = static_cast<int64_t>(size.height) * size.width;
  for (int c = 0; c < tensor.channels; ++c) {
    const int64_t zero_point = tensor.grid->zero_point_of(c);
    const int64_t largest =
        std::max(zero_point - tensor.grid->lowest(), tensor.grid->highest() - zero_point);
    if (largest * count > std::numeric_limits<int32_t>::max())
      throw Error("operation " + op.name + " (global_avg_pool): the sum of " +
                  std::to_string(size.width) + "x" + std::to_string(size.height) +
                  " values can leave 32 bits; use a smaller frame");
  }
}

}  // namespace

struct Interpreter::Prepared {
  std::map<TensorId, PackedConvolution> of;  // by the convolution's output
};

Interpreter::Interpreter(const Graph& graph, Size frame) : graph_(graph) {
  verify(graph_, "network " + graph_.name);
  if (graph_.stage != Stage::quantized)
    throw Error("network " + graph_.name + ": it is not quantized; run mattec quantize first");
  for (const Output& output : graph_.outputs)
    if (output.variant != Variant::both)
      throw Error("network " + graph_.name + ": choose one variant (extract) before running it");
  const std::vector<Size> sizes = infer_sizes(graph_, frame);
  size_t total = 0;
  for (size_t id = 0; id < sizes.size(); ++id) {
    const size_t count = static_cast<size_t>(sizes[id].height) *
                         static_cast<size_t>(sizes[id].width) *
                         static_cast<size_t>(graph_.tensors[id].channels);
    total += count;
    if (total > most_values)
      throw Error("network " + graph_.name + ": a frame of " + std::to_string(frame.width) + "x" +
                  std::to_string(frame.height) +
                  " needs more than 8 GiB in the interpreter; use a smaller frame");
  }
  auto prepared = std::make_shared<Prepared>();
  for (const Op& op : graph_.ops) {
    if (op.kind == OpKind::conv) prepared->of[op.output] = pack(graph_, op);
    if (op.kind == OpKind::global_avg_pool)
      check_pool(graph_, op, sizes[static_cast<size_t>(op.inputs[0])]);
  }
  prepared_ = std::move(prepared);
  values_.resize(sizes.size());
  for (size_t id = 0; id < sizes.size(); ++id) {
    values_[id].size = sizes[id];
    values_[id].channels = graph_.tensors[id].channels;
    values_[id].values.resize(static_cast<size_t>(sizes[id].height) *
                              static_cast<size_t>(sizes[id].width) *
                              static_cast<size_t>(values_[id].channels));
  }
}

void Interpreter::reset() { first_ = true; }

void Interpreter::step(const uint8_t* rgb) {
  const auto value = [&](TensorId id) -> IntegerTensor& {
    return values_[static_cast<size_t>(id)];
  };
  // A state's output is always an operation's, so no copy can hit another state's input first.
  for (const State& state : graph_.states) {
    IntegerTensor& input = value(state.input);
    if (!first_) {
      input.values = value(state.output).values;
      continue;
    }
    const Grid& grid = *graph_.tensor(state.input).grid;
    for (size_t i = 0; i < input.values.size(); ++i)
      input.values[i] =
          grid.zero_point_of(static_cast<int>(i % static_cast<size_t>(input.channels)));
  }
  first_ = false;
  IntegerTensor& frame = value(graph_.frame);
  std::copy(rgb, rgb + frame.values.size(), frame.values.begin());
  for (const Op& op : graph_.ops) {
    if (op.kind == OpKind::conv)
      convolve(op, prepared_->of.at(op.output), values_);
    else
      operation_of(op.kind).interpret({graph_, op, values_});
  }
}

std::vector<uint8_t> Interpreter::output(const std::string& name) const {
  const Output* found = graph_.find_output(name, Variant::both);
  if (found == nullptr) throw Error("network " + graph_.name + ": it has no output named " + name);
  const std::vector<int32_t>& values = tensor(found->tensor).values;
  return {values.begin(), values.end()};
}

}  // namespace mattec::ir
