// What a signal does to work that does not look for it, in processes of its own.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <thread>

#include "base/interrupt.h"
#include "base/staged_path.h"
#include "tests/scratch.h"

namespace mattec {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double grace_seconds = 0.5;

void sleep_for(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

// A process that does `work` with the handlers installed, and exits with what it returns.
class Process {
 public:
  explicit Process(const std::function<int()>& work) {
    int ready[2];
    if (pipe(ready) != 0) ADD_FAILURE() << "no pipe";
    process_ = fork();
    if (process_ == 0) {
      close(STDERR_FILENO);  // "interrupted" is no output of the test
      install_signal_handlers(grace_seconds);
      if (write(ready[1], "", 1) != 1) _exit(99);
      _exit(work());
    }
    char byte = 0;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
  }
  void send(int signal) const { kill(process_, signal); }
  // Its exit code, or minus the signal that ended it.
  int wait() const {
    int status = 0;
    waitpid(process_, &status, 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t process_ = 0;
};

// Twenty seconds are for a machine that does much else.
TEST(Interrupt, EndsWorkThatDoesNotLookAndRemovesWhatIsStaged) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const Scratch scratch;
    const Process process([&scratch] {
      const StagedPath file(scratch / "out.mp4", StagedPath::Kind::file);
      const StagedPath folder(scratch / "out", StagedPath::Kind::folder);
      write_bytes(folder.path() + "/0001.png", "a picture");
      sleep_for(60);  // a kernel, a factorisation
      return 0;
    });
    for (int i = 0; i < 500 && scratch.entries() < 2; ++i) sleep_for(0.02);
    EXPECT_EQ(scratch.entries(), 2U);
    const Clock::time_point start = Clock::now();
    process.send(signal);
    EXPECT_EQ(process.wait(), -signal);
    EXPECT_LT(Clock::now() - start, std::chrono::seconds(20));
    EXPECT_EQ(scratch.entries(), 0U);
  }
}

TEST(Interrupt, LeavesWorkTheTimeToEndByItself) {
  const Process process([] {
    try {
      for (;;) {
        stop_if_interrupted();
        sleep_for(0.01);
      }
    } catch (const Interrupted& interrupted) {
      return interrupted.signal;
    }
  });
  process.send(SIGTERM);
  EXPECT_EQ(process.wait(), SIGTERM);
}

TEST(Interrupt, WorkThatKeepsWhatItHasIsEndedByTheSecondSignal) {
  const auto work = [] {
    const InterruptKeepsWork keeps;
    while (!is_interrupted()) sleep_for(0.01);
    sleep_for(4 * grace_seconds);  // writes what it has
    forget_interrupt();
    return 7;
  };
  const Process patient(work);
  patient.send(SIGINT);
  EXPECT_EQ(patient.wait(), 7);
  const Process impatient([] {
    const InterruptKeepsWork keeps;
    sleep_for(60);
    return 7;
  });
  impatient.send(SIGINT);
  sleep_for(0.1);
  impatient.send(SIGINT);
  EXPECT_EQ(impatient.wait(), -SIGINT);
}

TEST(Interrupt, ForgottenTheNextSignalIsTheFirstAgain) {
  const Process process([] {
    while (!is_interrupted()) sleep_for(0.01);
    forget_interrupt();
    sleep_for(3 * grace_seconds);
    if (is_interrupted()) return 1;
    while (!is_interrupted()) sleep_for(0.01);
    return 2;
  });
  process.send(SIGINT);
  sleep_for(5 * grace_seconds);
  process.send(SIGTERM);
  EXPECT_EQ(process.wait(), 2);
}

// Whoever ends the process sees a file either staged or in place.
TEST(Interrupt, KeepsHalfPlacedFoldersOut) {
  const Scratch scratch;
  const Process process([&scratch] {
    for (;;) {
      StagedPath a(scratch / "a", StagedPath::Kind::folder);
      StagedPath b(scratch / "b", StagedPath::Kind::folder);
      write_bytes(a.path() + "/same", a.path());
      write_bytes(b.path() + "/same", a.path());
      StagedPath::replace_folders({&a, &b});
    }
    return 0;
  });
  sleep_for(0.3);
  process.send(SIGTERM);
  EXPECT_EQ(process.wait(), -SIGTERM);
  EXPECT_EQ(scratch.entries(), 2U);
  EXPECT_EQ(read_bytes(scratch / "a/same"), read_bytes(scratch / "b/same"));
}

}  // namespace
}  // namespace mattec
