#include "quant/channels.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/utils.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace mattec::quant {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool is_channels_last(const Tensor& x) {
  return x.scalar_type() == torch::kFloat && x.dim() == 4 &&
         x.is_contiguous(torch::MemoryFormat::ChannelsLast);
}

Tensor empty_like(const Tensor& x, int64_t channels) {
  return torch::empty({x.size(0), channels, x.size(2), x.size(3)},
                      x.options().memory_format(torch::MemoryFormat::ChannelsLast));
}

// `count` channels in a row, at `from` in one tensor and at `to` in another.
struct Run {
  int64_t from, to, count;
};

std::vector<Run> runs_of(const std::vector<int64_t>& channels) {
  std::vector<Run> runs;
  for (size_t i = 0; i < channels.size(); ++i) {
    const auto to = static_cast<int64_t>(i);
    if (!runs.empty() && runs.back().from + runs.back().count == channels[i])
      ++runs.back().count;
    else
      runs.push_back({channels[i], to, 1});
  }
  return runs;
}

// Both channels last, of one size but for the channels.
void copy_runs(const Tensor& from, const std::vector<Run>& runs, Tensor& to) {
  const int64_t read = from.size(1), written = to.size(1);
  const float* source = from.data_ptr<float>();
  float* target = to.data_ptr<float>();
  at::parallel_for(0, to.numel() / written, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (const Run& run : runs)
        std::copy_n(source + i * read + run.from, run.count, target + i * written + run.to);
  });
}

class Take : public torch::autograd::Function<Take> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x,
                        const std::vector<int64_t>& channels) {
    context->saved_data["channels"] = channels;
    context->saved_data["count"] = x.size(1);
    Tensor result = empty_like(x, static_cast<int64_t>(channels.size()));
    copy_runs(x, runs_of(channels), result);
    return result;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const Tensor above = gradients[0].contiguous(torch::MemoryFormat::ChannelsLast);
    Tensor below = empty_like(above, context->saved_data["count"].toInt()).zero_();
    std::vector<Run> runs = runs_of(context->saved_data["channels"].toIntVector());
    for (Run& run : runs) std::swap(run.from, run.to);
    copy_runs(above, runs, below);
    return {below, Tensor()};
  }
};

Tensor joined(const variable_list& parts) {
  int64_t all = 0, first = 0;
  for (const Tensor& part : parts) all += part.size(1);
  Tensor result = empty_like(parts[0], all);
  for (const Tensor& part : parts) {
    copy_runs(part, {{0, first, part.size(1)}}, result);
    first += part.size(1);
  }
  return result;
}

// A Node, since Function's forward() takes no lists of tensors that have gradients.
struct JoinBackward : torch::autograd::Node {
  std::vector<int64_t> counts;

  variable_list apply(variable_list&& gradients) override {
    const Tensor above = gradients[0].contiguous(torch::MemoryFormat::ChannelsLast);
    variable_list below;
    int64_t first = 0;
    for (const int64_t count : counts) {
      below.push_back(empty_like(above, count));
      copy_runs(above, {{first, 0, count}}, below.back());
      first += count;
    }
    return below;
  }
};

}  // namespace

Tensor take_channels(const Tensor& x, const std::vector<int64_t>& channels) {
  if (!is_channels_last(x)) return x.index_select(1, torch::tensor(channels));
  return Take::apply(x, channels);
}

Tensor join_channels(const std::vector<Tensor>& parts) {
  if (!std::all_of(parts.begin(), parts.end(), is_channels_last)) return torch::cat(parts, 1);
  Tensor result;
  {
    const torch::NoGradGuard no_gradients;
    result = joined(parts);
  }
  if (!torch::autograd::compute_requires_grad(parts)) return result;
  const std::shared_ptr<JoinBackward> node(new JoinBackward, torch::autograd::deleteNode);
  for (const Tensor& part : parts) node->counts.push_back(part.size(1));
  node->set_next_edges(torch::autograd::collect_next_edges(parts));
  torch::autograd::set_history(result, node);
  return result;
}

}  // namespace mattec::quant
