#include "media/truth.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "media/composed_clip.h"
#include "media/frame_source.h"
#include "media/matte_pair.h"
#include "media/scale.h"

namespace mattec::media {
namespace {

namespace fs = std::filesystem;

bool has_folder(const fs::path& folder, const char* name) {
  std::error_code error;
  return fs::is_directory(folder / name, error);
}

class RecordedSource : public TruthSource {
 public:
  RecordedSource(const std::string& frames, const std::string& mattes, std::optional<int> limit,
                 ir::Size size)
      : pair_(frames, mattes), left_(limit), size_(size) {}

  bool next(Image& frame, Image& alpha) override {
    if (left_ && (*left_)-- == 0) return false;
    if (!pair_.next(color_, matte_)) return false;
    scale(color_, size_, frame);
    scale(matte_, size_, alpha);
    return true;
  }

 private:
  MattePair pair_;
  std::optional<int> left_;
  ir::Size size_;
  Image color_, matte_;
};

// ".../dancer/" -> "dancer"
std::string name_of(const std::string& path) {
  fs::path normal = fs::path(path).lexically_normal();
  if (!normal.has_filename()) normal = normal.parent_path();
  return normal.filename().string();
}

std::vector<std::string> folders_in(const fs::path& folder) {
  std::vector<std::string> folders;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const bool hidden = entry->path().filename().string()[0] == '.';
    if (!hidden && fs::is_directory(entry->path())) folders.push_back(entry->path().string());
  }
  if (error) throw Error(folder.string() + ": cannot be listed: " + error.message());
  std::sort(folders.begin(), folders.end(), natural_less);
  return folders;
}

// What a search through folders has found.
struct Found {
  std::optional<int> frames;  // of recorded clips, at most
  std::vector<TruthClip> recorded;
  std::vector<Foreground> foregrounds;

  // `name`: of a recorded clip at `path`. `levels`: how far down to look. False for nothing.
  bool search(const std::string& path, const std::string& name, int levels) {
    if (has_folder(path, "src") || has_folder(path, "com")) {
      recorded.push_back(recorded_clip(path, frames));
      recorded.back().name = name;
      return true;
    }
    if (has_folder(path, "fgr") || has_folder(path, "pha")) {
      const std::vector<Foreground> more = foregrounds_in(path);
      foregrounds.insert(foregrounds.end(), more.begin(), more.end());
      return true;
    }
    if (has_folder(path, "train") && has_folder(path, "test"))
      throw Error(path + ": holds clips to train on and to test with; name its folder test");
    bool any = false;
    if (levels > 0)
      for (const std::string& folder : folders_in(path))
        any |= search(folder, name.empty() ? name_of(folder) : name + "/" + name_of(folder),
                      levels - 1);
    return any;
  }
};

}  // namespace

TruthClip recorded_clip(const std::string& path, std::optional<int> frames) {
  const std::string colors = (fs::path(path) / (has_folder(path, "src") ? "src" : "com")).string();
  const std::string mattes = (fs::path(path) / "pha").string();
  for (const std::string& part : {colors, mattes})
    if (!fs::is_directory(part))
      throw Error(path + ": has no folder " + (part == mattes ? "pha" : "src") +
                  "; a clip to evaluate holds its frames in src and their exact mattes in pha");
  const MattePair pair(colors, mattes);
  std::optional<int64_t> count = pair.expected_frames();
  if (frames && count) count = std::min<int64_t>(*count, *frames);
  return {name_of(path), pair.size(), count, false, [colors, mattes, frames](ir::Size size) {
            return std::make_unique<RecordedSource>(colors, mattes, frames, size);
          }};
}

std::vector<TruthClip> find_truth(const std::vector<std::string>& paths,
                                  const TruthOptions& options) {
  Found found;
  found.frames = options.frames;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::is_directory(path, error)) throw Error(path + ": no such folder");
    const bool is_clip = has_folder(path, "src") || has_folder(path, "com");
    if (!found.search(path, is_clip ? name_of(path) : "", 3))
      throw Error(path +
                  ": has no folder src; a clip to evaluate holds its frames in src and their exact "
                  "mattes in pha (or foregrounds in fgr), and a folder of such clips nothing else");
  }
  if (found.foregrounds.empty() && !options.backgrounds.empty())
    throw Error(options.backgrounds +
                ": no clip needs a background; those that do have folders fgr and pha");
  if (!found.foregrounds.empty() && options.backgrounds.empty())
    throw Error(found.foregrounds.front().colors +
                ": is a foreground; name a folder of images or videos with --backgrounds");
  std::vector<TruthClip> clips = std::move(found.recorded);
  if (found.foregrounds.empty()) return clips;
  for (TruthClip& clip : compose_clips(found.foregrounds, options))
    clips.push_back(std::move(clip));
  return clips;
}

}  // namespace mattec::media
