// Second moments against their definition, summed in double position by position.
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/error.h"
#include "quant/executor.h"
#include "quant/grids.h"
#include "quant/observers.h"
#include "quant/play.h"
#include "small_matting_network.h"

namespace mattec::quant {
namespace {

using testing::SmallMattingNetwork;

constexpr uint64_t seed = 5;

// The convolved value of channel c (of the concatenation) at a tap, the border outside the image.
double value_at(const torch::Tensor& input, const ir::Convolution& conv, int64_t n, int64_t c,
                int64_t y, int64_t x) {
  if (y < 0 || y >= input.size(2) || x < 0 || x >= input.size(3))
    return conv.pad_value.empty() ? 0 : conv.pad_value[static_cast<size_t>(c)];
  return input[n][c][y][x].item<double>();
}

struct Sums {
  torch::Tensor second, first;
  double weight = 0;
};

// The positions of the output that the observer draws, flat, and what each counts: by their squared
// gradient among four times as many random ones (or all); 1x1 kernels have twice as many.
std::pair<torch::Tensor, double> drawn(const ir::Op& op, const torch::Tensor& sum,
                                       const torch::Tensor& picture_weights, int64_t positions,
                                       uint64_t number) {
  const at::Generator generator = at::detail::createCPUGenerator(seed * 1000003 + number);
  const int64_t count = op.conv.kernel == 1 ? 2 * positions : positions,
                area = sum.size(2) * sum.size(3), all = sum.size(0) * area;
  const auto random = [&](int64_t so_many) {
    return torch::randint(all, {so_many}, generator, torch::kLong);
  };
  if (!sum.grad().defined()) return {random(count), 1};
  const torch::Tensor among = all <= 4 * count ? torch::arange(all) : random(4 * count);
  const torch::Tensor squares =
      sum.grad().permute({0, 2, 3, 1}).reshape({all, -1}).index_select(0, among).square().sum(1) *
      picture_weights.index_select(0, among.div(area, "floor"));
  const torch::Tensor importance = squares + 0.1 * squares.mean();
  return {among.index_select(0, torch::multinomial(importance, count, true, generator)),
          importance.mean().item<double>()};
}

// Adds the positions that the observer drew for one convolution.
void add_directly(const ir::Op& op, const torch::Tensor& input, const torch::Tensor& sum,
                  const torch::Tensor& picture_weights, int64_t positions, uint64_t number,
                  Sums& sums) {
  const ir::Convolution& conv = op.conv;
  const auto [at, weight] = drawn(op, sum, picture_weights, positions, number);
  const int64_t area = sum.size(2) * sum.size(3);
  const int64_t taps = int64_t{conv.kernel} * conv.kernel, channels = input.size(1);
  if (!sums.second.defined()) {
    const bool dw = conv.depthwise;
    sums.second = dw ? torch::zeros({channels, taps, taps}, torch::kDouble)
                     : torch::zeros({channels * taps, channels * taps}, torch::kDouble);
    sums.first = dw ? torch::zeros({channels, taps}, torch::kDouble)
                    : torch::zeros({channels * taps}, torch::kDouble);
  }
  for (int64_t i = 0; i < at.size(0); ++i) {
    const auto p = at[i].item<int64_t>();
    const int64_t b = p / area, row = p % area / sum.size(3), column = p % area % sum.size(3);
    torch::Tensor values = torch::zeros({channels, taps}, torch::kDouble);
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t t = 0; t < taps; ++t)
        values[c][t] = value_at(
            input, conv, b, c, row * conv.stride - conv.padding + t / conv.kernel * conv.dilation,
            column * conv.stride - conv.padding + t % conv.kernel * conv.dilation);
    if (!conv.depthwise) values = values.flatten();
    sums.second += weight * (conv.depthwise ? values.unsqueeze(2) * values.unsqueeze(1)
                                            : torch::outer(values, values));
    sums.first += weight * values;
    sums.weight += weight;
  }
}

double largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

// Strides, borders with a value, dilation, depthwise and 1x1 convolutions, vectors, segments, and
// one convolution that alpha does not depend on.
ir::Graph various_convolutions() {
  ir::Graph graph = SmallMattingNetwork(3).graph;
  for (ir::Op& op : graph.ops)
    if (op.name == "candidate") op.conv.padding = op.conv.dilation = 2;
  return graph;
}

// Called with every convolution, its input, its sum (which has its gradient by then) and what the
// pictures of the batch count.
using Visit = std::function<void(const ir::Op&, const torch::Tensor&, const torch::Tensor&,
                                 const torch::Tensor&)>;

// Two frames of a batch of two.
void play(const ir::Graph& graph, MomentObserver& observer, const Visit& visit) {
  Executor executor(graph);
  std::vector<torch::Tensor> stored(graph.tensors.size());
  std::vector<std::pair<const ir::Op*, torch::Tensor>> made;
  executor.hooks.on_store = [&](ir::TensorId id, const torch::Tensor& value) {
    stored[static_cast<size_t>(id)] = value;
    return value;
  };
  executor.hooks.on_convolution = [&](const ir::Op& op, const torch::Tensor& input) {
    observer.see(op, input);
  };
  executor.hooks.on_sum = [&](const ir::Op& op, const torch::Tensor& sum) {
    observer.see_sum(op, sum);
    sum.retain_grad();
    made.emplace_back(&op, sum);
  };
  torch::manual_seed(1);
  std::vector<torch::Tensor> states;
  for (int t = 0; t < 2; ++t) {
    made.clear();
    const torch::Tensor frame = torch::rand({2, 3, 10, 14}).requires_grad_(true);
    const torch::Tensor alpha = executor.step(frame, states)[alpha_output(graph)];
    (alpha * torch::randn_like(alpha)).sum().backward();
    observer.add();
    const torch::NoGradGuard no_gradients;
    const torch::Tensor energy = made.front().second.grad().square().sum({1, 2, 3});
    const torch::Tensor picture_weights = (energy + 0.01 * energy.mean()).rsqrt();
    for (const auto& [op, sum] : made) {
      std::vector<torch::Tensor> segments;
      segments.reserve(op->inputs.size());
      for (int j = 0; j < op->segment_count(); ++j)
        segments.push_back(stored[static_cast<size_t>(op->inputs[static_cast<size_t>(j)])]);
      visit(*op, torch::cat(segments, 1), sum, picture_weights);
    }
    for (torch::Tensor& state : states) state = state.detach();
  }
}

// As of a convolution that reads a state alone: nothing to differentiate.
TEST(MomentObserver, TakesSumsWithoutAGradient) {
  const ir::Graph graph = SmallMattingNetwork(3).graph;
  const ir::Op& op = *std::find_if(graph.ops.begin(), graph.ops.end(), [](const ir::Op& each) {
    return each.kind == ir::OpKind::conv && !each.conv.depthwise;
  });
  MomentObserver observer(1, 50);
  observer.see(op, torch::rand({2, graph.tensor(op.inputs[0]).channels, 10, 14}));
  observer.see_sum(op, torch::rand({2, op.conv.output_channels, 10, 14}));
  observer.add();
  EXPECT_FALSE(observer.moments(op).sensitivity.defined());
}

TEST(MomentObserver, EqualsTheDefinitionForEveryConvolution) {
  constexpr int positions = 40;
  const ir::Graph graph = various_convolutions();
  MomentObserver observer(seed, positions);
  uint64_t number = 0;
  std::map<std::string, Sums> direct;
  play(graph, observer,
       [&](const ir::Op& op, const torch::Tensor& input, const torch::Tensor& sum,
           const torch::Tensor& picture_weights) {
         add_directly(op, input, sum, picture_weights, positions, number++, direct[op.name]);
       });
  for (const auto& [name, sums] : direct) {
    const Moments moments = observer.moments(testing::op_named(graph, name));
    // Float sums of 160 positions at most, of values of about 1.
    EXPECT_LT(largest_difference(moments.second, sums.second / sums.weight), 1e-5) << name;
    EXPECT_LT(largest_difference(moments.first, sums.first / sums.weight), 1e-5) << name;
    EXPECT_GT(moments.second.abs().max().item<double>(), 0.01) << name;
  }
}

// Of 10000 draws or more: the root mean square of what estimates miss is a hundredth.
TEST(MomentObserver, EstimatesTheGradientsProductsOverAllPositions) {
  const ir::Graph graph = various_convolutions();
  MomentObserver observer(seed, 10000);
  std::map<std::string, torch::Tensor> direct;
  play(graph, observer,
       [&](const ir::Op& op, const torch::Tensor&, const torch::Tensor& sum,
           const torch::Tensor& picture_weights) {
         const torch::Tensor& gradient = sum.grad();
         if (!gradient.defined() || op.conv.depthwise) return;
         const torch::Tensor products = torch::einsum(
             "nihw,njhw,n->ij", {gradient.to(torch::kDouble), gradient.to(torch::kDouble),
                                 picture_weights.to(torch::kDouble)});
         torch::Tensor& all = direct[op.name];
         all = all.defined() ? all + products : products;
       });
  EXPECT_GE(direct.size(), 5U);
  for (const ir::Op& op : graph.ops) {
    if (op.kind != ir::OpKind::conv) continue;
    const Moments moments = observer.moments(op);
    ASSERT_EQ(moments.sensitivity.defined(), direct.count(op.name) == 1) << op.name;
    if (!moments.sensitivity.defined()) continue;
    const torch::Tensor& all = direct.at(op.name);
    EXPECT_LT(largest_difference(moments.sensitivity, all), 0.05 * all.abs().max().item<double>())
        << op.name;
    EXPECT_TRUE(torch::equal(moments.sensitivity, moments.sensitivity.t())) << op.name;
  }
}

// Two pixels, 1 and 3; the matte sees the first only. What it does not see has a tenth of the mean.
TEST(MomentObserver, CountsWhatTheMatteSees) {
  ir::Op op;
  op.name = "conv";
  op.conv.output_channels = 1;
  MomentObserver observer(seed, 20000);
  const torch::Tensor input = torch::tensor({1.0F, 3.0F}).reshape({1, 1, 1, 2});
  observer.see(op, input);
  const torch::Tensor sum = (input.clone().requires_grad_(true) * 1);
  observer.see_sum(op, sum);
  (sum * torch::tensor({7.0F, 0.0F})).sum().backward();
  observer.add();
  // Weights 1 + 0.05 and 0.05; 40000 draws are even within 1 % (4 deviations).
  EXPECT_NEAR(observer.moments(op).first.item<double>(), (1.05 * 1 + 0.05 * 3) / 1.1, 0.005);
  EXPECT_NEAR(observer.moments(op).second.item<double>(), (1.05 * 1 + 0.05 * 9) / 1.1, 0.02);
}

// A pixel in a hundred, of value 1, is all that the matte sees; the others, 0, have a tenth of the
// draws (within 4 deviations).
TEST(RangeObserver, DrawsPixelsThatTheMatteSees) {
  RangeObserver observer({GridRule::per_tensor}, seed, 1, 2000);
  torch::Tensor value = torch::zeros({1, 2, 100, 100});
  value.select(2, 50).fill_(1);
  const torch::Tensor stored = value.clone().requires_grad_(true) * 1;
  observer.see(0, stored);
  (stored * value).sum().backward();
  observer.add();
  ir::Graph graph;
  graph.add_tensor("x", 2);
  const std::vector<float> samples = observer.ranges(graph)[0].channel_samples;
  ASSERT_EQ(samples.size(), 4000U);
  double seen = 0;
  for (size_t i = 0; i < samples.size(); i += 2) {
    EXPECT_EQ(samples[i], samples[i + 1]);  // channels of one pixel
    seen += samples[i];
  }
  EXPECT_NEAR(seen / 2000, 1 / 1.1, 0.03);
}

TEST(RangeObserver, DrawsAllPixelsAlikeWhereNothingHasAGradient) {
  RangeObserver observer({GridRule::per_tensor}, seed, 1, 2000);
  torch::Tensor value = torch::zeros({1, 1, 10, 10});
  value.select(2, 5).fill_(1);
  observer.see(0, value);
  observer.add();
  ir::Graph graph;
  graph.add_tensor("x", 1);
  const std::vector<float> samples = observer.ranges(graph)[0].channel_samples;
  double seen = 0;
  for (const float sample : samples) seen += sample;
  EXPECT_NEAR(seen / 2000, 0.1, 0.03);
}

TEST(MomentObserver, NamesAConvolutionThatItNeverSaw) {
  ir::Op op;
  op.name = "project";
  try {
    MomentObserver(seed, 1).moments(op);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "calibration: convolution project was never computed");
  }
}

}  // namespace
}  // namespace mattec::quant
