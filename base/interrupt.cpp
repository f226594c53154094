#include "base/interrupt.h"

#include <semaphore.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

#include "base/staged_path.h"

namespace mattec {
namespace {

using Clock = std::chrono::steady_clock;

std::atomic<int> received_signal{0}, signal_count{0};  // since forget_interrupt()
std::atomic<int> work_is_kept{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may use no other");
sem_t arrived;  // posted once a signal

void note(int signal) {
  const int saved = errno;
  received_signal = signal;
  ++signal_count;
  sem_post(&arrived);
  errno = saved;
}

void wait_for_signal() {
  while (sem_wait(&arrived) != 0) {
  }
}

[[noreturn]] void end_process(int signal) {
  remove_staged_paths();
  constexpr char message[] = "\nmattec: interrupted; nothing half-written is left\n";
  if (write(STDERR_FILENO, message, sizeof message - 1) < 0) {
    // Nobody listens.
  }
  std::signal(signal, SIG_DFL);
  kill(getpid(), signal);
  for (;;) pause();
}

// Ends the process where the work does not.
[[noreturn]] void watch(double grace_seconds) {
  for (;;) {
    wait_for_signal();
    const auto end = Clock::now() + std::chrono::duration<double>(grace_seconds);
    while (signal_count == 1 && Clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const int count = signal_count;  // 0: the work has taken note and goes on
    if (count > 1 || (count == 1 && work_is_kept == 0)) end_process(received_signal);
  }
}

}  // namespace

void install_signal_handlers(double grace_seconds) {
  sem_init(&arrived, 0, 0);
  std::thread(watch, grace_seconds).detach();
  struct sigaction action = {};
  action.sa_handler = note;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);
}

bool is_interrupted() { return received_signal != 0; }

void stop_if_interrupted() {
  const int signal = received_signal;
  if (signal != 0) throw Interrupted{signal};
}

void forget_interrupt() {
  signal_count = 0;
  received_signal = 0;
}

InterruptKeepsWork::InterruptKeepsWork() { ++work_is_kept; }
InterruptKeepsWork::~InterruptKeepsWork() { --work_is_kept; }

}  // namespace mattec
