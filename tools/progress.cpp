#include "tools/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/interrupt.h"
#include "base/text.h"

namespace mattec::tools {

std::string duration_text(double seconds) {
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const int64_t whole = std::llround(seconds);
  if (whole < 3600) return fmt::format("{}:{:02} min", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02} h", whole / 3600, whole / 60 % 60, whole % 60);
}

Progress::Progress(std::string what, std::optional<int64_t> total)
    : what_(std::move(what)), total_(total), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (line_open_) fmt::print(stderr, "\r\x1b[K");
}

void Progress::count(int64_t done, const std::string& unit) {
  stop_if_interrupted();
  if (Clock::now() < next_) return;
  if (total_ && *total_ > 0 && done <= *total_)
    show(fmt::format("{} of {} {}", done, *total_, unit),
         static_cast<double>(done) / static_cast<double>(*total_));
  else
    show(fmt::format("{} {}", done, unit), 0);
}

void Progress::reach(double fraction, const std::string& stage) {
  stop_if_interrupted();
  if (Clock::now() < next_) return;
  fraction = std::clamp(fraction, 0.0, 1.0);
  show(fmt::format("{:.0f} %, {}", 100 * fraction, stage), fraction);
}

void Progress::show(const std::string& state, double fraction) {
  const Clock::time_point now = Clock::now();
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const std::string left = fraction > 0
                               ? duration_text(elapsed * (1 - fraction) / fraction) + " left"
                               : duration_text(elapsed);
  const std::string line = printable(fmt::format("{}: {}, {}", what_, state, left));
  if (terminal_)
    fmt::print(stderr, "\r\x1b[K{}", line);
  else
    fmt::print(stderr, "{}\n", line);
  std::fflush(stderr);
  line_open_ = terminal_;
  next_ = now + (terminal_ ? std::chrono::milliseconds(200) : std::chrono::milliseconds(5000));
}

}  // namespace mattec::tools
