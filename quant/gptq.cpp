#include "quant/gptq.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

namespace mattec::quant {
namespace {

// Upper triangular U with U^T U = inverse of the covariance. Its row j, divided by U_jj, says how
// the later inputs best make up for a change of weight j.
torch::Tensor compensation(torch::Tensor covariance, double damping) {
  const torch::Tensor variance = covariance.diagonal();
  // The absolute term keeps the matrix invertible where every input is constant.
  const double added = damping * variance.mean().item<double>() + 1e-12;
  covariance = covariance + added * torch::eye(covariance.size(0), torch::kDouble);
  const torch::Tensor inverse = torch::cholesky_inverse(torch::linalg_cholesky(covariance));
  return torch::linalg_cholesky(inverse).t().contiguous();
}

}  // namespace

std::vector<int8_t> gptq_round(const std::vector<float>& weight, const torch::Tensor& covariance,
                               const std::vector<double>& scale, int lowest, int highest,
                               double damping) {
  const auto outputs = static_cast<int64_t>(scale.size());
  const int64_t inputs = covariance.size(0);
  const torch::Tensor order = torch::argsort(covariance.diagonal(), 0, /*descending=*/true);
  const torch::Tensor ordered = covariance.index_select(0, order).index_select(1, order);
  const torch::Tensor upper = compensation(ordered, damping);
  const double* u = upper.data_ptr<double>();
  const int64_t* at = order.data_ptr<int64_t>();
  std::vector<int8_t> rounded(weight.size());
  at::parallel_for(0, outputs, 1, [&](int64_t begin, int64_t end) {
    std::vector<double> row(static_cast<size_t>(inputs));
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t j = 0; j < inputs; ++j) row[j] = weight[o * inputs + at[j]];
      for (int64_t j = 0; j < inputs; ++j) {
        const double q = std::clamp(std::nearbyint(row[j] / scale[o]), static_cast<double>(lowest),
                                    static_cast<double>(highest));
        rounded[o * inputs + at[j]] = static_cast<int8_t>(q);
        const double* factors = u + j * inputs;
        const double error = (row[j] - q * scale[o]) / factors[j];
        for (int64_t i = j + 1; i < inputs; ++i) row[i] -= error * factors[i];
      }
    }
  });
  return rounded;
}

}  // namespace mattec::quant
