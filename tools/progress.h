// How far long work is and how long it will take, on standard error.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace mattec::tools {

// "12.3 s" below a minute, "4:05 min" below an hour, "1:02:03 h" above.
std::string duration_text(double seconds);

// Silent for two seconds; then on a terminal one line that renews itself, elsewhere a line every
// five seconds. Vanishes from the terminal when destroyed.
class Progress {
 public:
  Progress(std::string what, std::optional<int64_t> total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` of the total, e.g. frames. Stops the work (Interrupted) after Ctrl-C.
  void count(int64_t done, const std::string& unit);
  // The same for work that knows only its fraction, 0 .. 1, and what it does now.
  void reach(double fraction, const std::string& stage);

 private:
  void show(const std::string& state, double fraction);

  using Clock = std::chrono::steady_clock;
  std::string what_;
  std::optional<int64_t> total_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point next_ = start_ + std::chrono::seconds(2);
  bool terminal_;
  bool line_open_ = false;
};

}  // namespace mattec::tools
