// Clips as calibration takes them: decoded, at the network's size.
#pragma once

#include <string>
#include <vector>

#include "ir/sizes.h"
#include "media/truth.h"
#include "quant/frames.h"

namespace mattec::tools {

// The clips behind the paths, in order. A path is a video, a folder of images, a folder whose src/
// is one, or a folder of such (its entries in natural order). Throws Error where there are none.
std::vector<std::string> find_clips(const std::vector<std::string>& paths);

// `frames` consecutive frames of a clip, from its 20th on (the first ones of a recording are often
// black or blurred), or from earlier in a short one. Each is scaled to cover `size` (portrait
// clips: `size` with width and height exchanged) and cut in the middle. Throws Error, Interrupted.
quant::Clip load_calibration_clip(const std::string& path, ir::Size size, int frames);

// The first `frames` frames of a clip with their exact mattes, scaled and cut likewise. Throws
// Error, Interrupted.
quant::Clip load_truth_clip(const media::TruthClip& clip, ir::Size size, int frames);

}  // namespace mattec::tools
