// Which tensors a policy stores at 4 bits, and what each of its choices changes.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "ir/verify.h"
#include "quant/copies.h"
#include "small_matting_network.h"

namespace mattec::quant {
namespace {

using testing::op_named;
using testing::RandomMattingNetwork;
using testing::SmallMattingNetwork;
using testing::tensor_named;

BitPolicy all(int bits) {
  BitPolicy policy;
  policy.weights = policy.activations = bits;
  return policy;
}

class Low : public ::testing::Test {
 protected:
  int bits(const std::string& name) const {
    return stored.bits[static_cast<size_t>(tensor_named(stored.graph, name))];
  }
  const ir::Tensor& read_by(const std::string& convolution, size_t segment) const {
    return stored.graph.tensor(op_named(stored.graph, convolution).inputs[segment]);
  }
  const StoredGraph stored = with_copies(SmallMattingNetwork(1).graph, all(4));
};

TEST_F(Low, TensorsThatConvolutionsAloneReadHave4Bits) {
  for (const char* name : {"se", "rh", "project", "decode", "last"})
    EXPECT_EQ(bits(name), 4) << name;
  for (const char* name : {"a", "b", "up"}) EXPECT_EQ(bits(name), 4) << name << ", a view";
}

TEST_F(Low, TensorsThatSomethingElseReadsHaveA4BitCopy) {
  EXPECT_EQ(bits("stem"), 8);  // the residual of project
  EXPECT_EQ(read_by("dw", 0).name, "stem.copy4");
  EXPECT_EQ(op_named(stored.graph, "project").residual(), tensor_named(stored.graph, "stem"));
  EXPECT_EQ(bits("dw"), 8);  // squeeze-excite
  EXPECT_EQ(bits("stem.copy4"), 4);
  EXPECT_EQ(stored.source[static_cast<size_t>(tensor_named(stored.graph, "stem.copy4"))],
            tensor_named(stored.graph, "stem"));
}

TEST_F(Low, StatesHave16BitsAndCopiesForEachReader) {
  for (const char* name : {"h", "h.new"}) EXPECT_EQ(bits(name), 16) << name;
  EXPECT_EQ(read_by("gates", 1).name, "h.copy4");
  EXPECT_EQ(read_by("decode", 1).name, "h.new.copy4");
  // Upsampling keeps 8 bits of the state; the convolution after it reads a copy of what it made.
  EXPECT_EQ(op_named(stored.graph, "up.h").inputs[0], tensor_named(stored.graph, "h.new.copy"));
  EXPECT_EQ(read_by("last", 1).name, "up.h.copy4");
}

TEST_F(Low, FramesGatesVectorsAndOutputsKeep8Bits) {
  for (const char* name :
       {"frame", "pooled", "pool", "fc1", "fc2", "gates", "r", "z", "candidate", "fgr", "pha"})
    EXPECT_EQ(bits(name), 8) << name;
}

TEST(Copies, AreSharedByReadersOfTheSameBits) {
  BitPolicy policy = all(4);
  policy.activation_bits = {{"project > decode", 8}};
  const StoredGraph stored = with_copies(SmallMattingNetwork(1).graph, policy);
  const auto read_by = [&](const char* convolution) {
    return op_named(stored.graph, convolution).inputs[0];
  };
  EXPECT_EQ(read_by("gates"), tensor_named(stored.graph, "b.copy4"));
  EXPECT_EQ(read_by("candidate"), read_by("gates"));
  EXPECT_EQ(read_by("decode"), tensor_named(stored.graph, "a"));
  EXPECT_EQ(stored.bits[static_cast<size_t>(tensor_named(stored.graph, "project"))], 8);
}

TEST(Copies, OfEverySiteAreItsOwnForMeasuring) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    const ir::Graph fused = RandomMattingNetwork(seed).graph;
    const StoredGraph stored = with_copies(fused, all(4), Copies::one_per_site);
    ASSERT_TRUE(ir::violations(stored.graph).empty()) << ir::violations(stored.graph)[0];
    std::set<std::string> sites;
    for (const Site& site : sites_of(fused))
      if (!site.weights) sites.insert(site.name);
    std::set<std::string> found;
    for (const ir::Op& op : stored.graph.ops)
      for (int j = 0; op.kind == ir::OpKind::conv && j < op.segment_count(); ++j) {
        const auto input = static_cast<size_t>(op.inputs[static_cast<size_t>(j)]);
        if (stored.bits[input] == 4) found.insert(stored.site[input]);
      }
    EXPECT_EQ(found, sites) << "seed " << seed;
  }
}

// (convolution, segment) and the bits with which it is read; (convolution, -1): of its weights.
using Bits = std::map<std::pair<std::string, int>, int>;

