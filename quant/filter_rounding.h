// Rounding of one filter's weights that keeps its output: the loops of gptq_round.
#pragma once

#include <cstddef>
#include <vector>

namespace mattec::quant {

struct RoundingOptions {
  int lowest = -127, highest = 127;
  double damping = 0.01;      // times the mean variance, added to each variance
  bool search_scale = false;  // else `scale` is kept as it is
};

// A filter's integers and the expected squared change of the output.
struct RoundedFilter {
  std::vector<double> integer;
  std::vector<double> slope;  // covariance times (weight - rounded weight)
  double scale = 0, error = 0;
  bool negated = false;  // rounded the other way round: its scale counts as negative
};

// What all filters of a convolution have in common, [K][K], inputs in the order of falling
// variance: the inputs' covariance and the upper triangular U with U'U = its inverse.
struct FilterMoments {
  const double *covariance, *compensation;
};

// Rounds `weight` [K] by itself.
RoundedFilter round_filter(const std::vector<double>& weight, FilterMoments moments, double scale,
                           double least_scale, const RoundingOptions& options);

// Lets filters make up for each other: rounds each again as if its weights were those that undo, as
// far as one filter can, what the rounding of all others does to what was differentiated.
class JointRounding {
 public:
  // `ratio` [O][O]: how much filter o (row) is to take of the change of filter p. `rounded`: what
  // `weights` [O][K] were rounded to. Keeps references to `weights` and `options`.
  JointRounding(std::vector<double> ratio, const std::vector<std::vector<double>>& weights,
                FilterMoments moments, const RoundingOptions& options,
                const std::vector<RoundedFilter>& rounded);
  void improve(RoundedFilter& best, size_t o, double least_scale);

 private:
  void set_change(size_t o, const RoundedFilter& rounded);
  std::vector<double> target(size_t o) const;

  std::vector<double> ratio_;
  const std::vector<std::vector<double>>& weights_;
  std::vector<std::vector<double>> changes_;  // what rounding takes from the weights
  FilterMoments moments_;
  const RoundingOptions& options_;
};

}  // namespace mattec::quant
