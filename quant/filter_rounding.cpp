#include "quant/filter_rounding.h"

#include <algorithm>
#include <utility>

#include "quant/nearest.h"

namespace mattec::quant {
namespace {

// Filters of so few inputs that a thorough search costs nothing. Depthwise filters, the stem and
// narrow 1x1s are among them, whose rounding harms the matte most.
constexpr size_t small_filter = 128;

// The integers that weights may be.
struct Range {
  double lowest, highest;
};

// Of a filter that is negated, which at 4 bits may have 8 but not -8.
Range range_of(const RoundingOptions& options, bool negated) {
  if (negated) return {double(-options.highest), double(-options.lowest)};
  return {double(options.lowest), double(options.highest)};
}

// One output's weights in the order of falling variance.
class Filter {
 public:
  Filter(std::vector<double> weight, FilterMoments moments, Range range)
      : weight_(std::move(weight)),
        covariance_(moments.covariance),
        compensation_(moments.compensation),
        range_(range) {}

  // Under each of the scales; together, since the matrices of wide filters come from memory.
  std::vector<RoundedFilter> spread(const std::vector<double>& scales) const {
    const size_t count = weight_.size();
    std::vector<std::vector<double>> rows(scales.size(), weight_);
    std::vector<RoundedFilter> results(scales.size());
    for (RoundedFilter& result : results) result.integer.resize(count);
    for (size_t j = 0; j < count; ++j) {
      const double* factors = compensation_ + j * count;
      for (size_t s = 0; s < scales.size(); ++s) {
        std::vector<double>& row = rows[s];
        const double q = nearest(row[j] / scales[s]);
        results[s].integer[j] = q;
        const double error = (row[j] - q * scales[s]) / factors[j];
        for (size_t i = j + 1; i < count; ++i) row[i] -= error * factors[i];
      }
    }
    for (size_t s = 0; s < scales.size(); ++s) results[s].scale = scales[s];
    measure(results);
    return results;
  }

  // Moves integers to where the error is less: single ones, and pairs of small filters.
  void descend(RoundedFilter& result) const {
    move_single(result);
    if (is_small()) move_pairs(result);
    set_error(result);
  }

  bool is_small() const { return weight_.size() <= small_filter; }

  // Error and slope after the scale or the weight was changed.
  void refit(RoundedFilter& result) const {
    std::vector<RoundedFilter> one = {std::move(result)};
    measure(one);
    result = std::move(one[0]);
  }

  // The scale of least error for the same integers.
  double fitted_scale(const RoundedFilter& result) const {
    const size_t count = weight_.size();
    double weights = 0, integers = 0;
    for (size_t j = 0; j < count; ++j) {
      if (result.integer[j] == 0) continue;
      const double* row = covariance_ + j * count;
      double with_weight = 0, with_integer = 0;
      for (size_t i = 0; i < count; ++i) {
        with_weight += row[i] * weight_[i];
        with_integer += row[i] * result.integer[i];
      }
      weights += result.integer[j] * with_weight;
      integers += result.integer[j] * with_integer;
    }
    return integers > 0 && weights > 0 ? weights / integers : result.scale;
  }

 private:
  // Each integer in turn to the best one given all others, a few times over.
  void move_single(RoundedFilter& result) const {
    const size_t count = weight_.size();
    const double scale = result.scale;
    for (int sweep = 0; sweep < 4; ++sweep) {
      bool moved = false;
      for (size_t j = 0; j < count; ++j) {
        const double q = result.integer[j];
        const double better = nearest(q + result.slope[j] / (covariance_[j * count + j] * scale));
        if (better == q) continue;
        move(result, j, better - q);
        moved = true;
      }
      if (!moved) break;
    }
  }

  // Two integers by one each, while that helps.
  void move_pairs(RoundedFilter& result) const {
    const size_t count = weight_.size();
    bool moved = true;
    for (int sweep = 0; sweep < 8 && moved; ++sweep) {
      moved = false;
      for (size_t j = 0; j < count; ++j)
        for (size_t i = j + 1; i < count; ++i) moved = move_pair(result, i, j) || moved;
    }
  }

  bool move_pair(RoundedFilter& result, size_t i, size_t j) const {
    const size_t count = weight_.size();
    for (const double a : {-1.0, 1.0})
      for (const double b : {-1.0, 1.0}) {
        const double lost = a * a * covariance_[i * count + i] +
                            b * b * covariance_[j * count + j] +
                            2 * a * b * covariance_[i * count + j];
        const double won = 2 * (a * result.slope[i] + b * result.slope[j]);
        if (result.scale * (won - result.scale * lost) <= 1e-9 * result.error) continue;
        const double p = result.integer[i] + a, q = result.integer[j] + b;
        if (p != nearest(p) || q != nearest(q)) continue;
        move(result, i, a);
        move(result, j, b);
        return true;
      }
    return false;
  }

  void move(RoundedFilter& result, size_t j, double by) const {
    result.integer[j] += by;
    const double* row = covariance_ + j * weight_.size();
    for (size_t i = 0; i < weight_.size(); ++i) result.slope[i] -= by * result.scale * row[i];
  }

