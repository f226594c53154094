// A quantized network beside the float one it was made from, on clips whose exact mattes are known;
// and how scores are shown, here and by `mattec eval`.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "media/truth.h"
#include "quant/metrics.h"
#include "tools/engine.h"

namespace mattec::tools {

struct TruthComparison {
  std::string clip;
  quant::MattingScores with_float, quantized;

  // Quantized over float; not finite where the float network makes no error.
  double mad_ratio() const { return quantized.mad / with_float.mad; }
  double dtssd_ratio() const { return quantized.dtssd / with_float.dtssd; }
};

// Plays every clip through both networks. Shows progress. Throws Error, Interrupted.
std::vector<TruthComparison> compare_on_truth(const Model& with_float, const Model& quantized,
                                              const std::vector<media::TruthClip>& clips);

// A table for people: two lines per clip, the quantized one's (called `bits`) with its ratios to
// the float one's; then the ratios' geometric means.
void print_comparison(const std::vector<TruthComparison>& comparisons, const std::string& bits);

// Of the clips' ratios, each a TruthComparison's.
double geometric_mean(const std::vector<TruthComparison>& comparisons,
                      double (TruthComparison::*ratio)() const);

// Scores without their frames, by the names of docs/evaluation.md.
nlohmann::ordered_json scores_json(const quant::MattingScores& scores);

// Lines of a table for people, whose first column is `width` wide; `more` ends them.
void print_score_headings(size_t width, const std::string& more = "");
void print_score_row(const std::string& name, size_t width, const quant::MattingScores& scores,
                     const std::string& more = "");

}  // namespace mattec::tools
