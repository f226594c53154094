// Ctrl-C and SIGTERM: the work stops at the next safe place, so that destructors remove what is
// half-written; where none comes within a second, the process is ended from outside the work.
#pragma once

namespace mattec {

// Not an Error: the user knows. main() ends the process the way SIGINT or SIGTERM would have.
struct Interrupted {
  int signal = 0;
};

// From now on the first SIGINT or SIGTERM is noted. Where it has not ended the process after
// `grace_seconds`, or at a second signal, a thread of its own removes all staged paths
// (staged_path.h) and ends the process by the signal. Also ignores SIGXFSZ, so that a file-size
// limit is an error of write() like a full disk. Called once, by main().
void install_signal_handlers(double grace_seconds = 0.7);

bool is_interrupted();

// Throws Interrupted after a signal. Called once a frame, tensor or kernel.
void stop_if_interrupted();

// After Interrupted was caught where the work goes on: the next signal is the first again.
void forget_interrupt();

// While one lives, the work itself ends soon after a signal and keeps what it has: only a second
// signal ends the process from outside.
class InterruptKeepsWork {
 public:
  InterruptKeepsWork();
  ~InterruptKeepsWork();
  InterruptKeepsWork(const InterruptKeepsWork&) = delete;
  InterruptKeepsWork& operator=(const InterruptKeepsWork&) = delete;
};

}  // namespace mattec
