// The example project as its reader builds it: against a library compiled from the network inside
// mattec.
#include <gtest/gtest.h>

#include <cstdlib>

#include "media/frame_source.h"
#include "nano/clip_generator.h"
#include "nano/embedded.h"
#include "tests/tools_command.h"

namespace mattec::tools {
namespace {

constexpr ir::Size size = {48, 80};

// Exit status of a shell command.
int shell(const std::string& line) {
  const int status = std::system(line.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Writes a generated clip as a folder of pictures; returns its raw RGB.
std::string write_generated_clip(const std::string& path, int frames) {
  const nano::ClipGenerator generator(3, size.width, size.height);
  const std::unique_ptr<media::FrameSink> sink = media::open_sink(path, {});
  std::string raw;
  for (int i = 0; i < frames; ++i) {
    media::Image frame(size, 3);
    frame.pixels = generator.frame(i).frame;
    raw.append(frame.pixels.begin(), frame.pixels.end());
    sink->write(frame, {std::to_string(100 + i)});
  }
  sink->finish();
  return raw;
}

std::string read_mattes(const std::string& folder) {
  media::SourceOptions options;
  options.channels = 1;
  const std::unique_ptr<media::FrameSource> source = media::open_source(folder, options);
  std::string raw;
  for (media::Image frame; source->next(frame);)
    raw.append(frame.pixels.begin(), frame.pixels.end());
  return raw;
}

class Example : public testing::Test {
 protected:
  std::string at(const std::string& name) const { return scratch_ / name; }
  std::string log() const { return " > " + at("log") + " 2>&1"; }

  void expect_success(const std::vector<std::string>& arguments) const {
    const CommandResult result = command(scratch_, arguments);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  int configure(const std::string& library_folder) const {
    return shell(MATTEC_CMAKE " -G '" MATTEC_GENERATOR "' -S " MATTEC_SOURCE_DIR "/examples -B " +
                 at("build") +
                 " -DCMAKE_C_FLAGS='-Wall -Wextra -Werror' -DRVM_DIR=" + library_folder + log());
  }
  // Runs the example on `input`; what it writes is in "alpha", what it complains of in "log".
  int matte(const std::string& input, const std::string& more) const {
    write_bytes(at("input"), input);
    return shell(at("build/matte") + " < " + at("input") + " > " + at("alpha") + " 2> " +
                 at("log") + " " + more);
  }

  Scratch scratch_;
};

TEST_F(Example, MattesLikeMattecRun) {
  const std::string frames = write_generated_clip(at("clip"), 5);
  write_bytes(at("nano.safetensors"), {reinterpret_cast<const char*>(nano::weight_file),
                                       static_cast<size_t>(nano::weight_file_size)});
  expect_success({"quantize", at("nano.safetensors"), "--calibration", at("clip"), "--size",
                  "80x48", "--method", "minmax", "-o", at("nano.mattec")});
  expect_success({"compile", at("nano.mattec"), "--target", "host", "--size", "80x48", "--name",
                  "rvm", "-o", at("out")});
  expect_success({"run", at("out/host"), at("clip"), "-o", at("mattes")});
  ASSERT_EQ(configure(at("out/host")), 0) << read_bytes(at("log"));
  ASSERT_EQ(shell(MATTEC_CMAKE " --build " + at("build") + log()), 0) << read_bytes(at("log"));

  const std::string expected = read_mattes(at("mattes"));
  ASSERT_EQ(expected.size(), size_t{5} * 80 * 48);
  ASSERT_NE(expected, std::string(expected.size(), expected[0]));  // there is something to matte
  EXPECT_EQ(matte(frames, ""), 0) << read_bytes(at("log"));
  EXPECT_TRUE(read_bytes(at("alpha")) == expected);
  EXPECT_EQ(shell(at("build/matte") + " 2 < " + at("input") + " > " + at("alpha")), 0);
  EXPECT_TRUE(read_bytes(at("alpha")) == expected);

  EXPECT_EQ(matte("", ""), 0);
  EXPECT_EQ(read_bytes(at("alpha")), "");
  EXPECT_EQ(matte(frames.substr(0, frames.size() - 1), ""), EXIT_FAILURE);
  EXPECT_EQ(read_bytes(at("log")), "matte: the input ends inside a frame\n");
  EXPECT_EQ(matte(frames, "> /dev/full"), EXIT_FAILURE);
  EXPECT_EQ(read_bytes(at("log")), "matte: cannot write the output\n");
}

TEST_F(Example, SaysWhichLibraryItMisses) {
  EXPECT_NE(configure(scratch_.path()), 0);
  EXPECT_NE(read_bytes(at("log")).find("no librvm.a and rvm.h in '" + scratch_.path()),
            std::string::npos)
      << read_bytes(at("log"));
}

}  // namespace
}  // namespace mattec::tools
