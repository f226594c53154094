// Compiles a quantized graph, runs it beside the interpreter and compares every stored tensor.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ir/interpreter.h"
#include "ir/verify.h"
#include "targets/compile.h"
#include "targets/runner.h"
#include "tests/target_names.h"

// In a test's body: leaves it where only another processor runs the target's code.
#define MATTEC_NEED_TARGET(name)                     \
  if (!targets::can_run(targets::find_target(name))) \
  GTEST_SKIP() << "this processor does not run " << (name)

namespace mattec::test {

// A compiled library with one session.
class CompiledNetwork {
 public:
  CompiledNetwork(const ir::Graph& graph, const targets::CompileOptions& options, int threads)
      : compiled_(std::make_shared<targets::CompiledLibrary>(targets::compile(graph, options))),
        runner_(targets::run_library(*compiled_, options.name)),
        session_(runner_->open(threads)) {}
  // Another session of the same library.
  CompiledNetwork(const CompiledNetwork& other, int threads)
      : compiled_(other.compiled_), runner_(other.runner_), session_(runner_->open(threads)) {}
  CompiledNetwork(const CompiledNetwork&) = delete;
  CompiledNetwork& operator=(const CompiledNetwork&) = delete;

  // One frame; `alpha` and `fgr` (R, G, B) may be null.
  void step(const std::vector<uint8_t>& rgb, std::vector<uint8_t>* alpha,
            std::vector<uint8_t>* fgr) {
    ASSERT_EQ(session_->step(rgb, alpha, fgr), MATTEC_OK);
  }
  void reset() { session_->reset(); }
  const targets::CompiledLibrary& compiled() const { return *compiled_; }
  // Of all storages; valid until the next step.
  const uint8_t* tensors() const { return session_->tensors(); }

  // One integer of a storage's interior, as it is stored.
  int32_t at(const uint8_t* tensors, const lower::Storage& storage, int y, int x, int c) const {
    const uint8_t* element =
        tensors + storage.offset + storage.position(y, x) + c * storage.element_bytes;
    if (storage.element_bytes == 1)
      return compiled_->plan.is_signed ? static_cast<int8_t>(*element) : *element;
    int16_t value = 0;
    std::memcpy(&value, element, sizeof value);
    return value;
  }

