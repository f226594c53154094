// Clips composed on the fly from foregrounds with exact mattes and backgrounds, for find_truth.
#pragma once

#include <string>
#include <vector>

#include "media/truth.h"

namespace mattec::media {

struct Foreground {
  std::string name;
  std::string colors, mattes;  // both a folder of frames, a video or a single image
};

// The foregrounds of a folder with fgr/ and pha/, in natural order of their names.
// Throws Error where a folder is missing or empty, or an entry has no partner.
std::vector<Foreground> foregrounds_in(const std::string& folder);

// Clip i shows foreground i mod count, mirrored on every second round, before the next of the
// shuffled backgrounds: `frames` consecutive frames from a random one on. A still one may move.
// All of a clip follows from the seed and its index. Throws Error where a file is unreadable.
std::vector<TruthClip> compose_clips(const std::vector<Foreground>& foregrounds,
                                     const TruthOptions& options);

}  // namespace mattec::media
