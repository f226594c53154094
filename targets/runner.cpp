// The runner inside this process, and the choice between the two.
#include "targets/runner.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "runtime/model.h"
#include "targets/emulated_runner.h"
#include "targets/load_library.h"

namespace mattec::targets {
namespace {

constexpr int noise = 0xAB;

// Bytes that end at a page which nobody may touch.
class GuardedMemory {
 public:
  explicit GuardedMemory(size_t bytes) {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const size_t usable = (bytes + page - 1) / page * page;
    mapped_bytes_ = usable + page;
    mapped_ =
        ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped_ == MAP_FAILED) throw Error("no memory for the arena");
    ::mprotect(static_cast<uint8_t*>(mapped_) + usable, page, PROT_NONE);
    data_ = static_cast<uint8_t*>(mapped_) + usable - bytes;
    std::memset(data_, noise, bytes);
  }
  ~GuardedMemory() { ::munmap(mapped_, mapped_bytes_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  uint8_t* data() const { return data_; }

 private:
  void* mapped_ = nullptr;
  size_t mapped_bytes_ = 0;
  uint8_t* data_ = nullptr;
};

const mattec_plan& plan_of(const LoadedLibrary& library) {
  return *reinterpret_cast<const mattec_plan*>(library.model());
}

size_t arena_bytes(const mattec_plan& plan, int threads) {
  return static_cast<size_t>(plan.arena_bytes + (threads - 1) * plan.scratch_bytes);
}

class SessionHere : public RunningSession {
 public:
  SessionHere(LoadedLibrary library, int threads)
      : library_(std::move(library)), arena_(arena_bytes(plan_of(library_), threads)) {
    mattec_options options = {};
    options.threads = threads;
    const mattec_status status =
        mattec_init(library_.model(), arena_.data(), arena_bytes(plan_of(library_), threads),
                    &options, &session_);
    if (status != MATTEC_OK) throw Error(mattec_message(library_.model(), status));
  }
  ~SessionHere() override { mattec_close(session_); }

  mattec_status step(const std::vector<uint8_t>& rgb, std::vector<uint8_t>* alpha,
                     std::vector<uint8_t>* foreground) override {
    const auto width = static_cast<int32_t>(plan_of(library_).width);
    const auto height = static_cast<int32_t>(plan_of(library_).height);
    const auto image = [&](std::vector<uint8_t>* pixels, int bytes, mattec_format format) {
      if (pixels == nullptr) return mattec_image{};
      pixels->assign(static_cast<size_t>(height) * width * bytes, noise);
      return mattec_image{pixels->data(), width, height, ptrdiff_t{width} * bytes, format};
    };
    const mattec_image frame = {const_cast<uint8_t*>(rgb.data()), width, height,
                                ptrdiff_t{width} * 3, MATTEC_RGB};
    const mattec_outputs outputs = {image(alpha, 1, MATTEC_GRAY), image(foreground, 3, MATTEC_RGB)};
    return mattec_step(session_, &frame, nullptr, &outputs);
  }
  void reset() override { mattec_reset(session_); }
  const uint8_t* tensors() override { return arena_.data() + plan_of(library_).tensors_offset; }

 private:
  LoadedLibrary library_;
  GuardedMemory arena_;
  mattec_session* session_ = nullptr;
};

class RunnerHere : public Runner {
 public:
  RunnerHere(const CompiledLibrary& library, const std::string& name)
      : library_(load(library, name)) {}
  std::unique_ptr<RunningSession> open(int threads) override {
    return std::make_unique<SessionHere>(library_, threads);
  }

 private:
  static LoadedLibrary load(const CompiledLibrary& library, const std::string& name) {
    const std::filesystem::path path =
        std::filesystem::temp_directory_path() / (name + std::to_string(::getpid()) + ".a");
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(library.archive.data()),
               static_cast<std::streamsize>(library.archive.size()));
    LoadedLibrary loaded = LoadedLibrary::load(path.string());
    std::filesystem::remove(path);
    return loaded;
  }

  LoadedLibrary library_;
};

}  // namespace

bool can_run(const Target& target) { return host_runs(target) || !target.emulated_cpu.empty(); }

std::unique_ptr<Runner> run_library(const CompiledLibrary& library, const std::string& name,
                                    const std::string& cpu) {
  const Target& target = find_target(library.target);
  if (cpu.empty() && host_runs(target)) return std::make_unique<RunnerHere>(library, name);
  if (!can_run(target)) throw Error("this processor does not run " + target.name);
  return emulate_library(library, name, cpu.empty() ? target.emulated_cpu : cpu);
}

}  // namespace mattec::targets
