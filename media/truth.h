// Clips whose exact mattes are known: recorded ones, and ones composed on the fly from foregrounds
// and backgrounds. docs/evaluation.md describes the folders and the protocol.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "media/image.h"

namespace mattec::media {

// Holds one frame at a time, however long the clip.
class TruthSource {
 public:
  virtual ~TruthSource() = default;
  // The next frame (3 channels) and its exact matte (1 channel); false after the last one.
  // Throws Error, naming the file, and Interrupted.
  virtual bool next(Image& frame, Image& alpha) = 0;
};

struct TruthClip {
  std::string name;
  ir::Size size;                  // of its files
  std::optional<int64_t> frames;  // as far as known; a video's header may be wrong
  bool takes_any_shape = false;   // open() distorts nothing, whatever the size
  // From the first frame, scaled to a size; as often as wanted, the same pixels each time.
  std::function<std::unique_ptr<TruthSource>(ir::Size)> open;
};

struct TruthOptions {
  std::string backgrounds;     // folder of images, videos and folders of frames; empty: none
  std::optional<int> clips;    // to compose; default: one of each foreground
  std::optional<int> frames;   // at most, of each clip; default: recorded all, composed 100
  std::optional<bool> motion;  // of foregrounds; default: of still ones only
  uint64_t seed = 0;           // of everything random in composed clips
};

// The clips behind the paths. Each path is
// - a recorded clip: a folder with the frames in src/ (or com/) and the mattes in pha/;
// - foregrounds: a folder with fgr/ and pha/, whose entries (folders of frames, videos, or single
//   images) belong together by name;
// - a folder of such, up to three levels down.
// Recorded clips come first, then those composed from all foregrounds. Opens every file or folder
// once, so that what is missing, unreadable or of unequal size or length shows before long work.
// Throws Error, Interrupted.
std::vector<TruthClip> find_truth(const std::vector<std::string>& paths,
                                  const TruthOptions& options);

// The recorded clip at `path`. Throws Error where it is none.
TruthClip recorded_clip(const std::string& path, std::optional<int> frames = {});

}  // namespace mattec::media
