// Channels taken and joined are what torch's own operations give, gradients too.
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "quant/channels.h"

namespace mattec::quant {
namespace {

using torch::Tensor;

Tensor random_tensor(int64_t channels, torch::MemoryFormat layout) {
  return torch::rand({2, channels, 5, 7}).contiguous(layout).requires_grad_(true);
}

// Of a sum weighed at random.
std::vector<Tensor> gradients(const Tensor& result, const std::vector<Tensor>& of) {
  torch::manual_seed(7);
  return torch::autograd::grad({(result * torch::rand(result.sizes())).sum()}, of);
}

class Layouts : public testing::TestWithParam<torch::MemoryFormat> {};

TEST_P(Layouts, TakenChannels) {
  const Tensor x = random_tensor(9, GetParam());
  for (const std::vector<int64_t>& channels :
       {std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8}, {3, 4, 5}, {8}, {7, 0, 1, 5, 4}}) {
    const Tensor taken = take_channels(x, channels);
    const Tensor expected = x.index_select(1, torch::tensor(channels));
    EXPECT_TRUE(torch::equal(taken, expected)) << channels;
    EXPECT_TRUE(torch::equal(gradients(taken, {x})[0], gradients(expected, {x})[0])) << channels;
    EXPECT_TRUE(taken.is_contiguous(GetParam()));
  }
}

TEST_P(Layouts, JoinedChannels) {
  const std::vector<Tensor> parts = {random_tensor(3, GetParam()), random_tensor(1, GetParam()),
                                     random_tensor(8, GetParam())};
  const Tensor joined = join_channels(parts), expected = torch::cat(parts, 1);
  EXPECT_TRUE(torch::equal(joined, expected));
  const std::vector<Tensor> a = gradients(joined, parts), b = gradients(expected, parts);
  for (size_t i = 0; i < parts.size(); ++i) EXPECT_TRUE(torch::equal(a[i], b[i])) << i;
}

INSTANTIATE_TEST_SUITE_P(All, Layouts,
                         testing::Values(torch::MemoryFormat::ChannelsLast,
                                         torch::MemoryFormat::Contiguous));

TEST(Channels, OfDoublesToo) {
  const Tensor x = torch::rand({1, 4, 3, 3}, torch::kDouble);
  EXPECT_TRUE(torch::equal(take_channels(x, {2, 1}), x.index_select(1, torch::tensor({2, 1}))));
  EXPECT_TRUE(torch::equal(join_channels({x, x}), torch::cat({x, x}, 1)));
}

}  // namespace
}  // namespace mattec::quant
