// Functional blocks are found by structure, whatever the network.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "quant/blocks.h"
#include "quant/copies.h"
#include "small_matting_network.h"

namespace mattec::quant {
namespace {

using testing::RandomMattingNetwork;
using testing::SmallMattingNetwork;
using Names = std::vector<std::string>;

std::vector<Names> names_of(const ir::Graph& graph) {
  std::vector<Names> names;
  for (const Block& block : blocks_of(graph)) {
    names.emplace_back();
    for (const int i : block.ops) names.back().push_back(graph.ops[static_cast<size_t>(i)].name);
  }
  return names;
}

// With 4-bit copies beside tensors that something else reads at 8.
ir::Graph with_low_copies(const ir::Graph& fused) {
  BitPolicy policy;
  policy.weights = policy.activations = 4;
  return with_copies(fused, policy).graph;
}

int block_of(const std::vector<Block>& blocks, int op) {
  for (size_t b = 0; b < blocks.size(); ++b)
    if (std::count(blocks[b].ops.begin(), blocks[b].ops.end(), op) != 0) return static_cast<int>(b);
  return -1;
}

// What a partition must be for reconstruction to make sense.
void expect_sound(const ir::Graph& graph) {
  const std::vector<Block> blocks = blocks_of(graph);
  std::multiset<int> taken;
  for (const Block& block : blocks) taken.insert(block.ops.begin(), block.ops.end());
  ASSERT_EQ(taken.size(), graph.ops.size());
  for (size_t i = 0; i < graph.ops.size(); ++i) ASSERT_EQ(taken.count(static_cast<int>(i)), 1U);
  for (size_t b = 0; b < blocks.size(); ++b) {
    for (const ir::TensorId input : blocks[b].inputs) {
      const int made = graph.producer(input);
      if (made < 0)
        EXPECT_EQ(input, graph.frame);
      else
        EXPECT_LT(block_of(blocks, made), static_cast<int>(b)) << "order";
    }
    EXPECT_TRUE(std::is_sorted(blocks[b].ops.begin(), blocks[b].ops.end()));
  }
  for (size_t s = 0; s < graph.states.size(); ++s) {
    const int unit = block_of(blocks, graph.producer(graph.states[s].output));
    EXPECT_EQ(blocks[static_cast<size_t>(unit)].states, std::vector<int>{static_cast<int>(s)});
    for (const int reader : graph.consumers(graph.states[s].input))
      EXPECT_EQ(block_of(blocks, reader), unit) << "recurrent unit split";
  }
}

TEST(Blocks, HoldEveryOperationOnceInOrder) {
  expect_sound(SmallMattingNetwork(1).graph);
  expect_sound(with_low_copies(SmallMattingNetwork(1).graph));
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    expect_sound(RandomMattingNetwork(seed).graph);
    expect_sound(with_low_copies(RandomMattingNetwork(seed).graph));
  }
}

TEST(Blocks, AreTheFunctionsOfANetwork) {
  const std::vector<Names> expected = {{"stem"},
                                       {"dw", "pool", "fc1", "fc2", "se", "project", "a", "b"},
                                       {"gates", "r", "z", "rh", "candidate", "h.new"},
                                       {"pooled", "decode"},
                                       {"up", "up.h", "last"},
                                       {"fgr", "pha"}};
  EXPECT_EQ(names_of(SmallMattingNetwork(1).graph), expected);
}

TEST(Blocks, AreTheSameWithCopies) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  std::vector<Names> names = names_of(with_low_copies(fused));
  const auto is_copy = [](const std::string& name) {
    return name.find(".copy") != std::string::npos;
  };
  size_t copies = 0;
  for (Names& block : names) {
    const size_t before = block.size();
    block.erase(std::remove_if(block.begin(), block.end(), is_copy), block.end());
    copies += before - block.size();
  }
  EXPECT_EQ(names, names_of(fused));
  EXPECT_GT(copies, 2U);
}

// An inverted residual with an expansion, a decoder's stage, a pair of dense convolutions.
class StagedNetwork : public testing::NetworkBuilder {
 public:
  StagedNetwork() : NetworkBuilder(1) {
    using ir::Activation;
    using ir::OpKind;
    const auto h = graph.add_tensor("h", 4);
    const auto stem = this->stem();
    auto x = conv("expand", {stem}, 16, 1, Activation::relu);
    x = conv("dw", {x}, 16, 3, Activation::relu, 1, true);
    x = conv("project", {x}, 8, 1, Activation::none, 1, false, stem);
    const auto pool = simple(OpKind::global_avg_pool, "pool", {x}, 8);
    const auto gate = conv("gate", {pool}, 8, 1, Activation::sigmoid);
    const auto features = conv("features", {x}, 8, 1, Activation::relu);
    x = simple(OpKind::mul, "gated", {features, gate}, 8);
    x = conv("stage", {x, stem}, 8, 3, Activation::relu);
    const auto a = simple(OpKind::slice, "a", {x}, 4);
    const auto b = simple(OpKind::slice, "b", {x}, 4, 4);
    const auto state = gru(b, h, 4);
    graph.states.push_back({"r1", h, state});
    x = conv("first", {a, state}, 8, 3, Activation::relu);
    x = conv("second", {x}, 8, 3, Activation::relu);
    x = conv("third", {x}, 8, 3, Activation::relu);
    output("pha", conv("pha", {x}, 1, 1, Activation::clamp01));
  }
};

TEST(Blocks, HoldStagesAndPairsTogether) {
  const std::vector<Names> expected = {
      {"stem"},
      {"expand", "dw", "project"},
      {"pool", "gate", "features", "gated"},
      {"stage", "a", "b", "gates", "r", "z", "rh", "candidate", "h.new"},
      {"first", "second"},
      {"third"},
      {"pha"}};
  EXPECT_EQ(names_of(StagedNetwork().graph), expected);
}

TEST(Blocks, PassOnWhatOthersRead) {
  const ir::Graph graph = SmallMattingNetwork(1).graph;
  const auto names = [&graph](const std::vector<ir::TensorId>& ids) {
    std::set<std::string> names;
    for (const ir::TensorId id : ids) names.insert(graph.tensor(id).name);
    return names;
  };
  const std::vector<Block> blocks = blocks_of(graph);
  EXPECT_EQ(names(blocks[1].inputs), std::set<std::string>({"stem"}));
  EXPECT_EQ(names(blocks[1].outputs), std::set<std::string>({"a", "b"}));
  EXPECT_EQ(names(blocks[2].inputs), std::set<std::string>({"b"})) << "the state is no input";
  EXPECT_EQ(names(blocks[2].outputs), std::set<std::string>({"h.new"}));
  EXPECT_EQ(names(blocks[5].outputs), std::set<std::string>({"fgr", "pha"}));
}

}  // namespace
}  // namespace mattec::quant
