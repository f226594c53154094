// Runs the mattec command as a user does.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/scratch.h"

namespace mattec::tools {

struct CommandResult {
  int exit_code = -1;  // -1 if a signal ended it
  int signal = 0;
  std::string out, err;
  long peak_kilobytes = 0;  // resident
};

// A command under way; `scratch` takes its output and feeds its standard input.
class Command {
 public:
  Command(const Scratch& scratch, const std::vector<std::string>& arguments,
          const std::string& input_file = "/dev/null")
      : out_(scratch / "stdout.txt"), err_(scratch / "stderr.txt") {
    std::vector<std::string> words = {MATTEC_COMMAND};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    // What an earlier command said is not to be taken for this one's.
    std::filesystem::remove(out_);
    std::filesystem::remove(err_);
    process_ = fork();
    if (process_ == 0) {
      signal(SIGXFSZ, SIG_DFL);  // as a shell leaves it, whatever FileSizeLimit did
      redirect(input_file, O_RDONLY, STDIN_FILENO);
      redirect(out_, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
      redirect(err_, O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
      execv(pointers[0], pointers.data());
      _exit(127);
    }
  }
  void send(int signal) const { kill(process_, signal); }
  std::string error_so_far() const { return read_bytes(err_); }

  CommandResult wait() const {
    int status = 0;
    rusage usage = {};
    wait4(process_, &status, 0, &usage);
    CommandResult result;
    if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
    result.out = read_bytes(out_);
    result.err = read_bytes(err_);
    result.peak_kilobytes = usage.ru_maxrss;
    return result;
  }

 private:
  static void redirect(const std::string& file, int flags, int descriptor) {
    const int opened = open(file.c_str(), flags, 0600);
    if (opened < 0) _exit(126);
    dup2(opened, descriptor);
  }
  std::string out_, err_;
  pid_t process_ = 0;
};

inline CommandResult command(const Scratch& scratch, const std::vector<std::string>& arguments,
                             const std::string& input_file = "/dev/null") {
  return Command(scratch, arguments, input_file).wait();
}

// The last line starts with "mattec: " and holds `part`, lines before it show progress or are
// notes, standard output is empty.
inline void expect_failure(const CommandResult& result, int exit_code, const std::string& part) {
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  ASSERT_GT(result.err.size(), 8U);
  const size_t before = result.err.rfind('\n', result.err.size() - 2);
  const size_t start = before == std::string::npos ? 0 : before + 1;
  EXPECT_EQ(result.err.compare(start, 8, "mattec: "), 0) << result.err;
  EXPECT_NE(result.err.find(part, start), std::string::npos) << result.err;
  EXPECT_EQ(result.out, "");
}

}  // namespace mattec::tools
