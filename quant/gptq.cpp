#include "quant/gptq.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace mattec::quant {
namespace {

torch::Tensor damped(const torch::Tensor& covariance, double damping) {
  // The absolute term keeps the matrix invertible where every input is constant.
  const double added = damping * covariance.diagonal().mean().item<double>() + 1e-12;
  return (covariance + added * torch::eye(covariance.size(0), torch::kDouble)).contiguous();
}

// Upper triangular U with U^T U = inverse of the covariance. Its row j, divided by U_jj, says how
// the later inputs best make up for a change of weight j.
torch::Tensor compensation(const torch::Tensor& covariance) {
  const torch::Tensor inverse = torch::cholesky_inverse(torch::linalg_cholesky(covariance));
  return torch::linalg_cholesky(inverse).t().contiguous();
}

// One output's weights in the order of falling variance.
class Filter {
 public:
  Filter(std::vector<double> weight, const double* covariance, const double* compensation,
         const RoundingOptions& options)
      : weight_(std::move(weight)),
        covariance_(covariance),
        compensation_(compensation),
        options_(options) {}

  // Integers and the expected squared change of the output.
  struct Rounded {
    std::vector<double> integer;
    std::vector<double> slope;  // covariance times (weight - rounded weight)
    double scale = 0, error = 0;
  };

  Rounded spread(double scale) const {
    const size_t count = weight_.size();
    std::vector<double> row = weight_;
    Rounded result;
    result.integer.resize(count);
    for (size_t j = 0; j < count; ++j) {
      const double q = nearest(row[j] / scale);
      result.integer[j] = q;
      const double* factors = compensation_ + j * count;
      const double error = (row[j] - q * scale) / factors[j];
      for (size_t i = j + 1; i < count; ++i) row[i] -= error * factors[i];
    }
    measure(result, scale);
    return result;
  }

  // Moves single integers to where the error is least given all others, a few times over.
  void descend(Rounded& result) const {
    const size_t count = weight_.size();
    const double scale = result.scale;
    for (int sweep = 0; sweep < 4; ++sweep) {
      bool moved = false;
      for (size_t j = 0; j < count; ++j) {
        const double* row = covariance_ + j * count;
        const double q = result.integer[j],
                     better = nearest(q + result.slope[j] / (row[j] * scale));
        if (better == q) continue;
        const double step = (better - q) * scale;
        result.integer[j] = better;
        for (size_t i = 0; i < count; ++i) result.slope[i] -= step * row[i];
        moved = true;
      }
      if (!moved) break;
    }
    measure(result, scale);
  }

  // Error and slope after the scale was changed.
  void refit(Rounded& result) const { measure(result, result.scale); }

  // The scale of least error for the same integers.
  double fitted_scale(const Rounded& result) const {
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
  double nearest(double value) const {
    return std::clamp(std::nearbyint(value), double(options_.lowest), double(options_.highest));
  }

  void measure(Rounded& result, double scale) const {
    const size_t count = weight_.size();
    result.scale = scale;
    result.slope.assign(count, 0);
    for (size_t j = 0; j < count; ++j) {
      const double difference = weight_[j] - result.integer[j] * scale;
      const double* row = covariance_ + j * count;
      for (size_t i = 0; i < count; ++i) result.slope[i] += difference * row[i];
    }
    result.error = 0;
    for (size_t j = 0; j < count; ++j)
      result.error += (weight_[j] - result.integer[j] * scale) * result.slope[j];
  }

  std::vector<double> weight_;
  const double* covariance_;
  const double* compensation_;
  const RoundingOptions& options_;
};

Filter::Rounded best_rounding(const Filter& filter, double scale, double least, bool search) {
  Filter::Rounded best = filter.spread(scale);
  if (search)
    for (const double factor : {0.8, 0.87, 0.93, 1.07, 1.15}) {
      const Filter::Rounded other = filter.spread(std::max(least, scale * factor));
      if (other.error < best.error) best = other;
    }
  filter.descend(best);
  if (!search) return best;
  for (int round = 0; round < 2; ++round) {
    Filter::Rounded other = best;
    other.scale = std::max(least, filter.fitted_scale(best));
    filter.refit(other);
    filter.descend(other);
    if (other.error >= best.error) break;
    best = other;
  }
  return best;
}

}  // namespace

RoundedWeights gptq_round(const std::vector<float>& weight, const torch::Tensor& covariance,
                          const std::vector<double>& scale, const std::vector<double>& least_scale,
                          const RoundingOptions& options) {
  const auto outputs = static_cast<int64_t>(scale.size());
  const int64_t inputs = covariance.size(0);
  const torch::Tensor order = torch::argsort(covariance.diagonal(), 0, /*descending=*/true);
  const torch::Tensor ordered =
      damped(covariance.index_select(0, order).index_select(1, order), options.damping);
  const torch::Tensor upper = compensation(ordered);
  const double *c = ordered.data_ptr<double>(), *u = upper.data_ptr<double>();
  const int64_t* at = order.data_ptr<int64_t>();
  RoundedWeights rounded{std::vector<int8_t>(weight.size()), scale};
  at::parallel_for(0, outputs, 1, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      std::vector<double> row(static_cast<size_t>(inputs));
      for (int64_t j = 0; j < inputs; ++j) row[j] = weight[o * inputs + at[j]];
      const Filter filter(std::move(row), c, u, options);
      const Filter::Rounded best =
          best_rounding(filter, scale[o], least_scale[o], options.search_scale);
      for (int64_t j = 0; j < inputs; ++j)
        rounded.integer[o * inputs + at[j]] = static_cast<int8_t>(best.integer[j]);
      rounded.scale[o] = best.scale;
    }
  });
  return rounded;
}

}  // namespace mattec::quant