 private:
  std::shared_ptr<const targets::CompiledLibrary> compiled_;
  std::shared_ptr<targets::Runner> runner_;
  std::unique_ptr<targets::RunningSession> session_;
};

inline ir::TensorId tensor_called(const ir::Graph& graph, const std::string& name) {
  for (size_t id = 0; id < graph.tensors.size(); ++id)
    if (graph.tensors[id].name == name) return static_cast<ir::TensorId>(id);
  return ir::no_tensor;
}

// Made of a state as the frame found it.
inline bool is_of_old_state(const ir::Graph& graph, ir::TensorId id) {
  if (std::any_of(graph.states.begin(), graph.states.end(),
                  [id](const ir::State& state) { return state.input == id; }))
    return true;
  const int producer = graph.producer(id);
  if (producer < 0) return false;
  const ir::Op& op = graph.ops[static_cast<size_t>(producer)];
  return (op.kind == ir::OpKind::requantize || op.kind == ir::OpKind::slice) &&
         is_of_old_state(graph, op.inputs[0]);
}

// Storages that hold no tensor of the graph when a frame ends: weights that a step unpacks, further
// copies of the frame with other borders, and the new state on a grid on which only the old one is
// read: the next frame shows it.
inline bool holds_no_tensor(const ir::Graph& graph, const lower::Storage& storage) {
  const std::string weights = " weights";
  const ir::TensorId id = tensor_called(graph, storage.name);
  return storage.name == "frame" || (id != ir::no_tensor && is_of_old_state(graph, id)) ||
         (storage.name.size() > weights.size() &&
          storage.name.compare(storage.name.size() - weights.size(), weights.size(), weights) == 0);
}

// The first integer of the tensor that differs from the interpreter's.
inline std::string difference(const CompiledNetwork& network, const uint8_t* tensors,
                              const lower::StoredTensor& stored, const ir::IntegerTensor& wanted) {
  const lower::Storage& storage =
      network.compiled().plan.storages[static_cast<size_t>(stored.storage)];
  if (static_cast<size_t>(wanted.channels) != stored.channels.size())
    return stored.name + ": channels";
  for (int y = 0; y < storage.size.height; ++y)
    for (int x = 0; x < storage.size.width; ++x)
      for (int c = 0; c < wanted.channels; ++c) {
        const int found =
            network.at(tensors, storage, y, x, stored.channels[static_cast<size_t>(c)]) +
            stored.offset;
        if (found != wanted.at(y, x, c))
          return stored.name + " at row " + std::to_string(y) + " column " + std::to_string(x) +
                 " channel " + std::to_string(c) + ": " + std::to_string(found) + ", interpreter " +
                 std::to_string(wanted.at(y, x, c));
      }
  return {};
}

// With CompileOptions::keep_all: the first stored tensor, in the order of execution, that differs
// from the interpreter's, or a storage that was compared with nothing; empty if all are equal.
inline std::string first_difference(const CompiledNetwork& network, const ir::Graph& graph,
                                    const ir::Interpreter& oracle) {
  const lower::Plan& plan = network.compiled().plan;
  const uint8_t* const tensors = network.tensors();
  std::vector<bool> compared(plan.storages.size(), false);
  std::map<int, std::string> differences;  // by the operation that makes the tensor
  for (const lower::StoredTensor& stored : plan.stored) {
    compared[static_cast<size_t>(stored.storage)] = true;
    const ir::TensorId id = tensor_called(graph, stored.name);
    if (id == ir::no_tensor && stored.name == "matte") continue;  // foreground and alpha are slices
    if (id == ir::no_tensor) return stored.name + " is no tensor of the graph";
    const std::string found = difference(network, tensors, stored, oracle.tensor(id));
    if (!found.empty()) differences.emplace(graph.producer(id), found);
  }
  for (size_t i = 0; i < compared.size(); ++i)
    if (!compared[i] && !holds_no_tensor(graph, plan.storages[i]))
      return plan.storages[i].name + " is compared with nothing";
  return differences.empty() ? "" : differences.begin()->second;
}

// Plays the frames through the interpreter and through two sessions, with one and with two threads;
// every output, and with CompileOptions::keep_all every stored tensor, must be equal after every
// frame. The second session does without foreground in every third frame and without any output in
// every fifth. All start a new clip before frame `reset_before`.
inline void expect_equal(const ir::Graph& graph, const targets::CompileOptions& options,
                         const std::vector<std::vector<uint8_t>>& frames, size_t reset_before) {
  CompiledNetwork one(graph, options, 1);
  CompiledNetwork two(one, 2);
  ir::Interpreter oracle(graph, options.size);
  const bool has_foreground = graph.find_output("fgr", ir::Variant::both) != nullptr;
  std::vector<uint8_t> alpha, fgr;
  for (size_t frame = 0; frame < frames.size(); ++frame) {
    if (frame == reset_before) {
      oracle.reset();
      one.reset();
      two.reset();
    }
    oracle.step(frames[frame].data());
    for (CompiledNetwork* network : {&one, &two}) {
      SCOPED_TRACE("frame " + std::to_string(frame) + ", " + (network == &one ? "1" : "2") +
                   " threads, " + options.target);
      const bool wants_alpha = network == &one || frame % 5 != 3;
      const bool wants_fgr = has_foreground && wants_alpha && (network == &one || frame % 3 != 1);
      network->step(frames[frame], wants_alpha ? &alpha : nullptr, wants_fgr ? &fgr : nullptr);
      if (options.keep_all && wants_fgr == has_foreground && wants_alpha) {
        ASSERT_EQ(first_difference(*network, graph, oracle), "") << ir::dump(graph);
      }
      if (wants_alpha) {
        ASSERT_EQ(alpha, oracle.output("pha"));
      }
      if (wants_fgr) {
        ASSERT_EQ(fgr, oracle.output("fgr"));
      }
    }
  }
}

// A sound graph, and every tensor of it.
inline void expect_every_tensor(const ir::Graph& graph, const std::string& target, ir::Size size,
                                const std::vector<std::vector<uint8_t>>& frames) {
  MATTEC_NEED_TARGET(target);
  ASSERT_EQ(ir::violations(graph), std::vector<std::string>{});
  targets::CompileOptions options;
  options.target = target;
  options.size = size;
  options.keep_all = true;
  expect_equal(graph, options, frames, frames.size());
}

}  // namespace mattec::test
