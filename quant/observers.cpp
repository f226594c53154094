#include "quant/observers.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/utils.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "ir/sizes.h"
#include "quant/parallel.h"
#include "quant/pixels.h"

namespace mattec::quant {
namespace {

torch::Tensor random_indices(int64_t bound, int64_t count, const at::Generator& generator) {
  return torch::randint(bound, {count}, generator, torch::kLong);
}

// Indices below `bound`: all of them if they are few, else so many random ones.
torch::Tensor some_indices(int64_t bound, int64_t most, const at::Generator& generator) {
  return bound <= most ? torch::arange(bound) : random_indices(bound, most, generator);
}

std::vector<float> values_of(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.to(torch::kFloat).contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

// [positions][C] of [N][C][H][W], positions counted row by row through the batch. To reshape would
// copy all of a tensor that is not channels-last.
torch::Tensor pixels_at(const torch::Tensor& value, const torch::Tensor& positions) {
  const int64_t width = value.size(3), area = value.size(2) * width;
  const auto quotient = [](const torch::Tensor& of, int64_t by) { return of.div(by, "floor"); };
  return value.permute({0, 2, 3, 1})
      .index({quotient(positions, area), quotient(positions.remainder(area), width),
              positions.remainder(width)});
}

// What holds the gradient after the backward pass; retain_grad() would copy it.
std::shared_ptr<torch::Tensor> gradient_of(const torch::Tensor& value) {
  auto gradient = std::make_shared<torch::Tensor>();
  value.register_hook([gradient](const torch::Tensor& found) { *gradient = found; });
  return gradient;
}

void keep(const torch::Tensor& picked, std::vector<float>& to) {
  const std::vector<float> values = values_of(picked);
  to.insert(to.end(), values.begin(), values.end());
}

// Of squared gradients at random positions: where alpha is clamped in the clips it need not be
// elsewhere.
torch::Tensor with_even_share(const torch::Tensor& squares) {
  const torch::Tensor finite = torch::nan_to_num(squares, 0, 0, 0);  // ranges() names what is not
  return finite + (0.1 * finite.mean().item<double>() + 1e-20);
}

// Adds a' b, which is symmetric, to the lower triangle of `sum`; above the blocks that the diagonal
// goes through nothing is computed.
void add_lower(const torch::Tensor& a, const torch::Tensor& b, torch::Tensor& sum) {
  constexpr int64_t block = 192;
  for (int64_t first = 0; first < sum.size(0); first += block) {
    const int64_t last = std::min(first + block, sum.size(0));
    sum.slice(0, first)
        .slice(1, first, last)
        .addmm_(a.slice(1, first).t(), b.slice(1, first, last));
  }
}

torch::Tensor symmetric(const torch::Tensor& lower) { return lower.tril() + lower.tril(-1).t(); }

// Random positions that one is drawn from by its gradient: for few and for many draws.
constexpr int64_t candidates = 16, candidates_of_many = 4;

}  // namespace

RangeObserver::RangeObserver(const std::vector<GridRule>& rules, uint64_t seed,
                             int samples_per_step, int positions_per_step)
    : rules_(rules),
      seen_(rules.size()),
      generator_(at::detail::createCPUGenerator(seed)),
      samples_per_step_(samples_per_step),
      positions_per_step_(positions_per_step) {}

bool RangeObserver::is_observed(size_t id) const { return rules_[id] != GridRule::unit; }

void RangeObserver::see(ir::TensorId id, const torch::Tensor& value) {
  const auto index = static_cast<size_t>(id);
  if (!is_observed(index)) return;
  const torch::NoGradGuard no_gradients;
  Seen& seen = seen_[index];
  const auto random = [&](int64_t dimension, int64_t count) {
    return random_indices(value.size(dimension), count, generator_);
  };
  const int64_t samples = samples_per_step_;
  const torch::Tensor n = random(0, samples), c = random(1, samples), y = random(2, samples),
                      x = random(3, samples);
  keep(value.index({n, c, y, x}), seen.samples);
  pending_.push_back({index, value, value.requires_grad() ? gradient_of(value) : nullptr});
  const ChannelExtremes extremes = channel_extremes(Pixels(value));
  const bool first = !seen.lowest.defined();
  seen.lowest = first ? extremes.lowest : torch::minimum(seen.lowest, extremes.lowest);
  seen.highest = first ? extremes.highest : torch::maximum(seen.highest, extremes.highest);
}

void RangeObserver::add() {
  const torch::NoGradGuard no_gradients;
  for (const Pending& pending : pending_) {
    const torch::Tensor gradient = pending.gradient ? *pending.gradient : torch::Tensor();
    const torch::Tensor& value = pending.value;
    const int64_t positions = positions_per_step_,
                  pixels = value.size(0) * value.size(2) * value.size(3);
    torch::Tensor chosen;
    if (gradient.defined()) {
      const torch::Tensor among = random_indices(pixels, candidates * positions, generator_);
      const torch::Tensor importance = with_even_share(pixels_at(gradient, among).square().sum(1));
      chosen = among.index_select(
          0, torch::multinomial(importance, positions, /*replacement=*/true, generator_));
    } else {
      chosen = random_indices(pixels, positions, generator_);
    }
    keep(pixels_at(value, chosen), seen_[pending.index].channel_samples);
  }
  pending_.clear();
}

std::vector<ObservedRange> RangeObserver::ranges(const ir::Graph& graph) const {
  std::vector<ObservedRange> ranges(seen_.size());
  for (size_t id = 0; id < seen_.size(); ++id) {
    if (!is_observed(id)) continue;
    const Seen& seen = seen_[id];
    const std::string& name = graph.tensors[id].name;
    if (!seen.lowest.defined()) throw Error("calibration: tensor " + name + " was never computed");
    if (!torch::isfinite(seen.lowest).all().item<bool>() ||
        !torch::isfinite(seen.highest).all().item<bool>())
      throw Error("calibration: tensor " + name +
                  " held values that are not finite; check the weights of the model");
    ObservedRange& range = ranges[id];
    range.lowest = seen.lowest.min().item<float>();
    range.highest = seen.highest.max().item<float>();
    range.samples = seen.samples;
    range.channel_lowest = values_of(seen.lowest);
    range.channel_highest = values_of(seen.highest);
    range.channel_samples = seen.channel_samples;
  }
  return ranges;
}

// 1e-5 of the squares keeps the difference positive where sums in float have rounded.
torch::Tensor covariance_of(const Moments& moments) {
  const torch::Tensor &second = moments.second, &first = moments.first;
  const torch::Tensor slack = torch::diag_embed(second.diagonal(0, -2, -1)) * 1e-5;
  return second - first.unsqueeze(-1) * first.unsqueeze(-2) + slack;
}

void MomentObserver::SlowSum::add(const torch::Tensor& a, const torch::Tensor& b) {
  if (empty()) {
    recent_ = torch::zeros({a.size(1), b.size(1)});
    all_ = torch::zeros({a.size(1), b.size(1)}, torch::kDouble);
  }
  add_lower(a, b, recent_);
  if (++steps_ % 8 != 0) return;
  all_ += recent_;
  recent_.zero_();
}

torch::Tensor MomentObserver::SlowSum::total() const { return symmetric(all_ + recent_); }

MomentObserver::MomentObserver(uint64_t seed, int positions_per_step)
    : seed_(seed), positions_per_step_(positions_per_step) {}

void MomentObserver::see(const ir::Op& convolution, const torch::Tensor& input) {
  Pending pending;
  pending.convolution = &convolution;
  pending.input = input.detach();
  pending.rows = ir::convolution_extent(convolution.conv, static_cast<int>(input.size(2)));
  pending.row_length = ir::convolution_extent(convolution.conv, static_cast<int>(input.size(3)));
  pending.seed = seed_ * 1000003 + seen_++;
  pending_.push_back(std::move(pending));
}

void MomentObserver::see_sum(const ir::Op&, const torch::Tensor& sum) {
  if (sum.requires_grad()) pending_.back().gradient = gradient_of(sum);
}

MomentObserver::Positions MomentObserver::draw(const Pending& pending,
                                               const torch::Tensor& of_pictures,
                                               const at::Generator& generator) const {
  const int64_t area = pending.rows * pending.row_length, all = pending.input.size(0) * area,
                count =
                    (pending.convolution->conv.kernel == 1 ? 2 : 1) * int64_t{positions_per_step_};
  const torch::Tensor& gradient = *pending.gradient;
  if (!gradient.defined()) return {random_indices(all, count, generator), torch::ones({count}), {}};
  const torch::Tensor among = some_indices(all, candidates_of_many * count, generator);
  const torch::Tensor importance =
      with_even_share(pixels_at(gradient, among).square().sum(1) *
                      of_pictures.index_select(0, among.div(area, "floor")));
  const torch::Tensor drawn =
      torch::multinomial(importance, count, /*replacement=*/true, generator);
  return {among.index_select(0, drawn), torch::full({count}, importance.mean().item<double>()),
          importance.index_select(0, drawn)};
}

// [positions][k*k][C]
torch::Tensor MomentObserver::columns_of(const Pending& pending, const torch::Tensor& positions) {
  const ir::Convolution& conv = pending.convolution->conv;
  const int64_t area = pending.rows * pending.row_length;
  const torch::Tensor in_picture = positions.remainder(area);
  const Window window{positions.div(area, "floor"),
                      in_picture.div(pending.row_length, "floor") * conv.stride - conv.padding,
                      in_picture.remainder(pending.row_length) * conv.stride - conv.padding,
                      conv.kernel, conv.dilation};
  torch::Tensor border = torch::zeros({pending.input.size(1)});
  if (!conv.pad_value.empty()) border = torch::tensor(conv.pad_value);
  return columns_at(Pixels(pending.input), window, border);
}

// Drawn by importance, each counts by 1 over it: of gradients, few pixels have nearly all.
void MomentObserver::add_sensitivity(const Pending& pending, const Positions& drawn,
                                     const torch::Tensor& of_pictures, SlowSum& sensitivity) {
  const int64_t area = pending.rows * pending.row_length, all = pending.input.size(0) * area;
  const torch::Tensor rows = pixels_at(*pending.gradient, drawn.at);
  const torch::Tensor counts = of_pictures.index_select(0, drawn.at.div(area, "floor")) *
                               drawn.weight / drawn.importance *
                               (static_cast<double>(all) / static_cast<double>(rows.size(0)));
  sensitivity.add(rows * counts.unsqueeze(1), rows);
}

void MomentObserver::add(const Pending& pending, const torch::Tensor& of_pictures,
                         Sums& sums) const {
  const at::Generator generator = at::detail::createCPUGenerator(pending.seed);
  const Positions drawn = draw(pending, of_pictures, generator);
  const torch::Tensor columns = columns_of(pending, drawn.at);
  const auto accumulate = [](torch::Tensor& sum, const torch::Tensor& term) {
    sum = sum.defined() ? sum.add_(term) : term.to(torch::kDouble);
  };
  if (pending.convolution->conv.depthwise) {
    accumulate(sums.depthwise, channel_moments(columns, drawn.weight));
    // [taps][C] -> [C][taps]
    accumulate(sums.first, torch::tensordot(drawn.weight, columns, {0}, {0}).t());
  } else {
    const torch::Tensor rows = columns.reshape({columns.size(0), -1});
    const torch::Tensor weighted = rows * drawn.weight.unsqueeze(1);
    sums.dense.add(weighted, rows);
    accumulate(sums.first, weighted.sum(0, /*keepdim=*/false, torch::kDouble));
    if (drawn.importance.defined()) add_sensitivity(pending, drawn, of_pictures, sums.sensitivity);
  }
  sums.weight += drawn.weight.sum(torch::kDouble).item<double>();
}

torch::Tensor MomentObserver::picture_weights() const {
  for (const Pending& pending : pending_) {
    if (!pending.gradient->defined()) continue;
    const torch::Tensor energy = pending.gradient->square().sum({1, 2, 3});
    return (energy + 0.01 * energy.mean() + 1e-20).rsqrt();
  }
  return torch::ones({1});  // no matte sees anything: nothing to weigh
}

void MomentObserver::add() {
  std::vector<Sums*> sums;
  sums.reserve(pending_.size());
  for (const Pending& pending : pending_) sums.push_back(&sums_[pending.convolution->name]);
  const torch::Tensor of_pictures = picture_weights();
  const auto work = [](const Pending& pending) {
    const ir::Convolution& conv = pending.convolution->conv;
    return pending.input.size(1) * conv.kernel * conv.kernel;
  };
  std::vector<size_t> order(pending_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return work(pending_[a]) > work(pending_[b]); });
  // A convolution each: within one, threads wait for each other most of the time.
  for_each_job(order.size(),
               [&](size_t i) { add(pending_[order[i]], of_pictures, *sums[order[i]]); });
  pending_.clear();
}

Moments MomentObserver::moments(const ir::Op& convolution) const {
  const auto found = sums_.find(convolution.name);
  if (found == sums_.end())
    throw Error("calibration: convolution " + convolution.name + " was never computed");
  const Sums& sums = found->second;
  const torch::Tensor first = sums.first / sums.weight;
  if (convolution.conv.depthwise) return {sums.depthwise / sums.weight, first};
  const torch::Tensor second = sums.dense.total() / sums.weight;
  // From [tap][channel] to the order of the weights, [channel][tap].
  const int64_t taps = int64_t{convolution.conv.kernel} * convolution.conv.kernel;
  const torch::Tensor order = torch::arange(first.size(0)).reshape({taps, -1}).t().flatten();
  return {second.index_select(0, order).index_select(1, order), first.index_select(0, order),
          sums.sensitivity.empty() ? torch::Tensor() : sums.sensitivity.total()};
}

}  // namespace mattec::quant
