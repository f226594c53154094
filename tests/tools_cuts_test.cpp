// `mattec run` on a film with a cut, by the network inside mattec.
#include <gtest/gtest.h>

#include "media/frame_source.h"
#include "nano/clip_generator.h"
#include "nano/embedded.h"
#include "tests/tools_command.h"

namespace mattec::tools {
namespace {

// The first frames of the film of a seed, numbered from `first` on.
void write_film(const std::string& folder, uint64_t seed, int first) {
  const nano::ClipGenerator generator(seed, 128, 72);
  std::filesystem::create_directories(folder);
  for (int i = 0; i < 6; ++i) {
    media::Image image({72, 128}, 3);
    image.pixels = generator.frame(i).frame;
    const std::string file = folder + "/" + std::to_string(first + i) + ".png";
    const std::unique_ptr<media::FrameSink> sink = media::open_sink(file, {});
    sink->write(image, {});
    sink->finish();
  }
}

TEST(RunCuts, LetTheNetworkStartAnew) {
  const Scratch scratch;
  write_bytes(
      scratch / "nano.safetensors",
      std::string(reinterpret_cast<const char*>(nano::weight_file), nano::weight_file_size));
  write_film(scratch / "both", 1, 100);
  write_film(scratch / "both", 6, 106);
  write_film(scratch / "second", 6, 106);
  const auto run = [&](const std::string& clip, const std::string& out, const std::string& reset) {
    const CommandResult result =
        command(scratch, {"run", scratch / "nano.safetensors", scratch / clip, "-o", scratch / out,
                          "--reset-at-cuts", reset});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  EXPECT_NE(run("both", "on", "on").find("started anew: 1"), std::string::npos);
  EXPECT_EQ(run("both", "off", "off").find("anew"), std::string::npos);
  EXPECT_EQ(run("second", "alone", "on").find("anew"), std::string::npos);
  for (const char* frame : {"106.png", "107.png", "111.png"}) {
    const std::string alone = read_bytes(scratch / "alone/" + frame);
    EXPECT_EQ(read_bytes(scratch / "on/" + frame), alone) << frame;
    EXPECT_NE(read_bytes(scratch / "off/" + frame), alone) << frame;
  }
}

}  // namespace
}  // namespace mattec::tools
