// The command line from outside: exit codes, error lines, files, memory. The network is the fake
// library (fake_library.c: alpha = max(green, half of the previous alpha), 16x8).
#include "tests/tools_command.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "media/frame_source.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;

constexpr ir::Size library_size = {8, 16};

media::Image uniform(ir::Size size, uint8_t red, uint8_t green, uint8_t blue) {
  media::Image image(size, 3);
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    image.pixels[i] = red;
    image.pixels[i + 1] = green;
    image.pixels[i + 2] = blue;
  }
  return image;
}

// A folder of uniform frames with these greens, named 01, 02, ...
void write_greens(const std::string& path, ir::Size size, const std::vector<int>& greens) {
  const std::unique_ptr<media::FrameSink> sink = media::open_sink(path, {});
  for (size_t i = 0; i < greens.size(); ++i)
    sink->write(uniform(size, 10, static_cast<uint8_t>(greens[i]), 30),
                {(i < 9 ? "0" : "") + std::to_string(i + 1)});
  sink->finish();
}

std::vector<media::Image> read_clip(const std::string& path, int channels) {
  media::SourceOptions options;
  options.channels = channels;
  const std::unique_ptr<media::FrameSource> source = media::open_source(path, options);
  std::vector<media::Image> frames;
  for (media::Image frame; source->next(frame);) frames.push_back(frame);
  return frames;
}

