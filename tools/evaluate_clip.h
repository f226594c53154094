// What `mattec eval` does with one clip, for quantize and the demo too.
#pragma once

#include <string>
#include <vector>

#include "media/truth.h"
#include "quant/metrics.h"
#include "tools/engine.h"

namespace mattec::tools {

// Plays the clip at the size the model mattes at. States start empty. Throws Error, Interrupted.
quant::MattingScores evaluate_clip(const Model& model, const media::TruthClip& clip);
// The recorded clip at a path.
quant::MattingScores evaluate_clip(const Model& model, const std::string& clip);

// A table for people: a line per clip, and their mean.
void print_scores(const std::vector<std::string>& names,
                  const std::vector<quant::MattingScores>& scores);

}  // namespace mattec::tools
