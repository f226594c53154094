// Ctrl-C: the work stops at the next safe place, so that destructors remove what is half-written.
#pragma once

namespace mattec::tools {

// Not an Error: the user knows. main() ends the process the way SIGINT or SIGTERM would have.
struct Interrupted {
  int signal = 0;
};

// First SIGINT or SIGTERM: noted. A second one ends the process at once. Also ignores SIGXFSZ, so
// that a file-size limit is an error of write() like a full disk.
void install_signal_handlers();

// Throws Interrupted after a signal. Called once a frame, tensor or kernel.
void stop_if_interrupted();

// After Interrupted was caught where the work goes on: the next signal is the first again.
void forget_interrupt();

}  // namespace mattec::tools