  double nearest(double value) const {
    return std::clamp(nearest_even(value), range_.lowest, range_.highest);
  }

  void measure(std::vector<RoundedFilter>& results) const {
    const size_t count = weight_.size();
    for (RoundedFilter& result : results) result.slope.assign(count, 0);
    for (size_t j = 0; j < count; ++j) {
      const double* row = covariance_ + j * count;
      for (RoundedFilter& result : results) {
        const double difference = weight_[j] - result.integer[j] * result.scale;
        for (size_t i = 0; i < count; ++i) result.slope[i] += difference * row[i];
      }
    }
    for (RoundedFilter& result : results) set_error(result);
  }

  void set_error(RoundedFilter& result) const {
    result.error = 0;
    for (size_t j = 0; j < weight_.size(); ++j)
      result.error += (weight_[j] - result.integer[j] * result.scale) * result.slope[j];
  }

  std::vector<double> weight_;
  const double* covariance_;
  const double* compensation_;
  Range range_;
};

// Multiples of a filter's scale worth trying, the scale itself first.
std::vector<double> scale_factors(const Filter& filter) {
  if (!filter.is_small()) return {1, 0.8, 0.87, 0.93, 1.07, 1.15};
  std::vector<double> factors = {1};
  factors.reserve(29);
  for (int i = 0; i < 28; ++i) factors.push_back(0.6 + 0.025 * i);
  return factors;
}

RoundedFilter best_rounding(const Filter& filter, double scale, double least, bool search) {
  std::vector<double> scales = search ? scale_factors(filter) : std::vector<double>{1};
  for (double& factor : scales) factor = std::max(least, scale * factor);
  RoundedFilter best;
  for (RoundedFilter& other : filter.spread(scales)) {
    filter.descend(other);
    if (best.integer.empty() || other.error < best.error) best = std::move(other);
  }
  if (!search) return best;
  for (int round = 0; round < 2; ++round) {
    RoundedFilter other = best;
    other.scale = std::max(least, filter.fitted_scale(best));
    filter.refit(other);
    filter.descend(other);
    if (other.error >= best.error) break;
    best = std::move(other);
  }
  return best;
}

}  // namespace

// Both ways round are tried in small filters, since the range has one integer more below zero than
// above: the largest weight goes there, and steps get finer. Held-out squared change of alpha at
// W4A8, first order: 29.2 as it was, 24.0 so, 22.9 with both tried in small filters, 22.2 with both
// tried in all, which doubles the time.
RoundedFilter round_filter(const std::vector<double>& weight, FilterMoments moments, double scale,
                           double least_scale, const RoundingOptions& options) {
  const auto rounded = [&](bool negated) {
    const Filter filter(weight, moments, range_of(options, negated));
    RoundedFilter best = best_rounding(filter, scale, least_scale, options.search_scale);
    best.negated = negated;
    return best;
  };
  if (!options.search_scale || options.lowest == -options.highest) return rounded(false);
  const auto [low, high] = std::minmax_element(weight.begin(), weight.end());
  const bool negated = *high > -*low;
  RoundedFilter best = rounded(negated);
  if (weight.size() > small_filter) return best;
  RoundedFilter other = rounded(!negated);
  return other.error < best.error ? other : best;
}

JointRounding::JointRounding(std::vector<double> ratio,
                             const std::vector<std::vector<double>>& weights, FilterMoments moments,
                             const RoundingOptions& options,
                             const std::vector<RoundedFilter>& rounded)
    : ratio_(std::move(ratio)),
      weights_(weights),
      changes_(weights),
      moments_(moments),
      options_(options) {
  for (size_t o = 0; o < weights.size(); ++o) set_change(o, rounded[o]);
}

void JointRounding::improve(RoundedFilter& best, size_t o, double least_scale) {
  const Filter filter(target(o), moments_, range_of(options_, best.negated));
  const auto keep_better = [&](RoundedFilter other) {
    filter.descend(other);
    other.negated = best.negated;
    if (other.error < best.error) best = std::move(other);
  };
  filter.refit(best);
  keep_better(filter.spread({best.scale})[0]);
  if (options_.search_scale) {
    RoundedFilter other = best;
    other.scale = std::max(least_scale, filter.fitted_scale(best));
    filter.refit(other);
    keep_better(std::move(other));
  }
  set_change(o, best);
}

void JointRounding::set_change(size_t o, const RoundedFilter& rounded) {
  for (size_t j = 0; j < rounded.integer.size(); ++j)
    changes_[o][j] = weights_[o][j] - rounded.integer[j] * rounded.scale;
}

std::vector<double> JointRounding::target(size_t o) const {
  std::vector<double> target = weights_[o];
  const double* ratio = ratio_.data() + o * weights_.size();
  for (size_t p = 0; p < weights_.size(); ++p) {
    if (p == o) continue;
    const double* change = changes_[p].data();
    for (size_t j = 0; j < target.size(); ++j) target[j] += ratio[p] * change[j];
  }
  return target;
}

}  // namespace mattec::quant
