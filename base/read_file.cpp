#include "base/read_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/interrupt.h"

namespace mattec {
namespace {

// Closes what it opened. Opening a pipe does not wait for its writer.
class Descriptor {
 public:
  explicit Descriptor(const std::string& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~Descriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

[[noreturn]] void fail(const std::string& path, int code) {
  throw Error(path + ": cannot be opened: " + std::strerror(code) +
              "; check the path and its permissions");
}

}  // namespace

std::string read_file(const std::string& path, uint64_t most_bytes) {
  const Descriptor file(path);
  struct stat status = {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) fail(path, errno);
  if (!S_ISREG(status.st_mode))
    throw Error(path + ": is " + kind_of(status.st_mode) + ", not a file");
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size > most_bytes)
    throw Error(path + ": has " + std::to_string(size) + " bytes, more than the " +
                std::to_string(most_bytes) + " that such a file can need");
  std::string bytes(size, '\0');
  constexpr uint64_t block = uint64_t{1} << 20;
  uint64_t filled = 0;
  while (filled < size) {
    stop_if_interrupted();
    const ssize_t count = ::read(file.get(), &bytes[filled], std::min(block, size - filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path, errno);
    if (count == 0) break;  // became shorter meanwhile
    filled += static_cast<uint64_t>(count);
  }
  bytes.resize(filled);
  return bytes;
}

}  // namespace mattec
