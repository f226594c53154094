// Commands that are killed, and what the next one of the same output finds.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/tools_command.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;

// Entries of the scratch folder whose names say that they are not finished.
std::vector<std::string> hidden(const Scratch& scratch) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(scratch.path())) {
    const std::string name = entry.path().filename().string();
    if (name.find(".partial") != std::string::npos) names.push_back(name);
  }
  return names;
}

// Until the command has begun its output.
void await_hidden(const Scratch& scratch) {
  for (int i = 0; i < 1500 && hidden(scratch).empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(hidden(scratch).size(), 1U);
}

TEST(Killed, RunLeavesNothingForLong) {
  for (const char* output : {"out.mkv", "out"}) {
    const Scratch scratch;
    ASSERT_EQ(mkfifo((scratch / "pipe").c_str(), 0600), 0);
    const std::vector<std::string> words = {
        "run", FAKE_LIBRARY, "-", "-o", scratch / output, "--input-size", "4x4"};
    const Command running(scratch, words, scratch / "pipe");
    const int feed = open((scratch / "pipe").c_str(), O_WRONLY);
    const std::string frame(48, 'x');
    ASSERT_EQ(write(feed, frame.data(), frame.size()), 48);
    await_hidden(scratch);
    running.send(SIGKILL);
    EXPECT_EQ(running.wait().signal, SIGKILL);
    close(feed);
    EXPECT_EQ(hidden(scratch).size(), 1U);
    write_bytes(scratch / "raw", frame + frame);
    const CommandResult again = command(scratch, words, scratch / "raw");
    EXPECT_EQ(again.exit_code, 0) << again.err;
    EXPECT_TRUE(fs::exists(scratch / output));
    EXPECT_TRUE(hidden(scratch).empty());
  }
}

TEST(Killed, DemoLeavesNothingForLong) {
  const Scratch scratch;
  const std::vector<std::string> words = {"demo", "-o", scratch / "demo"};
  const Command first(scratch, words);
  await_hidden(scratch);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // some of its files are there
  first.send(SIGKILL);
  first.wait();
  const std::vector<std::string> left = hidden(scratch);
  ASSERT_EQ(left.size(), 1U);
  const Command second(scratch, words);
  for (int i = 0; i < 1500 && (hidden(scratch).empty() || hidden(scratch)[0] == left[0]); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(hidden(scratch).size(), 1U);
  EXPECT_NE(hidden(scratch)[0], left[0]);
  second.send(SIGTERM);
  EXPECT_EQ(second.wait().signal, SIGTERM);
  EXPECT_TRUE(hidden(scratch).empty());
  EXPECT_FALSE(fs::exists(scratch / "demo"));
}

// Of any of its four outputs; the command then ends early, for want of a network.
TEST(Killed, QuantizeLeavesNothingForLong) {
  const Scratch scratch;
  for (const char* name :
       {".o.partial17-0.mattec", ".o.report.partial17-1.html", ".o.report.partial17-2.json"})
    write_bytes(scratch / name, "left over");
  fs::create_directory(scratch / ".o.partial17-3.checkpoint");
  write_bytes(scratch / ".o.partial17-3.checkpoint/state.json", "left over");
  expect_failure(command(scratch, {"quantize", scratch / "none.pth", "--calibration", "none", "-o",
                                   scratch / "o.mattec"}),
                 1, "none.pth");
  EXPECT_TRUE(hidden(scratch).empty());
}

// Also by a link, a report or a policy, and before anything is opened: the network is none.
TEST(Quantize, DoesNotOverwriteWhatItReads) {
  const Scratch scratch;
  const auto quantize = [&scratch](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"quantize", scratch / "net.pth", "-o", scratch / "o.mattec"};
    words.insert(words.end(), more.begin(), more.end());
    return command(scratch, words);
  };
  const std::string refusal = ": is read by the same command";
  write_bytes(scratch / "net.pth", "a network");
  fs::create_symlink("net.pth", scratch / "o.mattec");
  expect_failure(quantize({"--calibration", "clips"}), 1, "o.mattec" + refusal);
  fs::remove(scratch / "o.mattec");
  fs::create_hard_link(scratch / "net.pth", scratch / "o.mattec");
  expect_failure(quantize({"--calibration", "clips"}), 1, "o.mattec" + refusal);
  fs::remove(scratch / "o.mattec");
  write_bytes(scratch / "o.report.json", "{}");
  expect_failure(quantize({"--calibration", "clips", "--policy", scratch / "o.report.json"}), 1,
                 "o.report.json" + refusal);
  fs::create_directories(scratch / "clips/walk/src");
  write_bytes(scratch / "clips/walk/src/1.png", "a picture");
  fs::create_symlink("clips/walk/src/1.png", scratch / "o.report.html");
  expect_failure(quantize({"--calibration", scratch / "clips"}), 1, "o.report.html" + refusal);
  // An interrupted command's policy: the checkpoint goes when the result is written.
  fs::remove(scratch / "o.report.html");
  fs::create_directory(scratch / "o.checkpoint");
  write_bytes(scratch / "o.checkpoint/policy.json", "{}");
  expect_failure(
      quantize({"--calibration", "clips", "--policy", scratch / "o.checkpoint/policy.json"}), 1,
      "policy.json" + refusal);
  EXPECT_EQ(read_bytes(scratch / "clips/walk/src/1.png"), "a picture");
  EXPECT_EQ(read_bytes(scratch / "net.pth"), "a network");
  EXPECT_EQ(read_bytes(scratch / "o.report.json"), "{}");
}

}  // namespace
}  // namespace mattec::tools
