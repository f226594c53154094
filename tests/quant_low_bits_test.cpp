// Networks quantized to 4 bits, judged by the integer interpreter.
#include <gtest/gtest.h>

#include <random>

#include "ir/verify.h"
#include "played_bytes.h"
#include "quant/calibrate.h"
#include "quant/copies.h"
#include "quant/simulate.h"
#include "small_matting_network.h"

namespace mattec::quant {
namespace {

using testing::bytes_of;
using testing::integer_bytes;
using testing::mean_difference;
using testing::moving_pattern;
using testing::RandomMattingNetwork;
using testing::SmallMattingNetwork;

constexpr int width = 34, height = 26;

CalibrationOptions quick(Method method = Method::gptq) {
  CalibrationOptions options;
  options.method = method;
  options.window = 6;
  options.positions_per_frame = 300;
  return options;
}

std::vector<Clip> calibration_clips() {
  return {moving_pattern(width, height, 6, 1), moving_pattern(height, width, 6, 2)};
}

BitPolicy all_low() {
  BitPolicy policy;
  policy.weights = policy.activations = 4;
  return policy;
}

// Raises each choice, or lowers it, with even odds.
BitPolicy random_policy(const ir::Graph& fused, uint32_t seed) {
  std::mt19937 engine(seed);
  BitPolicy policy = engine() % 2 == 0 ? all_low() : BitPolicy{};
  for (const Site& site : sites_of(fused))
    (site.weights ? policy.weight_bits : policy.activation_bits)[site.name] =
        engine() % 2 == 0 ? 4 : 8;
  return policy;
}

void expect_bits(const ir::Graph& quantized, const StoredGraph& stored, const BitPolicy& policy) {
  for (const ir::Op& op : quantized.ops) {
    if (op.kind != ir::OpKind::conv) continue;
    EXPECT_EQ(op.conv.weight_bits, policy.of_weights(op.name)) << op.name;
    const int low = op.conv.weight_bits == 4 ? -8 : -127;
    for (const int8_t weight : op.conv.quantized_weight) {
      ASSERT_GE(weight, low) << op.name;
      ASSERT_LE(weight, op.conv.weight_bits == 4 ? 7 : 127) << op.name;
    }
  }
  for (size_t id = 0; id < stored.bits.size(); ++id)
    EXPECT_EQ(quantized.tensors[id].grid->bits, stored.bits[id]) << quantized.tensors[id].name;
}

// Random policies on random networks: the integers are legal, have the bits that were asked for,
// and compute what the simulation says. Only the first frame is compared with it: later a step that
// the engine's sigmoid and tanh (5e-4 off) moved comes back through the state.
TEST(LowBits, AreLegalAndCloseToTheSimulation) {
  const Clip clip = moving_pattern(width, height, 6, 5), first(clip.begin(), clip.begin() + 1);
  double sum = 0;
  for (uint32_t seed = 1; seed <= 12; ++seed) {
    const ir::Graph fused =
        seed <= 3 ? SmallMattingNetwork(seed).graph : RandomMattingNetwork(seed).graph;
    const Calibration calibration = observe(fused, calibration_clips(), quick());
    Executor reference(fused);
    const std::vector<int> exact = bytes_of(reference, clip);
    for (const BitPolicy& policy :
         {all_low(), random_policy(fused, seed), random_policy(fused, seed + 100)}) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", policy " + policy_json(policy));
      const ir::Graph quantized = quantize(fused, calibration, policy, quick());
      ASSERT_TRUE(ir::violations(quantized).empty()) << ir::violations(quantized)[0];
      expect_bits(quantized, with_copies(fused, policy), policy);
      Executor simulated = simulator(quantized);
      const double difference =
          mean_difference(integer_bytes(quantized, first), bytes_of(simulated, first));
      EXPECT_LT(difference, 1);  // of 255, a mean; 0 to 0.6 here
      sum += difference;
      EXPECT_LT(mean_difference(integer_bytes(quantized, clip), exact), 6);  // 0.2 to 5.1
    }
  }
  EXPECT_LT(sum / 36, 0.2);
}

TEST(LowBits, AreBetterBySecondOrderThanByTheTextbook) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  const Clip clip = moving_pattern(width, height, 6, 5);
  Executor reference(fused);
  const std::vector<int> exact = bytes_of(reference, clip);
  const auto error = [&](Method method) {
    const CalibrationOptions options = quick(method);
    const ir::Graph quantized =
        quantize(fused, observe(fused, calibration_clips(), options), all_low(), options);
    return mean_difference(integer_bytes(quantized, clip), exact);
  };
  // 3.9, 3.1, 2.7
  EXPECT_LT(error(Method::gptq), 0.8 * error(Method::minmax));
  EXPECT_LT(error(Method::mse), 0.9 * error(Method::minmax));
}

}  // namespace
}  // namespace mattec::quant
