// Compiles a quantized graph, runs it beside the interpreter and compares every stored tensor.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "ir/interpreter.h"
#include "runtime/model.h"
#include "targets/compile.h"
#include "targets/load_library.h"
#include "targets/target.h"

// In a test's body: leaves it where this processor cannot run the target's code.
#define MATTEC_NEED_TARGET(name)                                       \
  if (!mattec::targets::host_runs(mattec::targets::find_target(name))) \
  GTEST_SKIP() << "this processor does not run " << (name)

namespace mattec::test {

// Of every target that the compiler knows.
inline std::vector<const char*> target_names() {
  std::vector<const char*> names;
  for (const targets::Target& target : targets::known_targets())
    names.push_back(target.name.c_str());
  return names;
}

// A compiled library in this process with one session.
class CompiledNetwork {
 public:
  CompiledNetwork(const ir::Graph& graph, const targets::CompileOptions& options, int threads)
      : compiled_(std::make_shared<targets::CompiledLibrary>(targets::compile(graph, options))),
        library_(load(*compiled_, options.name)),
        size_(options.size) {
    open(threads);
  }
  // Another session of the same library.
  CompiledNetwork(const CompiledNetwork& other, int threads)
      : compiled_(other.compiled_), library_(other.library_), size_(other.size_) {
    open(threads);
  }
  ~CompiledNetwork() { mattec_close(session_); }
  CompiledNetwork(const CompiledNetwork&) = delete;
  CompiledNetwork& operator=(const CompiledNetwork&) = delete;

  // One frame; `alpha` and `fgr` (R, G, B) may be null.
  void step(const std::vector<uint8_t>& rgb, std::vector<uint8_t>* alpha,
            std::vector<uint8_t>* fgr) {
    const size_t pixels = static_cast<size_t>(size_.height) * size_.width;
    const mattec_image frame = {const_cast<uint8_t*>(rgb.data()), size_.width, size_.height,
                                size_.width * 3, MATTEC_RGB};
    mattec_outputs outputs{};
    if (alpha != nullptr) {
      alpha->assign(pixels, 0xAB);
      outputs.alpha = {alpha->data(), size_.width, size_.height, size_.width, MATTEC_GRAY};
    }
    if (fgr != nullptr) {
      fgr->assign(pixels * 3, 0xAB);
      outputs.foreground = {fgr->data(), size_.width, size_.height, size_.width * 3, MATTEC_RGB};
    }
    ASSERT_EQ(mattec_step(session_, &frame, nullptr, &outputs), MATTEC_OK);
  }
  void reset() { mattec_reset(session_); }
  const targets::CompiledLibrary& compiled() const { return *compiled_; }

  // One integer of a storage's interior.
  int32_t at(const lower::Storage& storage, int y, int x, int c) const {
    const uint8_t* element =
        tensors_ + storage.offset + storage.position(y, x) + c * storage.element_bytes;
    if (storage.element_bytes == 1) return *element;
    int16_t value = 0;
    std::memcpy(&value, element, sizeof value);
    return value;
  }

 private:
  // The arena ends where memory ends, so that a kernel that reads beyond it crashes; it starts as
  // noise, so that a kernel that relies on zeros differs.
  void open(int threads) {
    const auto* plan = reinterpret_cast<const mattec_plan*>(library_.model());
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const auto bytes = static_cast<size_t>(plan->arena_bytes);
    const size_t usable = (bytes + page - 1) / page * page;
    void* mapped =
        ::mmap(nullptr, usable + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw Error("no memory for the arena");
    memory_ = std::shared_ptr<void>(mapped, [=](void* at) { ::munmap(at, usable + page); });
    ::mprotect(static_cast<uint8_t*>(mapped) + usable, page, PROT_NONE);
    uint8_t* arena = static_cast<uint8_t*>(mapped) + usable - bytes;
    std::memset(arena, 0xAB, bytes);
    tensors_ = arena + plan->tensors_offset;
    EXPECT_NE(
        compiled_->manifest.find("\"stack_bytes\": " + std::to_string(plan->stack_bytes) + ","),
        std::string::npos);
    mattec_options session_options{};
    session_options.threads = threads;
    const mattec_status status =
        mattec_init(library_.model(), arena, bytes, &session_options, &session_);
    if (status != MATTEC_OK) throw Error(mattec_message(library_.model(), status));
  }

  static targets::LoadedLibrary load(const targets::CompiledLibrary& compiled,
                                     const std::string& name) {
    const std::filesystem::path path =
        std::filesystem::temp_directory_path() / (name + std::to_string(::getpid()) + ".a");
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(compiled.archive.data()),
               static_cast<std::streamsize>(compiled.archive.size()));
    const targets::LoadedLibrary library = targets::LoadedLibrary::load(path.string());
    std::filesystem::remove(path);
    return library;
  }

  std::shared_ptr<const targets::CompiledLibrary> compiled_;
  targets::LoadedLibrary library_;
  ir::Size size_;
  std::shared_ptr<void> memory_;
  uint8_t* tensors_ = nullptr;
  mattec_session* session_ = nullptr;
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
inline std::string difference(const CompiledNetwork& network, const lower::StoredTensor& stored,
                              const ir::IntegerTensor& wanted) {
  const lower::Storage& storage =
      network.compiled().plan.storages[static_cast<size_t>(stored.storage)];
  if (static_cast<size_t>(wanted.channels) != stored.channels.size())
    return stored.name + ": channels";
  for (int y = 0; y < storage.size.height; ++y)
    for (int x = 0; x < storage.size.width; ++x)
      for (int c = 0; c < wanted.channels; ++c) {
        const int found = network.at(storage, y, x, stored.channels[static_cast<size_t>(c)]);
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
  std::vector<bool> compared(plan.storages.size(), false);
  std::map<int, std::string> differences;  // by the operation that makes the tensor
  for (const lower::StoredTensor& stored : plan.stored) {
    compared[static_cast<size_t>(stored.storage)] = true;
    const ir::TensorId id = tensor_called(graph, stored.name);
    if (id == ir::no_tensor && stored.name == "matte") continue;  // foreground and alpha are slices
    if (id == ir::no_tensor) return stored.name + " is no tensor of the graph";
    const std::string found = difference(network, stored, oracle.tensor(id));
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

}  // namespace mattec::test
