#include "targets/emulated_runner.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

#include "base/error.h"
#include "runtime/model.h"
#include "targets/library_files.h"

extern "C" char** environ;

namespace mattec::targets {
namespace {

namespace fs = std::filesystem;

constexpr char compiler[] = "aarch64-linux-gnu-gcc", emulator[] = "qemu-aarch64";

// Commands on standard input, answers on standard output: 's', a byte of wanted outputs (1: alpha,
// 2: foreground) and a frame -> status, alpha, foreground; 'r' -> status; 't' -> tensors. Before
// the first one: the status of mattec_init.
const char program[] = R"(
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PIXELS = LIBRARY_WIDTH * LIBRARY_HEIGHT };
static uint8_t frame_pixels[PIXELS * 3], alpha_pixels[PIXELS], foreground_pixels[PIXELS * 3];

static void get(void* to, size_t bytes) { if (fread(to, 1, bytes, stdin) != bytes) exit(0); }
static void put(const void* from, size_t bytes) { fwrite(from, 1, bytes, stdout); }
static void put_status(mattec_status status) { uint8_t byte = (uint8_t)status; put(&byte, 1); }

/* Firmware brings its own: here the last task first. */
static void in_reverse(void* user, int32_t count, mattec_task task, void* context) {
  (void)user;
  while (count-- > 0) task(context, count);
}

int main(int argc, char** argv) {
  const int threads = argc > 1 ? atoi(argv[1]) : 1;
  const size_t bytes = LIBRARY_ARENA_BYTES(threads), page = 65536;
  const size_t usable = (bytes + page - 1) / page * page;
  uint8_t* mapped = mmap(0, usable + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uint8_t* arena = mapped + usable - bytes;
  mattec_options options = {threads, IS_HOSTED || threads < 2 ? 0 : in_reverse, 0};
  mattec_session* session;
  mattec_status status;
  uint8_t command, wanted;
  if (mapped == MAP_FAILED || mprotect(mapped + usable, page, PROT_NONE)) return 1;
  memset(arena, 0xAB, bytes);
  status = mattec_init(&library_model, arena, bytes, &options, &session);
  put_status(status);
  for (;;) {
    fflush(stdout);
    get(&command, 1);
    if (command == 'r') {
      mattec_reset(session);
      put_status(MATTEC_OK);
    } else if (command == 't') {
      put(arena + TENSORS_OFFSET, TENSOR_BYTES);
    } else {
      const mattec_image frame = {frame_pixels, LIBRARY_WIDTH, LIBRARY_HEIGHT, LIBRARY_WIDTH * 3, MATTEC_RGB};
      mattec_outputs outputs = {{0}, {0}};
      get(&wanted, 1);
      get(frame_pixels, sizeof frame_pixels);
      memset(alpha_pixels, 0xAB, sizeof alpha_pixels);
      memset(foreground_pixels, 0xAB, sizeof foreground_pixels);
      if (wanted & 1)
        outputs.alpha = (mattec_image){alpha_pixels, LIBRARY_WIDTH, LIBRARY_HEIGHT, LIBRARY_WIDTH, MATTEC_GRAY};
      if (wanted & 2)
        outputs.foreground = (mattec_image){foreground_pixels, LIBRARY_WIDTH, LIBRARY_HEIGHT, LIBRARY_WIDTH * 3, MATTEC_RGB};
      put_status(mattec_step(session, &frame, NULL, &outputs));
      if (wanted & 1) put(alpha_pixels, sizeof alpha_pixels);
      if (wanted & 2) put(foreground_pixels, sizeof foreground_pixels);
    }
  }
}
)";

bool is_in_path(const std::string& name) {
  const char* const path = std::getenv("PATH");
  std::string folders = path == nullptr ? "" : path;
  for (size_t start = 0; start <= folders.size();) {
    const size_t end = std::min(folders.find(':', start), folders.size());
    if (::access((folders.substr(start, end - start) + "/" + name).c_str(), X_OK) == 0) return true;
    start = end + 1;
  }
  return false;
}

// A program that is started with a socket as its standard input and output.
class Process {
 public:
  explicit Process(std::vector<std::string> words) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
      throw Error("no socket for " + words[0]);
    socket_ = ends[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const int failed =
        ::posix_spawnp(&process_, words[0].c_str(), &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (failed != 0) {
      ::close(socket_);
      throw Error("cannot start " + words[0]);
    }
  }
  ~Process() {
    ::close(socket_);  // the program ends when its input does
    if (process_ > 0) ::waitpid(process_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Until it ends by itself. Throws Error with `problem` unless its status is 0.
  void wait(const std::string& problem) {
    int status = 0;
    const pid_t process = std::exchange(process_, -1);
    if (::waitpid(process, &status, 0) != process || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
      throw Error(problem);
  }
  void write(const void* data, size_t bytes) { move(::send, data, bytes, MSG_NOSIGNAL); }
  void read(void* data, size_t bytes) { move(::recv, data, bytes, 0); }

 private:
  template <typename Move, typename Data>
  void move(Move some, Data* data, size_t bytes, int flags) {
    auto* at = reinterpret_cast<char*>(const_cast<std::remove_const_t<Data>*>(data));
    while (bytes > 0) {
      const ssize_t moved = some(socket_, at, bytes, flags);
      if (moved <= 0) throw Error(how_it_ended());
      at += moved;
      bytes -= static_cast<size_t>(moved);
    }
  }
  std::string how_it_ended() const {
    siginfo_t ended = {};
    ::waitid(P_PID, static_cast<id_t>(process_), &ended, WEXITED | WNOWAIT);
    return fmt::format("the emulated program died ({} {})",
                       ended.si_code == CLD_EXITED ? "status" : "signal", ended.si_status);
  }

  int socket_ = -1;
  pid_t process_ = -1;
};

// Folder of the program's files, removed at the end.
struct Folder {
  Folder() {
    std::string made = (fs::temp_directory_path() / "mattec-emulated-XXXXXX").string();
    if (::mkdtemp(made.data()) == nullptr) throw Error(made + ": cannot be made");
    path = made;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  fs::path path;
};

class EmulatedSession : public RunningSession {
 public:
  EmulatedSession(std::shared_ptr<Folder> folder, const std::vector<std::string>& words,
                  ir::Size size, size_t tensor_bytes)
      : folder_(std::move(folder)),
        process_(words),
        pixels_(static_cast<size_t>(size.height) * size.width),
        tensors_(tensor_bytes) {
    const int status = read_status();
    if (status != MATTEC_OK)
      throw Error(fmt::format("mattec_init answers {} under {}", status, words[2]));
  }

  mattec_status step(const std::vector<uint8_t>& rgb, std::vector<uint8_t>* alpha,
                     std::vector<uint8_t>* foreground) override {
    const char command[] = {
        's', static_cast<char>((alpha != nullptr ? 1 : 0) | (foreground != nullptr ? 2 : 0))};
    process_.write(command, sizeof command);
    process_.write(rgb.data(), pixels_ * 3);
    const int status = read_status();
    if (alpha != nullptr) read(*alpha, pixels_);
    if (foreground != nullptr) read(*foreground, pixels_ * 3);
    return static_cast<mattec_status>(status);
  }
  void reset() override {
    process_.write("r", 1);
    read_status();
  }
  const uint8_t* tensors() override {
    process_.write("t", 1);
    read(tensors_, tensors_.size());
    return tensors_.data();
  }

 private:
  int read_status() {
    uint8_t status = 0;
    process_.read(&status, 1);
    return status;
  }
  void read(std::vector<uint8_t>& to, size_t bytes) {
    to.resize(bytes);
    process_.read(to.data(), bytes);
  }

  std::shared_ptr<Folder> folder_;
  Process process_;
  size_t pixels_;
  std::vector<uint8_t> tensors_;
};

class EmulatedRunner : public Runner {
 public:
  EmulatedRunner(const CompiledLibrary& library, const std::string& name, std::string cpu)
      : cpu_(std::move(cpu)),
        size_(library.plan.size),
        tensor_bytes_(static_cast<size_t>(library.plan.tensor_bytes)) {
    write_library(library, name, folder_->path.string());
    const fs::path files = folder_->path / library.target;
    std::string upper = name;
    std::transform(upper.begin(), upper.end(), upper.begin(),
                   [](unsigned char c) { return std::toupper(c); });
    std::ofstream(folder_->path / "main.c")
        << fmt::format(
               "#include \"{0}.h\"\n#define LIBRARY_WIDTH {1}_WIDTH\n#define LIBRARY_HEIGHT "
               "{1}_HEIGHT\n#define LIBRARY_ARENA_BYTES {1}_ARENA_BYTES\n#define library_model "
               "{0}_model\nenum {{ TENSORS_OFFSET = {2}, TENSOR_BYTES = {3}, IS_HOSTED = {4} "
               "}};\n",
               name, upper, static_cast<int>(MATTEC_SESSION_BYTES), tensor_bytes_,
               find_target(library.target).is_hosted ? 1 : 0)
        << program;
    Process linked({compiler, "-O1", "-static", "-I" + files.string(),
                    (folder_->path / "main.c").string(), (files / ("lib" + name + ".a")).string(),
                    "-lpthread", "-o", executable()});
    linked.wait(std::string(compiler) + " cannot link " + library.target);
  }
  std::unique_ptr<RunningSession> open(int threads) override {
    return std::make_unique<EmulatedSession>(
        folder_,
        std::vector<std::string>{emulator, "-cpu", cpu_, executable(), std::to_string(threads)},
        size_, tensor_bytes_);
  }

 private:
  std::string executable() const { return (folder_->path / "program").string(); }

  std::shared_ptr<Folder> folder_ = std::make_shared<Folder>();
  std::string cpu_;
  ir::Size size_;
  size_t tensor_bytes_;
};

}  // namespace

std::unique_ptr<Runner> emulate_library(const CompiledLibrary& library, const std::string& name,
                                        const std::string& cpu) {
  for (const char* const needed : {compiler, emulator})
    if (!is_in_path(needed))
      throw Error(library.target + ": " + needed + " is missing; run scripts/setup --tests");
  return std::make_unique<EmulatedRunner>(library, name, cpu);
}

}  // namespace mattec::targets
