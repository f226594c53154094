#include "tools/library_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/note.h"
#include "media/frame_source.h"
#include "tools/manifest.h"

namespace mattec::tools {
namespace fs = std::filesystem;
namespace {

bool is_library_name(const fs::path& path) {
  return path.extension() == ".a" && path.filename().string().compare(0, 3, "lib") == 0;
}

void add_libraries(const fs::path& folder, std::vector<std::string>& found) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error))
    if (is_library_name(entry->path())) found.push_back(entry->path().string());
  if (error) throw Error(fmt::format("{}: cannot be listed: {}", folder.string(), error.message()));
}

class LibraryEngine : public Engine {
 public:
  LibraryEngine(const targets::LoadedLibrary& library, const std::string& path, int threads)
      : session_(library, path, threads) {}
  void step(const media::Image& frame, media::Image& alpha, media::Image* foreground) override {
    session_.step(frame, alpha, foreground);
  }
  void reset() override { session_.reset(); }

 private:
  LibrarySession session_;
};

class LibraryModel : public Model {
 public:
  LibraryModel(targets::LoadedLibrary library, std::string path, int threads)
      : library_(std::move(library)), path_(std::move(path)), threads_(threads) {}

  ir::Size size_for(ir::Size) const override {
    const mattec_plan& plan = plan_of(library_);
    return {static_cast<int>(plan.height), static_cast<int>(plan.width)};
  }
  bool has_foreground() const override { return plan_of(library_).foreground.pixel_bytes != 0; }
  std::unique_ptr<Engine> start(ir::Size) const override {
    return std::make_unique<LibraryEngine>(library_, path_, threads_);
  }

 private:
  targets::LoadedLibrary library_;
  std::string path_;
  int threads_;
};

void require_one_network(const std::string& path, const std::vector<std::string>& libraries) {
  const std::string first = fs::path(libraries.front()).filename().string();
  for (const std::string& library : libraries)
    if (fs::path(library).filename() != first)
      throw Error(fmt::format("{}: holds several networks ({} and {}); name one library", path,
                              libraries.front(), library));
}

}  // namespace

const mattec_plan& plan_of(const targets::LoadedLibrary& library) {
  return *reinterpret_cast<const mattec_plan*>(library.model());  // model.h: its first member
}

void LibrarySession::FreeDeleter::operator()(uint8_t* memory) const { std::free(memory); }

LibrarySession::LibrarySession(const targets::LoadedLibrary& library, const std::string& path,
                               int threads)
    : library_(library), path_(path) {
  const mattec_plan& plan = plan_of(library_);
  if (plan.abi_version != MATTEC_ABI_VERSION)
    throw Error(path + ": was compiled by another mattec version; compile it again");
  const auto alignment = static_cast<size_t>(plan.arena_alignment);
  const auto bytes =
      static_cast<size_t>(plan.arena_bytes + (std::max(threads, 1) - 1) * plan.scratch_bytes);
  arena_.reset(static_cast<uint8_t*>(
      std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)));
  if (!arena_) throw Error(fmt::format("{}: needs {} bytes of memory", path, bytes));
  mattec_options options = {};
  options.threads = threads;
  const mattec_status status =
      mattec_init(library_.model(), arena_.get(), bytes, &options, &session_);
  if (status == MATTEC_OK) return;
  const std::string problem = fmt::format("{}: {}", path, mattec_message(library_.model(), status));
  if (status == MATTEC_ERROR_UNSUPPORTED_CPU) throw targets::OtherProcessor(problem);
  throw Error(problem);
}

LibrarySession::~LibrarySession() { mattec_close(session_); }

void LibrarySession::reset() { mattec_reset(session_); }

ir::Size LibrarySession::size() const {
  const mattec_plan& plan = plan_of(library_);
  return {static_cast<int>(plan.height), static_cast<int>(plan.width)};
}

void LibrarySession::step(const media::Image& frame, media::Image& alpha,
                          media::Image* foreground) {
  const auto image_of = [](const media::Image& image, mattec_format format) {
    return mattec_image{const_cast<uint8_t*>(image.pixels.data()), image.size.width,
                        image.size.height,
                        static_cast<ptrdiff_t>(image.size.width) * image.channels, format};
  };
  alpha.reset(frame.size, 1);
  mattec_outputs outputs = {};
  outputs.alpha = image_of(alpha, MATTEC_GRAY);
  if (foreground != nullptr) {
    foreground->reset(frame.size, 3);
    outputs.foreground = image_of(*foreground, MATTEC_RGB);
  }
  const mattec_image input = image_of(frame, MATTEC_RGB);
  const mattec_status status = mattec_step(session_, &input, nullptr, &outputs);
  if (status != MATTEC_OK)
    throw Error(fmt::format("{}: {}", path_, mattec_message(library_.model(), status)));
}

bool names_libraries(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error) || fs::path(path).extension() == ".a";
}

std::vector<std::string> libraries_at(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) throw Error(path + ": no such file or folder");
  if (!fs::is_directory(path, error)) return {path};
  std::vector<std::string> found;
  add_libraries(path, found);
  for (fs::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error))
    if (entry->is_directory(error)) add_libraries(entry->path(), found);
  if (found.empty())
    throw Error(path +
                ": holds no compiled library (lib*.a here or one folder below); make one "
                "with mattec compile");
  std::sort(found.begin(), found.end());
  return found;
}

std::unique_ptr<Model> open_libraries(const std::string& path, const ModelOptions& options) {
  if (options.size || options.downsample_ratio != 1)
    throw UsageError(path +
                     ": is compiled for one size and ratio; leave out --size and "
                     "--downsample-ratio, or name the model it was compiled from");
  const std::vector<std::string> libraries = libraries_at(path);
  require_one_network(path, libraries);
  std::unique_ptr<Model> best;
  int64_t best_features = -1;
  std::vector<std::string> foreign, bad;
  for (const std::string& file : libraries) {
    try {
      const targets::LoadedLibrary library = targets::LoadedLibrary::load(file);
      read_manifest(file, library.checksum());                     // throws if they do not match
      const LibrarySession trial(library, file, options.threads);  // throws if it is refused
      const int64_t features = plan_of(library).cpu_features;
      if (features <= best_features) continue;
      best_features = features;
      best = std::make_unique<LibraryModel>(library, file, options.threads);
    } catch (const targets::OtherProcessor& error) {
      foreign.emplace_back(error.what());
    } catch (const Error& error) {
      bad.emplace_back(error.what());
    }
  }
  if (!best) {
    bad.insert(bad.end(), foreign.begin(), foreign.end());
    throw Error(fmt::format("{}", fmt::join(bad, "; ")));
  }
  for (const std::string& problem : bad) note(problem + "; another library is used instead");
  return best;
}

}  // namespace mattec::tools
