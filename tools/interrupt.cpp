#include "tools/interrupt.h"

#include <csignal>

namespace mattec::tools {
namespace {

volatile std::sig_atomic_t received_signal = 0;

void note(int signal) { received_signal = signal; }

}  // namespace

void install_signal_handlers() {
  struct sigaction action = {};
  action.sa_handler = note;
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);
}

void stop_if_interrupted() {
  if (received_signal != 0) throw Interrupted{received_signal};
}

void forget_interrupt() {
  received_signal = 0;
  install_signal_handlers();
}

}  // namespace mattec::tools
