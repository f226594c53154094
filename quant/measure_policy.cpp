#include "quant/measure_policy.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "quant/copies.h"
#include "quant/play.h"
#include "quant/simulate.h"
#include "quant/weights.h"

namespace mattec::quant {
namespace {

BitPolicy all_low() {
  BitPolicy policy;
  policy.weights = policy.activations = 4;
  return policy;
}

// Adds up the squared probes of every site over clips.
class Prober {
 public:
  // `low`: `fused` with 4 bits everywhere.
  Prober(const ir::Graph& fused, const ir::Graph& low, const Calibration& calibration,
         const CalibrationOptions& options)
      : stored_(with_copies(fused, all_low(), Copies::one_per_site)),
        executor_(channels_last_executor(stored_.graph)),
        generator_(at::detail::createCPUGenerator(options.seed + 3)) {
    assign_grids(stored_, calibration.ranges, range_method(options.method), options.channel_scales);
    for (const ir::Op& op : low.ops) {
      if (op.kind != ir::OpKind::conv) continue;
      Parameters::Entry& entry = executor_.parameters.of.at(op.name);
      const RealWeights real = real_weights(low, op);
      Parameters::Entry& change = weight_change_.of[op.name];
      change.weight = torch::tensor(real.weight).reshape(entry.weight.sizes()) - entry.weight;
      change.bias = torch::tensor(real.bias) - entry.bias;
      entry.weight.requires_grad_(true);
      entry.bias.requires_grad_(true);
    }
    executor_.hooks.on_store = [this](ir::TensorId id, const torch::Tensor& value) {
      return probing_ ? probed(id, value) : value;
    };
  }

  // `frames`: [1][3][H][W] each; the last two are probed together.
  void play(const std::vector<torch::Tensor>& frames) {
    std::vector<torch::Tensor> states;
    torch::Tensor loss = torch::zeros({});
    for (size_t t = 0; t < frames.size(); ++t) {
      probing_ = t + 2 >= frames.size();
      const torch::AutoGradMode gradients(probing_);
      const torch::Tensor alpha = executor_.step(frames[t], states)[alpha_output(stored_.graph)];
      const torch::Tensor signs =
          torch::randint(2, alpha.sizes(), generator_, torch::kFloat) * 2 - 1;
      if (probing_) loss = loss + (alpha * signs).sum();
    }
    loss.backward();
    collect();
  }

  SiteError error(const Site& site) const {
    SiteError result{site, 0, {}};
    if (site.weights) {
      const auto found = weight_squares_.find(site.name);
      if (found != weight_squares_.end()) result.error = found->second / probes_;
      return result;
    }
    const auto found = input_squares_.find(site.name);
    if (found == input_squares_.end()) return result;
    const torch::Tensor mean = found->second / probes_;
    result.channels.assign(mean.data_ptr<double>(), mean.data_ptr<double>() + mean.numel());
    result.error = mean.sum().item<double>();
    return result;
  }

 private:
  // value + handle * (rounded value - value), handle 0: its gradient is the probe.
  torch::Tensor probed(ir::TensorId id, const torch::Tensor& value) {
    const auto index = static_cast<size_t>(id);
    const int producer = stored_.graph.producer(id);
    const bool is_view =
        producer < 0 || stored_.graph.ops[static_cast<size_t>(producer)].kind == ir::OpKind::slice;
    if (stored_.bits[index] != 4 || is_view) return value;
    torch::Tensor& handle = handles_[stored_.site[index]];
    const auto [root, first] = part_of(id);
    if (!handle.defined())
      handle = torch::zeros({1, stored_.graph.tensor(root).channels, 1, 1}, torch::requires_grad());
    const torch::Tensor exact = value.detach();
    return value + handle.slice(1, first, first + value.size(1)) *
                       (round_to_grid(exact, *stored_.graph.tensors[index].grid) - exact);
  }

  // The tensor whose grid `id` shares, and the channel of it that is its first.
  std::pair<ir::TensorId, int> part_of(ir::TensorId id) const {
    int first = 0;
    while (true) {
      const int producer = stored_.graph.producer(id);
      if (producer < 0) return {id, first};
      const ir::Op& op = stored_.graph.ops[static_cast<size_t>(producer)];
      if (!keeps_grid(op.kind)) return {id, first};
      first += op.first_channel;
      id = op.inputs[0];
    }
  }

