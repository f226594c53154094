// The integer reference interpreter against integers that are written down: what every library
// equals (targets_network_test, targets_rvm_test), on every machine, since nothing about these
// networks comes from floating-point arithmetic that machines may do differently.
#include <gtest/gtest.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>

#include "frontend/fuse.h"
#include "frontend/read_network.h"
#include "ir/interpreter.h"
#include "nano/embedded.h"
#include "tests/quantized_network.h"
#include "tests/shared_data.h"

namespace mattec::test {
namespace {

constexpr char rvm_weights[] = "models/rvm_mobilenetv3.safetensors";
constexpr int frames = 3;

struct Case {
  std::string network;
  int weight_bits, activation_bits;
  ir::Size size;

  std::string name() const {
    return network + " w" + std::to_string(weight_bits) + "a" + std::to_string(activation_bits) +
           " " + std::to_string(size.width) + "x" + std::to_string(size.height);
  }
};

// "name checksum" lines.
std::string written_down(const std::string& name) {
  std::ifstream file(std::string(MATTEC_SOURCE_DIR) + "/tests/golden_integers.txt");
  for (std::string line; std::getline(file, line);)
    if (line.rfind(name + " ", 0) == 0) return line.substr(name.size() + 1);
  return "not in tests/golden_integers.txt";
}

ir::Graph network(const Case& now) {
  const ir::Graph graph = now.network == "nano" ? nano::nano_network()
                                                : frontend::read_network(shared_file(rvm_weights));
  return Quantizable(frontend::fuse(ir::extract(graph, ir::Variant::direct)))
      .quantized(now.weight_bits, now.activation_bits);
}

// Noise, then gradients that move: no floats here either.
std::vector<uint8_t> frame(ir::Size size, int index) {
  std::vector<uint8_t> rgb(static_cast<size_t>(size.height) * size.width * 3);
  uint32_t noise = 1;
  for (size_t i = 0; i < rgb.size(); ++i) {
    noise = noise * 1664525U + 1013904223U;
    const size_t x = i / 3 % static_cast<size_t>(size.width),
                 y = i / 3 / static_cast<size_t>(size.width);
    const size_t gradient = (x * 5 + y * 3 + i % 3 * 64) / 2 + static_cast<size_t>(index) * 16;
    rgb[i] = static_cast<uint8_t>(index == 0 ? noise >> 24 : gradient);
  }
  return rgb;
}

// 64-bit FNV-1a, of integers that fit into 16 bits.
class Checksum {
 public:
  void add(int value) {
    for (const int byte : {value & 255, value >> 8 & 255})
      sum_ = (sum_ ^ static_cast<uint64_t>(byte)) * 0x100000001b3U;
  }
  std::string text() const {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016" PRIx64, sum_);
    return digits;
  }

 private:
  uint64_t sum_ = 0xcbf29ce484222325U;
};

class Golden : public testing::TestWithParam<Case> {};

TEST_P(Golden, IntegersAreThoseWrittenDown) {
  const Case& now = GetParam();
  if (now.network == "rvm") {
    MATTEC_NEED_SHARED(rvm_weights);
  }
  const ir::Graph graph = network(now);
  ir::Interpreter interpreter(graph, now.size);
  Checksum sum;
  int lively = 0;
  for (int i = 0; i < frames; ++i) {
    interpreter.step(frame(now.size, i).data());
    for (size_t id = 0; id < graph.tensors.size(); ++id) {
      const ir::IntegerTensor& tensor = interpreter.tensor(static_cast<ir::TensorId>(id));
      std::vector<bool> seen(1U << 16, false);
      for (const int value : tensor.values) {
        sum.add(value);
        seen[static_cast<uint16_t>(value)] = true;
      }
      lively += std::count(seen.begin(), seen.end(), true) > 10;
    }
  }
  EXPECT_GT(lively, frames * static_cast<int>(graph.tensors.size()) * 3 / 4)
      << "tensors of few values test little";
  EXPECT_EQ(sum.text(), written_down(now.name())) << now.name();
}

std::vector<Case> cases() {
  std::vector<Case> made;
  for (const char* name : {"nano", "rvm"})
    for (const ir::Size size : {ir::Size{64, 96}, ir::Size{288, 512}})
      for (const auto& [weights, activations] : {std::pair(8, 8), std::pair(4, 8), std::pair(4, 4)})
        made.push_back({name, weights, activations, size});
  return made;
}

INSTANTIATE_TEST_SUITE_P(Networks, Golden, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& info) {
                           std::string name = info.param.name();
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

}  // namespace
}  // namespace mattec::test
