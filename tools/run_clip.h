// What `mattec run` does with one clip, for the demo too.
#pragma once

#include <cstdint>
#include <string>

#include "tools/engine.h"
#include "tools/frame_source.h"

namespace mattec::tools {

struct RunReport {
  int64_t frames = 0;
  ir::Size size, network_size;  // of the clip, and what the network worked at
  double rate = 0;              // frames a second of the clip
  double network_seconds = 0;   // in the engine
  double seconds = 0;           // in all
};

// Mattes `input` frame by frame (constant memory): each frame is scaled to the network's size, the
// matte back to the clip's. `output` gets the alpha, or with a `background` (see Background; empty
// = none) the composite. Nothing is left of the output after Error or Interrupted.
RunReport run_clip(const Model& model, const std::string& input, const SourceOptions& source,
                   const std::string& output, const std::string& background);

}  // namespace mattec::tools
