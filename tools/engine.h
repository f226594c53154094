// One way to matte a frame, whatever the network is stored as.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ir/sizes.h"
#include "media/image.h"

namespace mattec::tools {

// A network in the middle of a clip: recurrent states are carried from frame to frame.
class Engine {
 public:
  virtual ~Engine() = default;
  // `frame`: 3 channels, of the size the engine was started for. Fills `alpha` (1 channel) and,
  // unless null, `foreground` (3 channels: the subject's own colours). Throws Error.
  virtual void step(const media::Image& frame, media::Image& alpha, media::Image* foreground) = 0;
  // States as before the first frame.
  virtual void reset() = 0;
};

class Model {
 public:
  virtual ~Model() = default;
  // The size at which a clip of size `clip` is matted: the compiled one, else the wanted one, else
  // the clip's own.
  virtual ir::Size size_for(ir::Size clip) const = 0;
  // Without one step() gives the frame's own colours.
  virtual bool has_foreground() const = 0;
  // A new clip: states empty. Throws Error where the network cannot take this size.
  virtual std::unique_ptr<Engine> start(ir::Size size) const = 0;
};

struct ModelOptions {
  std::optional<ir::Size> size;  // of models that are not compiled
  double downsample_ratio = 1;   // of float models
  int threads = 1;
};

// `path`: a .mattec file (integer interpreter, bit-exact and slow), a float network (.torchscript,
// .pt, .pth, .safetensors), a compiled library (.a), or a folder of compiled libraries, of which
// the one that asks most of this processor and gets it is taken. Throws Error.
std::unique_ptr<Model> open_model(const std::string& path, const ModelOptions& options);

// The compiled libraries that a path names: itself (.a), or lib*.a in the folder or in its
// immediate subfolders, sorted. Throws Error if there are none.
std::vector<std::string> libraries_at(const std::string& path);

// True where open_model takes the path for compiled libraries.
bool names_libraries(const std::string& path);

}  // namespace mattec::tools