  void collect() {
    const torch::NoGradGuard no_gradients;
    for (auto& [name, handle] : handles_) {
      if (!handle.grad().defined()) continue;
      const torch::Tensor squares = handle.grad().flatten().to(torch::kDouble).square();
      torch::Tensor& sum = input_squares_[name];
      sum = sum.defined() ? sum + squares : squares;
      handle.mutable_grad() = torch::Tensor();
    }
    for (auto& [name, entry] : executor_.parameters.of) {
      if (!entry.weight.grad().defined()) continue;
      const Parameters::Entry& change = weight_change_.of.at(name);
      const double probe = (entry.weight.grad() * change.weight).sum().item<double>() +
                           (entry.bias.grad() * change.bias).sum().item<double>();
      weight_squares_[name] += probe * probe;
      entry.weight.mutable_grad() = entry.bias.mutable_grad() = torch::Tensor();
    }
    ++probes_;
  }

  StoredGraph stored_;
  Executor executor_;
  at::Generator generator_;
  bool probing_ = false;
  int probes_ = 0;
  Parameters weight_change_;
  std::map<std::string, torch::Tensor> handles_;
  std::map<std::string, torch::Tensor> input_squares_;  // per channel
  std::map<std::string, double> weight_squares_;
};

// A convolution's weights or one of its inputs, and how much of it has 8 bits.
struct Weights {
  std::string name;
  double count = 0, error = 0;
  bool is_high = false;
};
struct Input {
  std::string site;
  std::vector<int> channels;   // those with most error first
  std::vector<double> errors;  // of the channels from each on
  size_t part = 0;             // channels raised at once
  size_t high = 0;             // the first so many have 8 bits

  explicit Input(const SiteError& error) : site(error.site.name) {
    std::vector<double> each = error.channels;
    if (each.empty()) each.push_back(error.error);
    channels.resize(each.size());
    std::iota(channels.begin(), channels.end(), 0);
    std::stable_sort(channels.begin(), channels.end(), [&](int a, int b) {
      return each[static_cast<size_t>(a)] > each[static_cast<size_t>(b)];
    });
    errors.assign(channels.size() + 1, 0);
    for (size_t i = channels.size(); i-- > 0;)
      errors[i] = errors[i + 1] + each[static_cast<size_t>(channels[i])];
    // Kernels take channels by fours; sixteen parts of the widest tensors are enough.
    part =
        error.site.has_parts ? std::max<size_t>(4, channels.size() / 16 / 4 * 4) : channels.size();
  }
  // High channels after another part; the last part takes what is left.
  size_t next() const { return high + 2 * part > channels.size() ? channels.size() : high + part; }
  double high_share() const {
    return static_cast<double>(high) / static_cast<double>(channels.size());
  }
};

// What a convolution multiplies one of its inputs with.
struct Products {
  size_t convolution = 0;
  std::optional<size_t> input;  // none: it has more than 4 bits whatever the policy
  double macs = 0;
};

// What a policy takes of the budget, as shares of the whole.
struct Use {
  double high_macs = 0, weight_bytes = 0;
};

// A step on the way from 4 bits everywhere: new numbers of high channels, new high weights.
struct Step {
  std::map<size_t, size_t> inputs;
  std::optional<size_t> weights;
};

class Chooser {
 public:
  // `low`: everything that may have 4 bits has them, each site in a tensor of its own.
  Chooser(const StoredGraph& low, const std::vector<SiteError>& errors, const PolicyBudget& budget,
          ir::Size frame)
      : budget_(budget) {
    std::map<std::string, size_t> weights, inputs;
    for (const SiteError& error : errors) {
      if (error.site.weights) {
        weights[error.site.name] = weights_.size();
        weights_.push_back({error.site.name, 0, error.error, false});
      } else {
        inputs[error.site.name] = inputs_.size();
        inputs_.emplace_back(error);
      }
    }
    const std::vector<ir::Size> sizes = ir::infer_sizes(low.graph, frame);
    for (const ir::Op& op : low.graph.ops) {
      if (op.kind != ir::OpKind::conv) continue;
      const size_t convolution = weights.at(op.name);
      weights_[convolution].count = static_cast<double>(op.conv.weight.size());
      for (int j = 0; j < op.segment_count(); ++j) {
        const auto id = static_cast<size_t>(op.inputs[static_cast<size_t>(j)]);
        Products products{
            convolution, {}, segment_macs(low.graph, op, j, sizes[static_cast<size_t>(op.output)])};
        if (low.bits[id] == 4) products.input = inputs.at(low.site[id]);
        products_.push_back(products);
      }
    }
  }

  BitPolicy choose() {
    while (true) {
      const Use before = use();
      double best_gain = 0;
      Step best;
      for (const Step& step : steps()) {
        const double gained = gain(step);
        if (gained <= 0) continue;
        const Use after = use_after(step);
        if (!is_within_budget(after)) continue;
        const double gain = gained / cost(before, after);
        if (gain > best_gain) best_gain = gain, best = step;
      }
      if (best_gain <= 0) return policy();
      swap(best);
    }
  }

