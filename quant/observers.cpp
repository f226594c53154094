#include "quant/observers.h"

#include <ATen/CPUGeneratorImpl.h>

#include "ir/error.h"

namespace mattec::quant {
namespace {

torch::Tensor random_indices(int64_t bound, int64_t count, const at::Generator& generator) {
  return torch::randint(bound, {count}, generator, torch::kLong);
}

std::vector<float> values_of(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.to(torch::kFloat).contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

}  // namespace

RangeObserver::RangeObserver(const std::vector<GridRule>& rules, uint64_t seed,
                             int samples_per_step)
    : rules_(rules),
      seen_(rules.size()),
      generator_(at::detail::createCPUGenerator(seed)),
      samples_per_step_(samples_per_step) {}

void RangeObserver::see(ir::TensorId id, const torch::Tensor& value) {
  const GridRule rule = rules_[static_cast<size_t>(id)];
  if (rule != GridRule::per_tensor && rule != GridRule::per_channel) return;
  Seen& seen = seen_[static_cast<size_t>(id)];
  torch::Tensor lowest, highest;
  if (rule == GridRule::per_channel) {
    lowest = value.amin({0, 2, 3});
    highest = value.amax({0, 2, 3});
  } else {
    std::tie(lowest, highest) = torch::aminmax(value);
    const torch::Tensor n = random_indices(value.size(0), samples_per_step_, generator_),
                        c = random_indices(value.size(1), samples_per_step_, generator_),
                        y = random_indices(value.size(2), samples_per_step_, generator_),
                        x = random_indices(value.size(3), samples_per_step_, generator_);
    const std::vector<float> picked = values_of(value.index({n, c, y, x}));
    seen.samples.insert(seen.samples.end(), picked.begin(), picked.end());
  }
  const bool first = !seen.lowest.defined();
  seen.lowest = first ? lowest : torch::minimum(seen.lowest, lowest);
  seen.highest = first ? highest : torch::maximum(seen.highest, highest);
}

std::vector<ObservedRange> RangeObserver::ranges(const ir::Graph& graph) const {
  std::vector<ObservedRange> ranges(seen_.size());
  for (size_t id = 0; id < seen_.size(); ++id) {
    const bool per_channel = rules_[id] == GridRule::per_channel;
    if (!per_channel && rules_[id] != GridRule::per_tensor) continue;
    const Seen& seen = seen_[id];
    const std::string& name = graph.tensors[id].name;
    if (!seen.lowest.defined()) throw Error("calibration: tensor " + name + " was never computed");
    if (!torch::isfinite(seen.lowest).all().item<bool>() ||
        !torch::isfinite(seen.highest).all().item<bool>())
      throw Error("calibration: tensor " + name +
                  " held values that are not finite; check the weights of the model");
    ranges[id].lowest = seen.lowest.min().item<float>();
    ranges[id].highest = seen.highest.max().item<float>();
    ranges[id].samples = seen.samples;
    if (!per_channel) continue;
    ranges[id].channel_lowest = values_of(seen.lowest);
    ranges[id].channel_highest = values_of(seen.highest);
  }
  return ranges;
}

MomentObserver::MomentObserver(uint64_t seed, int positions_per_step)
    : generator_(at::detail::createCPUGenerator(seed)), positions_per_step_(positions_per_step) {}

torch::Tensor MomentObserver::columns(const ir::Convolution& conv, const torch::Tensor& input) {
  const torch::Tensor pixels = input.permute({0, 2, 3, 1});  // a view
  const int64_t batch = input.size(0), height = input.size(2), width = input.size(3);
  if (conv.kernel == 1) {
    // Twice the positions: neighbours that a larger kernel would see count as well.
    const int64_t count = 2 * int64_t{positions_per_step_}, all = batch * height * width;
    if (all <= count) return pixels.reshape({all, -1, 1});
    const torch::Tensor n = random_indices(batch, count, generator_),
                        y = random_indices(height, count, generator_),
                        x = random_indices(width, count, generator_);
    return pixels.index({n, y, x}).unsqueeze(2);
  }
  const int64_t padding = conv.padding, reach = int64_t{conv.dilation} * (conv.kernel - 1);
  const int64_t rows = height + 2 * padding - reach, row_length = width + 2 * padding - reach;
  const torch::Tensor n = random_indices(batch, positions_per_step_, generator_),
                      top = random_indices(rows, positions_per_step_, generator_) - padding,
                      left = random_indices(row_length, positions_per_step_, generator_) -
                             conv.padding;
  torch::Tensor border = torch::zeros({input.size(1)});
  if (!conv.pad_value.empty()) border = torch::tensor(conv.pad_value);
  std::vector<torch::Tensor> taps;
  for (int i = 0; i < conv.kernel; ++i)
    for (int j = 0; j < conv.kernel; ++j) {
      const torch::Tensor y = top + i * conv.dilation, x = left + j * conv.dilation;
      const torch::Tensor inside = (y >= 0) & (y < height) & (x >= 0) & (x < width);
      const torch::Tensor value = pixels.index({n, y.clamp(0, height - 1), x.clamp(0, width - 1)});
      taps.push_back(torch::where(inside.unsqueeze(1), value, border));
    }
  return torch::stack(taps, 2);
}

void MomentObserver::see(const ir::Op& convolution, const torch::Tensor& input) {
  const torch::Tensor v = columns(convolution.conv, input);
  torch::Tensor second, first;
  if (convolution.conv.depthwise) {
    const torch::Tensor by_channel = v.permute({1, 2, 0}).contiguous();  // [C][k*k][positions]
    second = torch::bmm(by_channel, by_channel.transpose(1, 2));
    first = by_channel.sum(2);
  } else {
    const torch::Tensor rows = v.reshape({v.size(0), -1});
    second = torch::mm(rows.t(), rows);
    first = rows.sum(0);
  }
  Sums& sums = sums_[convolution.name];
  if (sums.count == 0) {
    sums.second = torch::zeros_like(second, torch::kDouble);
    sums.first = torch::zeros_like(first, torch::kDouble);
  }
  sums.second += second;
  sums.first += first;
  sums.count += v.size(0);
}

Moments MomentObserver::moments(const ir::Op& convolution) const {
  const auto found = sums_.find(convolution.name);
  if (found == sums_.end())
    throw Error("calibration: convolution " + convolution.name + " was never computed");
  const auto count = static_cast<double>(found->second.count);
  return {found->second.second / count, found->second.first / count};
}

}  // namespace mattec::quant
