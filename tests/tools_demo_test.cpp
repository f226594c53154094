// mattec demo, as a newcomer runs it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "media/frame_source.h"
#include "tests/tools_command.h"

namespace mattec::tools {
namespace {

TEST(Demo, GoesTheWholeWayAndMayBeRepeated) {
  const Scratch scratch;
  const std::string out = scratch / "demo";
  for (int round = 0; round < 2; ++round) {
    const CommandResult result = command(scratch, {"demo", "-o", out});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_NE(result.out.find("identical"), std::string::npos) << result.out;
  }
  for (const char* file : {"/nano.w8a8.mattec", "/host/libnano.a", "/host/nano.h"})
    EXPECT_TRUE(std::filesystem::exists(out + file)) << file;
  EXPECT_EQ(media::open_source(out + "/matte", {})->clip().expected_frames, 48);
  EXPECT_EQ(media::open_source(out + "/composite.mp4", {})->clip().expected_frames, 48);
  const auto report = nlohmann::json::parse(read_bytes(out + "/report.json"));
  EXPECT_LT(report["mad_compiled"], report["mad_float"].get<double>() * 1.1);
}

// The demo works in a hidden folder; its errors name the one that was asked for.
TEST(Demo, FullDiskLeavesNothing) {
  const Scratch scratch;
  CommandResult result;
  {
    const FileSizeLimit limit(3000);
    result = command(scratch, {"demo", "-o", scratch / "demo"});
  }
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("mattec: " + (scratch / "demo/calibration/0/src/0000.png: cannot be")),
            std::string::npos)
      << result.err;
  EXPECT_EQ(scratch.entries(), 2U);  // the standard streams' files
}

TEST(Demo, LeavesForeignFoldersAlone) {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "work");
  write_bytes(scratch / "work/thesis.txt", "years");
  expect_failure(command(scratch, {"demo", "-o", scratch / "work"}), 1, "not from an earlier demo");
  EXPECT_EQ(read_bytes(scratch / "work/thesis.txt"), "years");
}

}  // namespace
}  // namespace mattec::tools
