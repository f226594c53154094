#include "quant/gptq.h"

#include <ATen/Parallel.h>

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

// A covariance in gptq_round's order, and where its rows were before.
struct Ordered {
  torch::Tensor order, covariance;
};

Ordered ordered_by_variance(const torch::Tensor& covariance, double damping) {
  const torch::Tensor order = torch::argsort(covariance.diagonal(), 0, /*descending=*/true);
  return {order, damped(covariance.index_select(0, order).index_select(1, order), damping)};
}

// How much of the change of filter p (column) filter o (row) is to take. Off the diagonal a tenth
// less and on it a hundredth of the mean more: the moments are estimates, and a filter that the
// matte hardly sees must not be bent for the others.
std::vector<double> shares(const torch::Tensor& sensitivity) {
  const torch::Tensor diagonal = sensitivity.diagonal();
  const torch::Tensor least = 0.01 * diagonal.mean() + 1e-30;
  const torch::Tensor ratio = (0.9 * sensitivity / (diagonal + least).unsqueeze(1)).contiguous();
  return {ratio.data_ptr<double>(), ratio.data_ptr<double>() + ratio.numel()};
}

}  // namespace

torch::Tensor denoising_weights(const torch::Tensor& weight, const torch::Tensor& covariance,
                                const torch::Tensor& noise, double damping) {
  // Moments summed up in float from few positions may lack more than the damping.
  for (int attempt = 0; attempt < 4; ++attempt, damping *= 10) {
    const torch::Tensor exact = damped(covariance, damping);
    const auto [factor, failed] = torch::linalg_cholesky_ex(exact + torch::diag(noise));
    if (failed.item<int>() == 0)
      return torch::cholesky_solve(torch::mm(exact, weight.t()), factor).t().contiguous();
  }
  return weight;
}

torch::Tensor conditional_variances(const torch::Tensor& covariance, double damping) {
  const auto [order, ordered] = ordered_by_variance(covariance, damping);
  torch::Tensor variances = torch::empty_like(ordered.diagonal());
  variances.index_put_({order}, 1 / compensation(ordered).diagonal().square());
  return variances;
}

RoundedWeights gptq_round(const std::vector<float>& weight, const torch::Tensor& covariance,
                          const torch::Tensor& sensitivity, const std::vector<double>& scale,
                          const std::vector<double>& least_scale, const RoundingOptions& options) {
  const size_t outputs = scale.size();
  const auto inputs = static_cast<size_t>(covariance.size(0));
  const auto [order, ordered] = ordered_by_variance(covariance, options.damping);
  const torch::Tensor upper = compensation(ordered);
  const int64_t* at = order.data_ptr<int64_t>();
  std::vector<std::vector<double>> rows(outputs, std::vector<double>(inputs));
  for (size_t o = 0; o < outputs; ++o)
    for (size_t j = 0; j < inputs; ++j)
      rows[o][j] = weight[o * inputs + static_cast<size_t>(at[j])];
  const FilterMoments moments{ordered.data_ptr<double>(), upper.data_ptr<double>()};
  std::vector<RoundedFilter> best(outputs);
  at::parallel_for(0, static_cast<int64_t>(outputs), 1, [&](int64_t begin, int64_t end) {
    for (auto o = static_cast<size_t>(begin); o < static_cast<size_t>(end); ++o)
      best[o] = round_filter(rows[o], moments, scale[o], least_scale[o], options);
  });
  if (sensitivity.defined() && options.search_scale) {
    JointRounding joint(shares(sensitivity), rows, moments, options, best);
    for (int sweep = 0; sweep < 3; ++sweep)
      for (size_t o = 0; o < outputs; ++o) joint.improve(best[o], o, least_scale[o]);
  }
  RoundedWeights rounded{std::vector<int8_t>(weight.size()), scale};
  for (size_t o = 0; o < outputs; ++o) {
    const int sign = best[o].negated ? -1 : 1;
    for (size_t j = 0; j < inputs; ++j)
      rounded.integer[o * inputs + static_cast<size_t>(at[j])] =
          static_cast<int8_t>(sign * best[o].integer[j]);
    rounded.scale[o] = sign * best[o].scale;
  }
  return rounded;
}

}  // namespace mattec::quant
