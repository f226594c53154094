// Ctrl-C while the real network trains: a step of it takes seconds.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/shared_data.h"
#include "tests/tools_command.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* network = "models/rvm_mobilenetv3.safetensors";
constexpr const char* clips[] = {"clips/calibration/studio_man.mp4",
                                 "clips/calibration/rock_man_360p.mp4"};

// From the signal to the end, with the best so far written. It takes 0.3 to 0.5 s (two Xeon cores);
// waiting for the end of the step and comparing layers took 12 s.
TEST(RealNetwork, EndsTrainingWithinASecondOfASignal) {
  MATTEC_NEED_SHARED(network);
  MATTEC_NEED_SHARED(clips[0]);
  const Scratch scratch;
  fs::create_directory(scratch / "clips");
  for (const char* clip : clips)
    fs::create_symlink(fs::absolute(shared_file(clip)),
                       fs::path(scratch / "clips") / fs::path(clip).filename());
  const std::vector<std::string> words = {"quantize",
                                          shared_file(network),
                                          "--calibration",
                                          scratch / "clips",
                                          "--method",
                                          "minmax",
                                          "--gac",
                                          "on",
                                          "-o",
                                          scratch / "x.mattec"};
  const Command running(scratch, words);
  for (int i = 0; i < 15000 && running.error_so_far().find("training, step") == std::string::npos;
       ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  std::this_thread::sleep_for(std::chrono::milliseconds(700));  // amid a step
  const Clock::time_point start = Clock::now();
  running.send(SIGTERM);
  const CommandResult result = running.wait();
  EXPECT_LT(Clock::now() - start, std::chrono::milliseconds(2500));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* file : {"x.mattec", "x.report.html", "x.checkpoint/training.pt"})
    EXPECT_TRUE(fs::exists(scratch / file)) << file;
}

}  // namespace
}  // namespace mattec::tools
