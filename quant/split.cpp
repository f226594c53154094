#include "quant/split.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "quant/copies.h"

namespace mattec::quant {
namespace {

using ir::Op;
using ir::OpKind;
using ir::TensorId;

ObservedRange range_of(const ObservedRange& whole, const std::vector<int>& channels) {
  ObservedRange part;
  const size_t count = whole.channel_lowest.size();
  if (count == 0) return part;
  for (const int channel : channels) {
    part.channel_lowest.push_back(whole.channel_lowest[static_cast<size_t>(channel)]);
    part.channel_highest.push_back(whole.channel_highest[static_cast<size_t>(channel)]);
  }
  part.lowest = *std::min_element(part.channel_lowest.begin(), part.channel_lowest.end());
  part.highest = *std::max_element(part.channel_highest.begin(), part.channel_highest.end());
  for (size_t pixel = 0; pixel < whole.channel_samples.size(); pixel += count)
    for (const int channel : channels)
      part.channel_samples.push_back(whole.channel_samples[pixel + static_cast<size_t>(channel)]);
  part.samples = part.channel_samples;
  return part;
}

Moments reordered(const Moments& moments, const std::vector<int>& order, int64_t taps) {
  std::vector<int64_t> columns;
  for (const int channel : order)
    for (int64_t tap = 0; tap < taps; ++tap) columns.push_back(channel * taps + tap);
  const torch::Tensor index = torch::tensor(columns);
  return {moments.second.index_select(0, index).index_select(1, index),
          moments.first.index_select(0, index), moments.sensitivity};
}

std::vector<float> reordered(const std::vector<float>& weight, const std::vector<int>& order,
                             size_t taps) {
  std::vector<float> result;
  result.reserve(weight.size());
  for (size_t filter = 0; filter < weight.size(); filter += order.size() * taps)
    for (const int channel : order) {
      const auto first = weight.begin() +
                         static_cast<std::ptrdiff_t>(filter + static_cast<size_t>(channel) * taps);
      result.insert(result.end(), first, first + static_cast<std::ptrdiff_t>(taps));
    }
  return result;
}

class Splitter {
 public:
  Splitter(const ir::Graph& fused, Calibration calibration, const BitPolicy& policy)
      : before_(fused), policy_(policy) {
    split_.fused = fused;
    split_.fused.ops.clear();
    split_.calibration = std::move(calibration);
    split_.policy = policy;
    split_.policy.high_channels.clear();
    for (const Site& site : sites_of(fused))
      if (site.has_parts) sites_.insert(site.name);
    for (const auto& [name, channels] : policy.high_channels)
      if (sites_.count(name) == 0)
        throw Error("bit policy: high_channels \"" + name + "\" of " + fused.name +
                    " is no input of one dense convolution that calibration gives its range");
  }

  Split run() {
    for (const Op& op : before_.ops) {
      Op copy = op;
      if (op.kind == OpKind::conv) split_inputs(copy);
      split_.fused.ops.push_back(std::move(copy));
    }
    forget_choices();
    return std::move(split_);
  }

 private:
  void split_inputs(Op& op) {
    const std::vector<std::string> sites = input_sites(before_, op);
    std::vector<TensorId> inputs;
    std::vector<int> order;  // of input channels: where each was
    int first = 0;
    for (size_t j = 0; j < sites.size(); ++j) {
      const TensorId input = op.inputs[j];
      const auto found = policy_.high_channels.find(sites[j]);
      std::vector<std::vector<int>> parts = {all_channels(input)};
      if (found == policy_.high_channels.end()) {
        inputs.push_back(input);
      } else {
        parts = parts_of(input, op, sites[j], found->second);
        inputs.push_back(part(input, sites[j] + ".low", parts[0], 4));
        inputs.push_back(part(input, sites[j] + ".high", parts[1], 8));
      }
      for (const std::vector<int>& channels : parts)
        for (const int channel : channels) order.push_back(first + channel);
      first += before_.tensor(input).channels;
    }
    if (inputs.size() == sites.size()) return;
    inputs.insert(inputs.end(), op.inputs.begin() + op.segment_count(), op.inputs.end());
    op.inputs = inputs;
    const int taps = op.conv.kernel * op.conv.kernel;
    op.conv.weight = reordered(op.conv.weight, order, static_cast<size_t>(taps));
    const auto moments = split_.calibration.moments.find(op.name);
    if (moments != split_.calibration.moments.end())
      moments->second = reordered(moments->second, order, taps);
  }

  std::vector<int> all_channels(TensorId id) const {
    std::vector<int> all;
    for (int c = 0; c < before_.tensor(id).channels; ++c) all.push_back(c);
    return all;
  }

  // Low and high ones.
  std::vector<std::vector<int>> parts_of(TensorId input, const Op& op, const std::string& site,
                                         std::vector<int> high) const {
    std::sort(high.begin(), high.end());
    std::vector<int> low;
    const std::vector<int> all = all_channels(input);
    std::set_difference(all.begin(), all.end(), high.begin(), high.end(), std::back_inserter(low));
    if (low.size() + high.size() != all.size() || low.empty() || high.empty())
      throw Error("bit policy: high_channels \"" + site + "\" must be some, but not all, of " +
                  std::to_string(all.size()) + " channels, each once");
    if (policy_.of_input(before_.tensor(input).name, op.name) != 4)
      throw Error("bit policy: high_channels \"" + site + "\" has 8 bits for all channels anyway");
    return {low, high};
  }

  // A convolution may read a tensor twice.
  TensorId part(TensorId input, const std::string& name, const std::vector<int>& channels,
                int bits) {
    const auto [found, is_new] = made_.try_emplace(name, ir::no_tensor);
    if (!is_new) return found->second;
    Op op;
    op.kind = OpKind::requantize;
    op.name = name;
    op.inputs = {input};
    op.channels = channels;
    found->second = split_.fused.add_op(op, static_cast<int>(channels.size()));
    split_.policy.activation_bits[name] = bits;
    std::vector<ObservedRange>& ranges = split_.calibration.ranges;
    ranges.push_back(range_of(ranges[static_cast<size_t>(input)], channels));
    return found->second;
  }

  // What was said for a whole input that is read in parts now.
  void forget_choices() {
    const std::set<std::string> keys = activation_keys(split_.fused);
    for (const auto& [name, channels] : policy_.high_channels)
      if (keys.count(name) == 0) split_.policy.activation_bits.erase(name);
  }

  const ir::Graph& before_;
  const BitPolicy& policy_;
  std::set<std::string> sites_;
  std::map<std::string, TensorId> made_;
  Split split_;
};

}  // namespace

Split split_channels(const ir::Graph& fused, Calibration calibration, const BitPolicy& policy) {
  return Splitter(fused, std::move(calibration), policy).run();
}

ir::Graph split_graph(const ir::Graph& fused, const BitPolicy& policy) {
  Calibration nothing_seen;
  nothing_seen.ranges.resize(fused.tensors.size());
  return split_channels(fused, std::move(nothing_seen), policy).fused;
}

}  // namespace mattec::quant
