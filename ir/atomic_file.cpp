#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include "ir/error.h"
#include "ir/safetensors.h"

namespace mattec::ir {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& path, int code) {
  std::string remedy = "check the path and its permissions";
  if (code == ENOSPC || code == EDQUOT || code == EFBIG) remedy = "free some space";
  if (code == ENOENT) remedy = "make its folder first";
  throw Error(path + ": cannot write: " + std::strerror(code) + "; " + remedy);
}

// The file behind `path`: through a symbolic link, so that the link stays one. Refuses what a
// rename would destroy (a device, a pipe) or cannot replace (a folder).
fs::path target_of(const std::string& path) {
  std::error_code ignored;
  fs::path target = path;
  if (fs::is_symlink(fs::symlink_status(target, ignored))) {
    const fs::path resolved = fs::weakly_canonical(target, ignored);
    if (!ignored) target = resolved;
  }
  const fs::file_status status = fs::status(target, ignored);
  if (fs::exists(status) && !fs::is_regular_file(status))
    throw Error(path + ": cannot write: it exists and is not a regular file; choose another path");
  return target;
}

// A temporary file in the target's folder that disappears unless it is kept.
class TemporaryFile {
 public:
  explicit TemporaryFile(const fs::path& target) {
    static std::atomic<unsigned> count{0};
    for (int attempt = 0; attempt < 100 && descriptor_ < 0; ++attempt) {
      name_ = target.string() + "." + std::to_string(::getpid()) + "-" + std::to_string(count++) +
              ".tmp";
      descriptor_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (descriptor_ < 0 && errno != EEXIST) break;
    }
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (made_) ::unlink(name_.c_str());
  }

  // Each returns false with errno set.
  bool is_open() {
    made_ = descriptor_ >= 0;
    return made_;
  }
  bool write(const uint8_t* data, size_t size) {
    while (size > 0) {
      const ssize_t written = ::write(descriptor_, data, size);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return false;
      data += written;
      size -= static_cast<size_t>(written);
    }
    return true;
  }
  bool close() {
    const int descriptor = descriptor_;
    descriptor_ = -1;
    return ::close(descriptor) == 0;  // a full disk may show only here
  }
  bool rename_to(const fs::path& target) {
    if (::rename(name_.c_str(), target.c_str()) != 0) return false;
    made_ = false;
    return true;
  }

 private:
  std::string name_;
  int descriptor_ = -1;
  bool made_ = false;
};

}  // namespace

void write_file_atomically(const std::string& path, const void* data, size_t size) {
  const fs::path target = target_of(path);
  TemporaryFile file(target);
  if (!file.is_open() || !file.write(static_cast<const uint8_t*>(data), size) || !file.close() ||
      !file.rename_to(target))
    fail(path, errno);
}

}  // namespace mattec::ir
