// Policy files, what they cost, and how one is chosen from measured errors.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <random>

#include "quant/copies.h"
#include "quant/measure_policy.h"
#include "quant/policy.h"
#include "small_matting_network.h"

namespace mattec::quant {
namespace {

using testing::RandomMattingNetwork;
using testing::SmallMattingNetwork;

constexpr ir::Size frame = {8, 16};

class PolicyFile : public ::testing::Test {
 protected:
  ~PolicyFile() override { std::remove(path().c_str()); }
  std::string path() const { return ::testing::TempDir() + std::to_string(getpid()) + ".json"; }

  BitPolicy read(const std::string& text) const {
    std::ofstream(path()) << text;
    return read_policy(path());
  }

  void expect_error(const std::string& text, const std::string& what) const {
    try {
      read(text);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).rfind(path() + ": ", 0), 0U) << error.what();
      EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << error.what();
    }
  }
};

TEST_F(PolicyFile, ReadsWhatPolicyJsonWrites) {
  BitPolicy policy;
  policy.weights = 4;
  policy.weight_bits = {{"stem", 8}, {"a \"quoted\" name", 4}};
  policy.activation_bits = {{"block1", 8}, {"block1 > block2.expand", 4}};
  policy.high_channels = {{"block2 > block3", {0, 7}}};
  const BitPolicy again = read(policy_json(policy));
  EXPECT_EQ(again.weights, 4);
  EXPECT_EQ(again.activations, 8);
  EXPECT_EQ(again.weight_bits, policy.weight_bits);
  EXPECT_EQ(again.activation_bits, policy.activation_bits);
  EXPECT_EQ(again.high_channels, policy.high_channels);
}

TEST_F(PolicyFile, KeepsDefaultsForWhatItDoesNotSay) {
  const BitPolicy policy = read(R"({"activations": 4})");
  EXPECT_EQ(policy.weights, 8);
  EXPECT_EQ(policy.activations, 4);
  EXPECT_TRUE(policy.weight_bits.empty());
}

TEST_F(PolicyFile, NamesWhatIsWrongAndWhatIsAllowed) {
  expect_error("{\"weights\": 4", "is not JSON");
  expect_error("[4, 4]", "a bit policy is a JSON object");
  expect_error(R"({"weight": 4})", "\"weight\" is unknown; a bit policy has weights, activations");
  for (const char* bits : {"5", "4.0", "\"4\"", "null", "true", "[4]", "12345678901234567890"})
    expect_error(std::string(R"({"weights": )") + bits + "}", "\"weights\" must be 4 or 8");
  expect_error(R"({"activations": 2})", "\"activations\" must be 4 or 8");
  expect_error(R"({"weight_bits": {"stem": 8, "dw": 16}})",
               "\"weight_bits\" \"dw\" must be 4 or 8");
  expect_error(R"({"activation_bits": 4})",
               "\"activation_bits\" must be an object of names and bits");
  expect_error(R"({"high_channels": [1]})",
               "\"high_channels\" must be an object of names and lists of channels");
  for (const char* list : {"4", "[]", "[-1]", "[1.5]", "[\"1\"]", "[4294967296]"})
    expect_error(std::string(R"({"high_channels": {"stem": )") + list + "}}",
                 "\"high_channels\" \"stem\" must be a list of channels");
}

TEST_F(PolicyFile, ThatDoesNotExistIsNamed) {
  try {
    read_policy("no/policy.json");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_STREQ(
        error.what(),
        "no/policy.json: cannot be opened: No such file or directory; check the path and its "
        "permissions");
  }
}

