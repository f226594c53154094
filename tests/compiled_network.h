// Compiles a quantized graph, runs it beside the interpreter and compares every stored tensor.
#pragma once

#include <gtest/gtest.h>
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

#include "ir/interpreter.h"
#include "runtime/model.h"
#include "targets/compile.h"
#include "targets/load_library.h"

namespace mattec::test {

// A compiled library in this process with one session.
class CompiledNetwork {
 public:
  CompiledNetwork(const ir::Graph& graph, const targets::CompileOptions& options, int threads)
      : compiled_(targets::compile(graph, options)),
        library_(load(compiled_, options.name)),
        size_(options.size) {
    const auto* plan = reinterpret_cast<const mattec_plan*>(library_.model());
    memory_.resize(static_cast<size_t>(plan->arena_bytes) + 64);
    auto* arena =
        reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(memory_.data()) + 63) / 64 * 64);
    tensors_ = arena + plan->tensors_offset;
    mattec_options session_options{};
    session_options.threads = threads;
    const mattec_status status =
        mattec_init(library_.model(), arena, static_cast<size_t>(plan->arena_bytes),
                    &session_options, &session_);
    if (status != MATTEC_OK) throw std::runtime_error(mattec_message(library_.model(), status));
  }
  ~CompiledNetwork() { mattec_close(session_); }
  CompiledNetwork(const CompiledNetwork&) = delete;
  CompiledNetwork& operator=(const CompiledNetwork&) = delete;

  // Alpha and foreground (R, G, B) of one frame.
  void step(const std::vector<uint8_t>& rgb, std::vector<uint8_t>& alpha,
            std::vector<uint8_t>& fgr) {
    alpha.resize(static_cast<size_t>(size_.height) * size_.width);
    fgr.resize(alpha.size() * 3);
    const mattec_image frame = {const_cast<uint8_t*>(rgb.data()), size_.width, size_.height,
                                size_.width * 3, MATTEC_RGB};
    mattec_outputs outputs{};
    outputs.alpha = {alpha.data(), size_.width, size_.height, size_.width, MATTEC_GRAY};
    outputs.foreground = {fgr.data(), size_.width, size_.height, size_.width * 3, MATTEC_RGB};
    ASSERT_EQ(mattec_step(session_, &frame, nullptr, &outputs), MATTEC_OK);
  }
  void reset() { mattec_reset(session_); }
  const targets::CompiledLibrary& compiled() const { return compiled_; }

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

  targets::CompiledLibrary compiled_;
  targets::LoadedLibrary library_;
  ir::Size size_;
  std::vector<uint8_t> memory_;
  uint8_t* tensors_ = nullptr;
  mattec_session* session_ = nullptr;
};

inline int order(const ir::Graph& graph, const std::string& name) {
  for (size_t i = 0; i < graph.ops.size(); ++i)
    if (graph.ops[i].name == name) return static_cast<int>(i);
  return -1;
}

// With CompileOptions::keep_all: the first stored tensor, in the order of execution, that differs
// from the interpreter's tensor of the same name; empty if all are equal.
inline std::string first_difference(const CompiledNetwork& network, const ir::Graph& graph,
                                    const ir::Interpreter& oracle) {
  const lower::Plan& plan = network.compiled().plan;
  std::vector<lower::Storage> storages = plan.storages;
  std::stable_sort(storages.begin(), storages.end(), [&](const auto& a, const auto& b) {
    return order(graph, a.name) < order(graph, b.name);
  });
  for (const lower::Storage& storage : storages)
    for (size_t id = 0; id < graph.tensors.size(); ++id) {
      if (graph.tensors[id].name != storage.name || storage.name == "frame") continue;
      const ir::IntegerTensor& wanted = oracle.tensor(static_cast<ir::TensorId>(id));
      if (wanted.channels != storage.channels) continue;
      for (int y = 0; y < storage.size.height; ++y)
        for (int x = 0; x < storage.size.width; ++x)
          for (int c = 0; c < storage.channels; ++c)
            if (network.at(storage, y, x, c) != wanted.at(y, x, c))
              return storage.name + " at row " + std::to_string(y) + " column " +
                     std::to_string(x) + " channel " + std::to_string(c) + ": " +
                     std::to_string(network.at(storage, y, x, c)) + ", interpreter " +
                     std::to_string(wanted.at(y, x, c));
    }
  return {};
}

}  // namespace mattec::test