Bits bits_read(const ir::Graph& fused, const BitPolicy& policy) {
  const StoredGraph stored = with_copies(fused, policy);
  EXPECT_TRUE(ir::violations(stored.graph).empty());
  Bits bits;
  for (const ir::Op& op : stored.graph.ops) {
    if (op.kind != ir::OpKind::conv) continue;
    bits[{op.name, -1}] = policy.of_weights(op.name);
    for (int j = 0; j < op.segment_count(); ++j)
      bits[{op.name, j}] = stored.bits[static_cast<size_t>(op.inputs[static_cast<size_t>(j)])];
  }
  return bits;
}

std::set<std::pair<std::string, int>> difference(const Bits& a, const Bits& b) {
  std::set<std::pair<std::string, int>> keys;
  for (const auto& [key, bits] : a)
    if (bits != b.at(key)) keys.insert(key);
  return keys;
}

// What a tensor is made of, through slices and resampling.
ir::TensorId origin(const ir::Graph& fused, ir::TensorId id) {
  const int producer = fused.producer(id);
  if (producer < 0) return id;
  const ir::Op& op = fused.ops[static_cast<size_t>(producer)];
  const bool is_view = op.kind == ir::OpKind::slice || op.kind == ir::OpKind::upsample2 ||
                       op.kind == ir::OpKind::avg_pool2;
  return is_view ? origin(fused, op.inputs[0]) : id;
}

// The readers that a site's name means: "tensor > convolution" or "tensor", itself or its views.
std::set<std::pair<std::string, int>> named_by(const ir::Graph& fused, const Site& site) {
  if (site.weights) return {{site.name, -1}};
  std::set<std::pair<std::string, int>> readers;
  const size_t arrow = site.name.find(" > ");
  for (const ir::Op& op : fused.ops) {
    if (op.kind != ir::OpKind::conv) continue;
    for (int j = 0; j < op.segment_count(); ++j) {
      const ir::TensorId input = op.inputs[static_cast<size_t>(j)];
      const bool named = arrow == std::string::npos
                             ? fused.tensor(origin(fused, input)).name == site.name
                             : fused.tensor(input).name + " > " + op.name == site.name;
      if (named) readers.insert({op.name, j});
    }
  }
  return readers;
}

BitPolicy with(BitPolicy policy, const Site& site, int bits) {
  (site.weights ? policy.weight_bits : policy.activation_bits)[site.name] = bits;
  return policy;
}

void expect_each_site_to_change_what_it_names(const ir::Graph& fused) {
  const Bits low = bits_read(fused, all(4)), high = bits_read(fused, all(8));
  std::set<std::pair<std::string, int>> covered;
  std::set<std::pair<bool, std::string>> names;
  for (const Site& site : sites_of(fused)) {
    EXPECT_TRUE(names.insert({site.weights, site.name}).second) << site.name << " is listed twice";
    const auto named = named_by(fused, site);
    EXPECT_EQ(difference(low, bits_read(fused, with(all(4), site, 8))), named) << site.name;
    EXPECT_EQ(difference(high, bits_read(fused, with(all(8), site, 4))), named) << site.name;
    for (const auto& reader : named)
      EXPECT_TRUE(covered.insert(reader).second) << reader.first << " belongs to two sites";
  }
  EXPECT_EQ(covered, difference(low, high));
}

TEST(Sites, ChangeExactlyWhatTheyName) {
  expect_each_site_to_change_what_it_names(SmallMattingNetwork(1).graph);
  for (uint32_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_each_site_to_change_what_it_names(RandomMattingNetwork(seed).graph);
  }
}

// `x` is worth different bits to convolutions of different inputs, not to those of the same.
class SeveralReaders : public testing::NetworkBuilder {
 public:
  SeveralReaders() : NetworkBuilder(1) {
    const auto activation = ir::Activation::relu;
    const auto x = conv("x", {graph.frame}, 4, 1, activation);
    const auto one = conv("one", {x}, 4, 1, activation);
    const auto two = conv("two", {x, one}, 4, 1, activation);
    output("fgr", conv("fgr", {two}, 3, 1, ir::Activation::clamp01));
    output("pha", conv("pha", {two}, 1, 1, ir::Activation::clamp01));
  }
};

TEST(Sites, AreOnePerReaderUnlessTheyReadAlike) {
  std::set<std::string> inputs;
  for (const Site& site : sites_of(SeveralReaders().graph))
    if (!site.weights) inputs.insert(site.name);
  EXPECT_EQ(inputs, (std::set<std::string>{"x > one", "x > two", "one", "two"}));
}

TEST(Sites, OfTheSmallNetworkAreThese) {
  std::set<std::string> inputs, weights;
  for (const Site& site : sites_of(SmallMattingNetwork(1).graph))
    (site.weights ? weights : inputs).insert(site.name);
  EXPECT_EQ(inputs, (std::set<std::string>{"stem > dw", "se", "project", "h > gates", "rh",
                                           "h.new > decode", "decode", "up.h > last", "last"}));
  EXPECT_EQ(weights, (std::set<std::string>{"stem", "dw", "fc1", "fc2", "project", "gates",
                                            "candidate", "decode", "last", "fgr", "pha"}));
}

}  // namespace
}  // namespace mattec::quant