// The command's own files lie in the scratch folder too.
std::vector<std::string> files_left(const Scratch& scratch) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(scratch.path())) {
    const std::string name = entry.path().filename().string();
    if (name != "stdout.txt" && name != "stderr.txt") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST(Usage, HelpAndVersionAreNoErrors) {
  const Scratch scratch;
  for (const char* argument : {"--help", "--version"}) {
    const CommandResult result = command(scratch, {argument});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_NE(result.out.find("mattec"), std::string::npos);
    EXPECT_EQ(result.err, "");
  }
  for (const char* verb : {"run", "eval", "bench", "inspect", "quantize"})
    EXPECT_EQ(command(scratch, {verb, "--help"}).exit_code, 0) << verb;
}

TEST(Usage, WrongArgumentsAreTwo) {
  const Scratch scratch;
  expect_failure(command(scratch, {}), 2, "see mattec --help");
  expect_failure(command(scratch, {"matte"}), 2, "unknown verb \"matte\" (see mattec --help)");
  expect_failure(command(scratch, {"comiple", "a"}), 2, "the nearest is \"compile\"");
  expect_failure(command(scratch, {"--verson"}), 2, "the nearest is \"--version\"");
  // What is required is missing because it is misspelt.
  expect_failure(command(scratch, {"run", "a", "b", "--outptu", "c"}), 2,
                 "unknown option \"--outptu\"; the nearest is \"--output\" (see mattec run");
  expect_failure(command(scratch, {"eval", "a", "b", "--thread=2"}), 2,
                 "unknown option \"--thread\"; the nearest is \"--threads\"");
  expect_failure(command(scratch, {"demo", "\x1b[31m"}), 2, "\\x1b[31m");
  expect_failure(command(scratch, {"run", "a", "b"}), 2, "--output is required (see mattec run");
  expect_failure(command(scratch, {"run", "a", "b", "-o", "c", "--threads", "65"}), 2,
                 "--threads: write a whole number from 1 to 64, not 65");
  expect_failure(command(scratch, {"quantize", "a", "--calibration", "b", "-o", "c.mattec",
                                   "--policy", "w4a5"}),
                 2, "--policy w4a5: neither");
  expect_failure(command(scratch, {"quantize", "a", "--calibration", "b", "-o", "c.bin"}), 2,
                 "does not end in .mattec");
}

TEST(Errors, NameTheModelThatIsMissing) {
  const Scratch scratch;
  for (const char* model : {"no.mattec", "no.torchscript", "no.pth", "no.safetensors", "no.a"}) {
    expect_failure(command(scratch, {"run", model, "clip.mp4", "-o", scratch / "out"}), 1, model);
  }
  expect_failure(command(scratch, {"eval", "no.mattec", "clip"}), 1, "no.mattec");
  expect_failure(command(scratch, {"inspect", "no.mattec"}), 1, "no.mattec");
  expect_failure(command(scratch, {"bench", "no.a"}), 1, "no.a: no such file or folder");
  expect_failure(command(scratch, {"bench", scratch.path()}), 1, "holds no compiled library");
}

TEST(Errors, NameTheClipThatIsMissingOrCutOff) {
  const Scratch scratch;
  const std::string out = scratch / "out";
  expect_failure(command(scratch, {"run", FAKE_LIBRARY, "no.mp4", "-o", out}), 1,
                 "no.mp4: no such file or folder");
  write_clip(scratch / "clip.mp4", {32, 32}, 20);
  write_bytes(scratch / "clip.mp4", read_bytes(scratch / "clip.mp4").substr(0, 900));
  expect_failure(command(scratch, {"run", FAKE_LIBRARY, scratch / "clip.mp4", "-o", out}), 1,
                 "clip.mp4: is cut off");
  EXPECT_EQ(files_left(scratch), std::vector<std::string>{"clip.mp4"});
}

TEST(Errors, NameWhatALibraryRefuses) {
  const Scratch scratch;
  write_greens(scratch / "clip", {4, 4}, {1});
  expect_failure(
      command(scratch, {"run", FOREIGN_LIBRARY, scratch / "clip", "-o", scratch / "out"}), 1,
      "the processor lacks");
  expect_failure(command(scratch, {"bench", FOREIGN_LIBRARY}), 1, "the processor lacks");
  expect_failure(command(scratch, {"run", FAKE_LIBRARY, scratch / "clip", "-o", scratch / "out",
                                   "--size", "16x8"}),
                 2, "is compiled for one size");
  EXPECT_EQ(files_left(scratch), std::vector<std::string>{"clip"});
}

TEST(Run, WritesOneMattePerFrameUnderItsName) {
  const Scratch scratch;
  write_greens(scratch / "clip", library_size, {200, 10, 60});
  const CommandResult result =
      command(scratch, {"run", FAKE_LIBRARY, scratch / "clip", "-o", scratch / "matte"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_NE(result.out.find("3 frames, 16x8, 25 frames/s"), std::string::npos) << result.out;
  EXPECT_TRUE(fs::exists(scratch / "matte/01.png"));
  const std::vector<media::Image> mattes = read_clip(scratch / "matte", 1);
  ASSERT_EQ(mattes.size(), 3U);
  const int alphas[] = {200, 100, 60};  // the second from the recurrent state
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(mattes[i].pixels, std::vector<uint8_t>(128, static_cast<uint8_t>(alphas[i])));
}

// Odd, tiny and large clips through a library of one fixed size.
TEST(Run, KeepsTheClipsSizeWhateverTheLibrarys) {
  for (const ir::Size size : {ir::Size{1, 1}, {1, 7}, {33, 31}, {8, 40}}) {
    const Scratch scratch;
    write_greens(scratch / "clip", size, {80, 120});
    const CommandResult result =
        command(scratch, {"run", FAKE_LIBRARY, scratch / "clip", "-o", scratch / "matte"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const std::vector<media::Image> mattes = read_clip(scratch / "matte", 1);
    ASSERT_EQ(mattes.size(), 2U);
    EXPECT_EQ(mattes[1].size, size);
    EXPECT_EQ(mattes[1].pixels, std::vector<uint8_t>(mattes[1].pixels.size(), 120));
  }
}

TEST(Run, CompositesTheNetworksForeground) {
  const Scratch scratch;
  write_greens(scratch / "clip", library_size, {100});
  EXPECT_EQ(command(scratch, {"run", FAKE_LIBRARY, scratch / "clip", "-o", scratch / "out",
                              "--composite", "#0000c8"})
                .exit_code,
            0);
  const std::vector<media::Image> composites = read_clip(scratch / "out", 3);
  ASSERT_EQ(composites.size(), 1U);
  // Foreground of the fake network: red and blue exchanged = (30, 100, 10); alpha 100.
  const auto blend = [](int f, int b) { return (100 * f + 155 * b + 127) / 255; };
  EXPECT_EQ(composites[0].pixels[0], blend(30, 0));
  EXPECT_EQ(composites[0].pixels[1], blend(100, 0));
  EXPECT_EQ(composites[0].pixels[2], blend(10, 200));
}

TEST(Run, KeepsFrameCountAndRateOfVideos) {
  const Scratch scratch;
  write_clip(scratch / "clip.mp4", {36, 64}, 17, {30000, 1001});
  const CommandResult result = command(scratch, {"run", FAKE_LIBRARY, scratch / "clip.mp4", "-o",
                                                 scratch / "out.mkv", "--composite", "green"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const std::unique_ptr<media::FrameSource> source = media::open_source(scratch / "out.mkv", {});
  EXPECT_NEAR(source->clip().rate.value(), 30000.0 / 1001, 1e-3);
  EXPECT_EQ(source->size(), (ir::Size{36, 64}));
  EXPECT_EQ(read_clip(scratch / "out.mkv", 3).size(), 17U);
}

TEST(Run, ReadsRawFramesFromStandardInput) {
  const Scratch scratch;
  std::string raw;
  for (const int green : {50, 70}) {
    const media::Image frame = uniform({3, 5}, 0, static_cast<uint8_t>(green), 0);
    raw.append(frame.pixels.begin(), frame.pixels.end());
  }
  const std::vector<std::string> arguments = {"run",           FAKE_LIBRARY,   "-",  "-o",
                                              scratch / "out", "--input-size", "5x3"};
  write_bytes(scratch / "raw", raw);
  EXPECT_EQ(command(scratch, arguments, scratch / "raw").exit_code, 0);
  const std::vector<media::Image> mattes = read_clip(scratch / "out", 1);
  ASSERT_EQ(mattes.size(), 2U);
  EXPECT_EQ(mattes[1].pixels, std::vector<uint8_t>(15, 70));

  fs::remove_all(scratch / "out");
  write_bytes(scratch / "raw", raw.substr(0, raw.size() - 1));
  expect_failure(command(scratch, arguments, scratch / "raw"), 1,
                 "standard input ends inside frame 1 (44 of 45 bytes)");
  expect_failure(command(scratch, arguments), 1, "standard input is empty");
  EXPECT_EQ(files_left(scratch), std::vector<std::string>{"raw"});
}

TEST(Run, NeverOverwritesAFolderWithContent) {
  const Scratch scratch;
  write_greens(scratch / "clip", {4, 4}, {1});
  expect_failure(command(scratch, {"run", FAKE_LIBRARY, scratch / "clip", "-o", scratch / "clip"}),
                 1, "is read by the same command");
  write_greens(scratch / "other", {4, 4}, {1});
  expect_failure(command(scratch, {"run", FAKE_LIBRARY, scratch / "other", "-o", scratch / "clip"}),
                 1, "is not empty");
  EXPECT_EQ(read_clip(scratch / "clip", 3)[0].pixels, uniform({4, 4}, 10, 1, 30).pixels);
}

TEST(Run, FullDiskLeavesNothing) {
  const Scratch scratch;
  write_clip(scratch / "clip", {64, 64}, 30);
  for (const char* name : {"out.mp4", "out.mkv", "out.avi"}) {
    CommandResult result;
    {
      const FileSizeLimit limit(600);
      result = command(scratch, {"run", FAKE_LIBRARY, scratch / "clip", "-o", scratch / name});
    }
    expect_failure(result, 1, name);
    EXPECT_EQ(files_left(scratch), std::vector<std::string>{"clip"});
  }
  CommandResult result;
  {
    const FileSizeLimit limit(60);  // less than any PNG
    result = command(scratch, {"run", FAKE_LIBRARY, scratch / "clip", "-o", scratch / "matte"});
  }
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(files_left(scratch), std::vector<std::string>{"clip"});
}

TEST(Inspect, FullDiskBehindStandardOutputIsAnError) {
  const Scratch scratch;
  const std::string line = MATTEC_COMMAND " inspect " FAKE_LIBRARY " > /dev/full 2> ";
  const int status = std::system((line + scratch / "error").c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_EQ(read_bytes(scratch / "error"),
            "mattec: standard output: cannot be written; is the disk full?\n");
}

// The command waits for its second frame when the signal comes.
TEST(Run, InterruptedLeavesNothing) {
  const Scratch scratch;
  ASSERT_EQ(mkfifo((scratch / "pipe").c_str(), 0600), 0);
  const Command running(scratch,
                        {"run", FAKE_LIBRARY, "-", "-o", scratch / "out", "--input-size", "4x4"},
                        scratch / "pipe");
  const int feed = open((scratch / "pipe").c_str(), O_WRONLY);
  const std::string frame(48, 'x');
  ASSERT_EQ(write(feed, frame.data(), frame.size()), 48);
  for (int i = 0; i < 500 && files_left(scratch).size() < 2; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(files_left(scratch).size(), 2U);  // the pipe, and the output under its hidden name
  running.send(SIGINT);
  const CommandResult result = running.wait();
  close(feed);
  EXPECT_EQ(result.signal, SIGINT);
  EXPECT_NE(result.err.find("interrupted"), std::string::npos);
  EXPECT_EQ(files_left(scratch), std::vector<std::string>{"pipe"});
}

// Ten times the frames, the same memory: a frame kept somewhere would add 12 MB.
TEST(Run, StreamsInConstantMemory) {
  const Scratch scratch;
  long peak[2] = {};
  for (const int frames : {200, 2000}) {
    const std::string clip = scratch / (std::to_string(frames) + ".mp4");
    write_clip(clip, {48, 64}, frames);
    const CommandResult result = command(
        scratch, {"run", FAKE_LIBRARY, clip, "-o", scratch / "out.mp4", "--composite", clip});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    peak[frames == 2000] = result.peak_kilobytes;
  }
  EXPECT_LT(peak[1], peak[0] + 8192);
}

}  // namespace
}  // namespace mattec::tools
