#include "quant/measure_policy.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "ir/error.h"
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

  double error(const Site& site) const {
    const auto& squares = site.weights ? weight_squares_ : input_squares_;
    const auto found = squares.find(site.name);
    return found == squares.end() ? 0 : found->second / probes_;
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
    if (!handle.defined()) handle = torch::zeros({}, torch::requires_grad());
    const torch::Tensor exact = value.detach();
    return value + handle * (round_to_grid(exact, *stored_.graph.tensors[index].grid) - exact);
  }

  void collect() {
    const torch::NoGradGuard no_gradients;
    for (auto& [name, handle] : handles_) {
      if (!handle.grad().defined()) continue;
      const double probe = handle.grad().item<double>();
      input_squares_[name] += probe * probe;
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
  std::map<std::string, double> input_squares_, weight_squares_;
};

// What a policy takes of the budget, as shares of the whole.
struct Use {
  double high_macs = 0, weight_bytes = 0;
};

class Chooser {
 public:
  Chooser(const ir::Graph& fused, const std::vector<SiteError>& errors, const PolicyBudget& budget,
          ir::Size frame)
      : Chooser(fused, with_copies(fused, all_low(), Copies::one_per_site), errors, budget, frame) {
  }

  BitPolicy choose() {
    while (true) {
      const Use before = use(policy_);
      double best_gain = 0;
      BitPolicy best;
      for (const auto& group : groups_) {
        const auto [raised, gained] = raise(group);
        if (gained == 0) continue;
        const Use after = use(raised);
        if (!is_within_budget(after)) continue;
        const double gain = gained / cost(before, after);
        if (gain > best_gain) best_gain = gain, best = raised;
      }
      if (best_gain <= 0) return policy_;
      policy_ = best;
    }
  }

 private:
  // `low`: everything that may have 4 bits has them, each site in a tensor of its own.
  Chooser(const ir::Graph& fused, const StoredGraph& low, const std::vector<SiteError>& errors,
          const PolicyBudget& budget, ir::Size frame)
      : fused_(fused),
        budget_(budget),
        policy_(all_low()),
        groups_(groups_of(low, errors)),
        products_(products_of(low, frame)) {}

  // Sites that are raised together, with their errors.
  using Key = std::pair<bool, std::string>;  // weights, name
  using Group = std::map<Key, double>;

  // Each site alone; each convolution's weights together with its inputs, which are free once the
  // weights have 8 bits.
  static std::vector<Group> groups_of(const StoredGraph& low,
                                      const std::vector<SiteError>& errors) {
    Group all;
    for (const SiteError& error : errors) all[{error.site.weights, error.site.name}] = error.error;
    std::vector<Group> groups;
    for (const auto& entry : all) groups.push_back({entry});
    for (const ir::Op& op : low.graph.ops) {
      if (op.kind != ir::OpKind::conv) continue;
      Group group;
      const auto add = [&](const Key& key) {
        const auto found = all.find(key);
        if (found != all.end()) group.insert(*found);
      };
      add({true, op.name});
      for (int j = 0; j < op.segment_count(); ++j) {
        const auto input = static_cast<size_t>(op.inputs[static_cast<size_t>(j)]);
        if (low.bits[input] == 4) add({false, low.site[input]});
      }
      if (group.size() > 1) groups.push_back(group);
    }
    return groups;
  }

  // The policy with those of the group raised that are not yet, and the sum of their errors.
  std::pair<BitPolicy, double> raise(const Group& group) const {
    BitPolicy raised = policy_;
    double gained = 0;
    for (const auto& [key, error] : group)
      if ((key.first ? raised.weight_bits : raised.activation_bits).emplace(key.second, 8).second)
        gained += error;
    return {raised, gained};
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

  Use use(const BitPolicy& policy) const {
    double macs = 0, high = 0, bytes = 0, weights = 0;
    for (const Products& products : products_) {
      macs += products.macs;
      if (products.site.empty() || policy.weight_bits.count(products.convolution) != 0 ||
          policy.activation_bits.count(products.site) != 0)
        high += products.macs;
    }
    for (const ir::Op& op : fused_.ops) {
      if (op.kind != ir::OpKind::conv) continue;
      const auto size = static_cast<double>(op.conv.weight.size());
      weights += size;
      bytes += size * policy.of_weights(op.name) / 8;
    }
    return {high / macs, bytes / weights};
  }

  // What a convolution multiplies one of its inputs with.
  struct Products {
    std::string convolution, site;  // no site: the input has more than 4 bits whatever the policy
    double macs = 0;
  };

  static std::vector<Products> products_of(const StoredGraph& low, ir::Size frame) {
    const std::vector<ir::Size> sizes = ir::infer_sizes(low.graph, frame);
    std::vector<Products> all;
    for (const ir::Op& op : low.graph.ops) {
      if (op.kind != ir::OpKind::conv) continue;
      for (int j = 0; j < op.segment_count(); ++j) {
        const auto input = static_cast<size_t>(op.inputs[static_cast<size_t>(j)]);
        all.push_back({op.name, low.bits[input] == 4 ? low.site[input] : std::string(),
                       segment_macs(low.graph, op, j, sizes[static_cast<size_t>(op.output)])});
      }
    }
    return all;
  }

  const ir::Graph& fused_;
  const PolicyBudget& budget_;
  BitPolicy policy_;
  const std::vector<Group> groups_;
  const std::vector<Products> products_;
};

}  // namespace

std::vector<SiteError> measure_sites(const ir::Graph& fused, const std::vector<Clip>& clips,
                                     const Calibration& calibration,
                                     const CalibrationOptions& options, const Progress& progress) {
  const auto report = [&](double done, const std::string& what) {
    if (progress) progress(done, what);
  };
  const ir::Graph low = quantize(
      fused, calibration, all_low(), options,
      [&](double done, const std::string& what) { report(0.5 * done, what + " for measuring"); });
  Prober prober(fused, low, calibration, options);
  for (size_t i = 0; i < clips.size(); ++i) {
    std::vector<torch::Tensor> frames;
    for (size_t t = 0; t < std::min<size_t>(clips[i].size(), 4); ++t)
      frames.push_back(network_input(clips[i][t], {}));
    prober.play(frames);
    report(0.5 + 0.5 * static_cast<double>(i + 1) / static_cast<double>(clips.size()),
           "measuring what 4 bits cost");
  }
  std::vector<SiteError> errors;
  for (const Site& site : sites_of(fused)) errors.push_back({site, prober.error(site)});
  return errors;
}

BitPolicy best_policy(const ir::Graph& fused, const std::vector<SiteError>& errors,
                      const PolicyBudget& budget, ir::Size frame) {
  return Chooser(fused, errors, budget, frame).choose();
}

}  // namespace mattec::quant
