// Compiled libraries as engines.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/model.h"
#include "targets/load_library.h"
#include "tools/engine.h"

namespace mattec::tools {

// A library's session with the memory it needs.
class LibrarySession {
 public:
  // Throws Error naming `path` where the library refuses: another version, threads; OtherProcessor.
  LibrarySession(const targets::LoadedLibrary& library, const std::string& path, int threads);
  ~LibrarySession();
  LibrarySession(const LibrarySession&) = delete;
  LibrarySession& operator=(const LibrarySession&) = delete;

  void step(const media::Image& frame, media::Image& alpha, media::Image* foreground);
  void reset();
  ir::Size size() const;

 private:
  struct FreeDeleter {
    void operator()(uint8_t* memory) const;
  };
  targets::LoadedLibrary library_;
  std::string path_;
  std::unique_ptr<uint8_t, FreeDeleter> arena_;
  mattec_session* session_ = nullptr;
};

// The plan behind a library's model: sizes, memory, required CPU features.
const mattec_plan& plan_of(const targets::LoadedLibrary& library);

std::unique_ptr<Model> open_libraries(const std::string& path, const ModelOptions& options);

}  // namespace mattec::tools