 private:
  // Each input's next part, and all of it; each convolution's weights alone and together with its
  // inputs, which are free once the weights have 8 bits.
  std::vector<Step> steps() const {
    std::vector<Step> all;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const Input& input = inputs_[i];
      if (input.high == input.channels.size()) continue;
      all.push_back({{{i, input.next()}}, {}});
      if (input.next() < input.channels.size()) all.push_back({{{i, input.channels.size()}}, {}});
    }
    for (size_t w = 0; w < weights_.size(); ++w) {
      if (weights_[w].is_high) continue;
      all.push_back({{}, w});
      Step together{{}, w};
      for (const Products& products : products_)
        if (products.convolution == w && products.input)
          together.inputs[*products.input] = inputs_[*products.input].channels.size();
      all.push_back(together);
    }
    return all;
  }

  double gain(const Step& step) const {
    double sum = step.weights ? weights_[*step.weights].error : 0;
    for (const auto& [i, high] : step.inputs)
      sum += inputs_[i].errors[inputs_[i].high] - inputs_[i].errors[high];
    return sum;
  }

  // Takes the step; `step` becomes the way back.
  void swap(Step& step) {
    if (step.weights) weights_[*step.weights].is_high = !weights_[*step.weights].is_high;
    for (auto& [i, high] : step.inputs) std::swap(high, inputs_[i].high);
  }

  Use use_after(Step step) {
    swap(step);
    const Use after = use();
    swap(step);
    return after;
  }

  bool is_within_budget(const Use& use) const {
    return use.high_macs <= 1 - budget_.low_bit_share && use.weight_bytes <= budget_.weight_bytes;
  }

  // Sum of the shares that it takes of the two budgets. What is free costs a millionth, so that of
  // free moves the one with most error comes first.
  double cost(const Use& before, const Use& after) const {
    return 1e-6 + (after.high_macs - before.high_macs) / (1 - budget_.low_bit_share) +
           (after.weight_bytes - before.weight_bytes) / budget_.weight_bytes;
  }

  Use use() const {
    double macs = 0, high = 0, bytes = 0, weights = 0;
    for (const Products& products : products_) {
      macs += products.macs;
      const bool is_high = weights_[products.convolution].is_high || !products.input;
      high += products.macs * (is_high ? 1 : inputs_[*products.input].high_share());
    }
    for (const Weights& each : weights_) {
      weights += each.count;
      bytes += each.count * (each.is_high ? 1 : 0.5);
    }
    return {high / macs, bytes / weights};
  }

  BitPolicy policy() const {
    BitPolicy policy = all_low();
    for (const Weights& each : weights_)
      if (each.is_high) policy.weight_bits[each.name] = 8;
    for (const Input& input : inputs_) {
      if (input.high == 0) continue;
      if (input.high == input.channels.size()) {
        policy.activation_bits[input.site] = 8;
        continue;
      }
      std::vector<int>& high = policy.high_channels[input.site];
      high.assign(input.channels.begin(),
                  input.channels.begin() + static_cast<std::ptrdiff_t>(input.high));
      std::sort(high.begin(), high.end());
    }
    return policy;
  }

  const PolicyBudget& budget_;
  std::vector<Weights> weights_;
  std::vector<Input> inputs_;
  std::vector<Products> products_;
};

}  // namespace

std::vector<SiteError> measure_sites(const ir::Graph& fused, const std::vector<Clip>& clips,
                                     const Calibration& calibration,
                                     const CalibrationOptions& options, const Progress& progress,
                                     RoundingMemo* memo) {
  const auto report = [&](double done, const std::string& what) {
    if (progress) progress(done, what);
  };
  const ir::Graph low = quantize(
      fused, calibration, all_low(), options,
      [&](double done, const std::string& what) { report(0.5 * done, what + " for measuring"); },
      memo);
  Prober prober(fused, low, calibration, options);
  for (size_t i = 0; i < clips.size(); ++i) {
    std::vector<torch::Tensor> frames;
    for (size_t t = 0; t < std::min<size_t>(clips[i].size(), 4); ++t)
      frames.push_back(network_input(clips[i][t]));
    prober.play(frames);
    report(0.5 + 0.5 * static_cast<double>(i + 1) / static_cast<double>(clips.size()),
           "measuring what 4 bits cost");
  }
  std::vector<SiteError> errors;
  for (const Site& site : sites_of(fused)) errors.push_back(prober.error(site));
  return errors;
}

BitPolicy best_policy(const ir::Graph& fused, const std::vector<SiteError>& errors,
                      const PolicyBudget& budget, ir::Size frame) {
  return Chooser(with_copies(fused, all_low(), Copies::one_per_site), errors, budget, frame)
      .choose();
}

}  // namespace mattec::quant