std::string complaint(const BitPolicy& policy) {
  try {
    check_policy(policy, SmallMattingNetwork(1).graph);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(CheckPolicy, RefusesNamesThatTheNetworkDoesNotHave) {
  EXPECT_EQ(complaint({4, 4, {{"stem", 8}}, {{"project", 8}, {"stem > dw", 8}}}), "");
  EXPECT_EQ(complaint({4, 4, {{"pool", 8}}, {}}),
            "bit policy: small has no convolution \"pool\"; mattec inspect lists them");
  for (const char* name : {"block", "stem > block", "block > dw", "stem>dw"})
    EXPECT_EQ(complaint({4, 4, {}, {{name, 8}}}),
              std::string("bit policy: small has no tensor, or tensor > convolution, \"") + name +
                  "\"; mattec inspect lists them");
}

// Silence would leave the user believing that `a`, a slice of `project`, has 8 bits now.
TEST(CheckPolicy, RefusesEntriesThatWouldChooseNothing) {
  for (const char* name :
       {"a", "a > decode", "frame", "frame > last", "pool", "gates", "pha", "up", "stem > project"})
    EXPECT_EQ(complaint({4, 4, {}, {{name, 8}}})
                  .rfind(std::string("bit policy: \"") + name + "\" of small leaves no choice", 0),
              0U)
        << name << ": " << complaint({4, 4, {}, {{name, 8}}});
  for (const char* name : {"project > decode", "h", "up.h", "h.new > decode", "stem"})
    EXPECT_EQ(complaint({4, 4, {}, {{name, 8}}}), "");
}

TEST(BitPolicy, PrefersAReadersEntryToItsTensors) {
  const BitPolicy policy{8, 4, {{"stem", 4}}, {{"x", 8}, {"x > one", 4}}};
  EXPECT_EQ(policy.of_input("x", "one"), 4);
  EXPECT_EQ(policy.of_input("x", "two"), 8);
  EXPECT_EQ(policy.of_input("y", "one"), 4);
  EXPECT_EQ(policy.of_weights("stem"), 4);
  EXPECT_EQ(policy.of_weights("one"), 8);
}

// As quantize() would leave it, as far as the number of bits goes.
ir::Graph with_bits(const ir::Graph& fused, const BitPolicy& policy) {
  StoredGraph stored = with_copies(fused, policy);
  for (size_t id = 0; id < stored.bits.size(); ++id) {
    stored.graph.tensors[id].grid = ir::Grid{};
    stored.graph.tensors[id].grid->bits = stored.bits[id];
  }
  for (ir::Op& op : stored.graph.ops) op.conv.weight_bits = policy.of_weights(op.name);
  return stored.graph;
}

TEST(LowBitShare, CountsProductsOfTwo4BitFactors) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  BitPolicy policy;
  policy.weights = policy.activations = 4;
  // Half the 16x8 frame has 32 pixels. Products of outputs, taps, inputs; the stem reads the frame.
  const double low = 32 * (8 * 9 + 8 * 8)        // dw (one input each), project
                     + 32 * 9 * (8 + 4) * 8      // gates, candidate
                     + 32 * 9 * 8 * 8            // decode: a and the state
                     + 128 * (9 * 8 * 12 + 32);  // last: up and up.h; fgr, pha
  const double rest = 32 * 9 * 8 * 3             // stem
                      + 2 * 8 * 4                // fc1, fc2
                      + 32 * 9 * 8 * 3           // decode: the pooled frame
                      + 128 * 9 * 8 * 3;         // last: the frame
  const LowBitShare all = low_bit_share(with_bits(fused, policy), frame);
  EXPECT_EQ(all.macs, low + rest);
  EXPECT_DOUBLE_EQ(all.share, low / (low + rest));
  policy.weight_bits = {{"last", 8}};
  EXPECT_DOUBLE_EQ(low_bit_share(with_bits(fused, policy), frame).share,
                   (low - 128 * 9 * 8 * 12) / (low + rest));
  policy.activations = 8;
  EXPECT_EQ(low_bit_share(with_bits(fused, policy), frame).share, 0);
}

double bytes_of_weights(const ir::Graph& fused, const BitPolicy& policy) {
  double bytes = 0, all = 0;
  for (const ir::Op& op : fused.ops) {
    all += static_cast<double>(op.conv.weight.size());
    bytes += static_cast<double>(op.conv.weight.size()) * policy.of_weights(op.name) / 8;
  }
  return bytes / all;
}

TEST(BestPolicy, KeepsBothBudgetsAndUsesThem) {
  for (uint32_t seed = 0; seed < 6; ++seed) {
    const ir::Graph fused =
        seed == 0 ? SmallMattingNetwork(1).graph : RandomMattingNetwork(seed).graph;
    std::mt19937 engine(seed);
    std::vector<SiteError> errors;
    for (const Site& site : sites_of(fused)) errors.push_back({site, 1.0 + engine() % 100});
    BitPolicy low;
    low.weights = low.activations = 4;
    const double most = low_bit_share(with_bits(fused, low), frame).share;
    for (const PolicyBudget budget :
         {PolicyBudget{0.9 * most, 0.65}, PolicyBudget{0.5 * most, 0.52},
          PolicyBudget{0.99 * most, 1}}) {
      const BitPolicy policy = best_policy(fused, errors, budget, frame);
      check_policy(policy, fused);
      EXPECT_EQ(policy.weights, 4);
      EXPECT_EQ(policy.activations, 4);
      const double share = low_bit_share(with_bits(fused, policy), frame).share;
      EXPECT_GE(share, budget.low_bit_share - 1e-12);
      EXPECT_LE(bytes_of_weights(fused, policy), budget.weight_bytes + 1e-12);
      if (budget.low_bit_share < 0.95 * most) {
        EXPECT_LT(share, most) << "nothing was raised";
      }
    }
    EXPECT_TRUE(best_policy(fused, errors, {most, 0.5}, frame).weight_bits.empty());
  }
}

class Choice : public ::testing::Test {
 protected:
  // Sites that are not named have no error. Beyond 4 bits everywhere, `macs` products may have a
  // factor of 8 bits.
  BitPolicy best(const std::vector<SiteError>& errors, double macs, double weight_bytes = 0.5) {
    std::vector<SiteError> all = errors;
    for (const Site& site : sites_of(fused)) {
      const auto same = [&](const SiteError& error) {
        return error.site.name == site.name && error.site.weights == site.weights;
      };
      if (std::none_of(errors.begin(), errors.end(), same)) all.push_back({site, 0});
    }
    BitPolicy low;
    low.weights = low.activations = 4;
    const LowBitShare share = low_bit_share(with_bits(fused, low), frame);
    return best_policy(fused, all, {share.share - macs / share.macs, weight_bytes}, frame);
  }
  const ir::Graph fused = SmallMattingNetwork(1).graph;
};

using BitsByName = std::map<std::string, int>;

// "rh" costs 32 * 9 * 4 * 4 = 4608 products, "h > gates" twice as many.
TEST_F(Choice, RaisesWhatHasMostErrorForItsCost) {
  EXPECT_EQ(best({{{"rh"}, 1}, {{"h > gates"}, 1.5}}, 10000).activation_bits,
            (BitsByName{{"rh", 8}}));
  EXPECT_EQ(best({{{"rh"}, 1}, {{"h > gates"}, 2.5}}, 10000).activation_bits,
            (BitsByName{{"h > gates", 8}}));
  EXPECT_EQ(best({{{"rh"}, 1}, {{"h > gates"}, 2.5}}, 5000).activation_bits,
            (BitsByName{{"rh", 8}}));
  EXPECT_EQ(best({{{"rh"}, 1}, {{"h > gates"}, 2.5}}, 14000).activation_bits,
            (BitsByName{{"rh", 8}, {"h > gates", 8}}));
  EXPECT_TRUE(best({{{"rh"}, 1}, {{"h > gates"}, 2.5}}, 4000).activation_bits.empty());
}

// 792 and 24 of the network's 3184 weights: bytes for one of the two, products for both and more.
TEST_F(Choice, CountsTheBytesOfWeights) {
  EXPECT_EQ(best({{{"decode", true}, 1}, {{"fgr", true}, 0.1}}, 1e6, 0.625).weight_bits,
            (BitsByName{{"fgr", 8}}));
  EXPECT_EQ(best({{{"decode", true}, 1}, {{"fgr", true}, 0.02}}, 1e6, 0.625).weight_bits,
            (BitsByName{{"decode", 8}}));
}

TEST_F(Choice, RaisesInputsThatAreFreeBesideWeightsOf8Bits) {
  // All products of "candidate": 32 * 9 * 8 * 4. Its weights are 288 of the network's 3184.
  const BitPolicy policy = best({{{"candidate", true}, 1}, {{"rh"}, 0.01}}, 9500, 0.56);
  EXPECT_EQ(policy.weight_bits, (BitsByName{{"candidate", 8}}));
  EXPECT_EQ(policy.activation_bits, (BitsByName{{"rh", 8}}));
}

// Of "se" 32 * 8 products for each of 8 channels.
TEST_F(Choice, RaisesTheChannelsWithMostErrorByFours) {
  SiteError se;
  se.site = {"se", false, true};
  se.error = 22;
  se.channels = {1, 6, 0.5, 5, 2, 4, 0.5, 3};
  const BitPolicy half = best({se}, 1500);
  EXPECT_TRUE(half.activation_bits.empty());
  EXPECT_EQ(half.high_channels, (std::map<std::string, std::vector<int>>{{"se", {1, 3, 5, 7}}}));
  const BitPolicy all = best({se}, 2100);
  EXPECT_EQ(all.activation_bits, (BitsByName{{"se", 8}}));
  EXPECT_TRUE(all.high_channels.empty());
  EXPECT_TRUE(best({se}, 1000).high_channels.empty());
  se.site.has_parts = false;
  EXPECT_TRUE(best({se}, 1500).high_channels.empty());
}

TEST_F(Choice, LeavesSitesWithoutErrorAt4Bits) {
  const BitPolicy policy = best({}, 1e6, 1);
  EXPECT_TRUE(policy.weight_bits.empty());
  EXPECT_TRUE(policy.activation_bits.empty());
}

}  // namespace
}  // namespace mattec::quant
