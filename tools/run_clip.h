// What `mattec run` does with one clip, for the demo too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "media/frame_source.h"
#include "tools/engine.h"

namespace mattec::tools {

enum class OutputKind {
  alpha,       // 1 channel
  foreground,  // the subject's own colours, everywhere
  composite,   // over a background
  rgba         // the subject's colours and alpha, not multiplied
};

struct RunOptions {
  std::string input, output;
  media::SourceOptions source;
  OutputKind kind = OutputKind::alpha;
  std::string background;      // of a composite: see media::Background
  std::string codec;           // see media::SinkOptions
  std::optional<int> quality;  // likewise
  bool stills = false;         // every frame begins a new clip; images may differ in size
  bool reset_at_cuts = true;   // where the film cuts to another scene, the network starts anew
};

struct RunReport {
  int64_t frames = 0;
  int64_t cuts = 0;             // where the network started anew
  ir::Size size, network_size;  // of the (first) frame, and what the network worked at
  media::Rational rate;         // frames a second of the clip
  double network_seconds = 0;   // in the engine
  double seconds = 0;           // in all
};

// Mattes the input frame by frame (constant memory), reading and writing in threads of their own.
// Each frame is scaled without distortion to the network's size, what is missing there repeats its
// edge; the matte is scaled back to the clip's size. A live input ends with SIGINT or SIGTERM, and
// its output is complete. Nothing is left of the output after Error or Interrupted.
RunReport run_clip(const Model& model, const RunOptions& options);

}  // namespace mattec::tools
