// Composed clips from real ones, matted by the real network.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/shared_data.h"
#include "tests/tools_command.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* network = "models/rvm_mobilenetv3.safetensors";
constexpr const char* clip = "clips/truth/dancer_gbike";

// A folder of the first frames of a real clip's src/ or pha/.
void link_frames(const std::string& part, const std::string& folder) {
  fs::create_directories(folder);
  for (const char* frame : {"0000.png", "0001.png", "0002.png", "0003.png"})
    fs::create_symlink(fs::absolute(shared_file(std::string(clip) + "/" + part)) / frame,
                       fs::path(folder) / frame);
}

Json eval(const Scratch& scratch, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"eval", shared_file(network)});
  for (const char* more : {"--size", "256x144", "--json"}) arguments.emplace_back(more);
  const CommandResult result = command(scratch, arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return Json::parse(result.out);
}

// A recorded frame as foreground before itself as background is the recorded frame, whatever the
// matte. Fails where composed clips scale, order or pair anything differently from recorded ones.
TEST(RealClip, ComposedWithItselfHasTheScoresOfTheRecording) {
  MATTEC_NEED_SHARED(network);
  MATTEC_NEED_SHARED(clip);
  const Scratch scratch;
  link_frames("src", scratch / "recorded/src");
  link_frames("pha", scratch / "recorded/pha");
  link_frames("src", scratch / "set/fgr/dancer");
  link_frames("pha", scratch / "set/pha/dancer");
  link_frames("src", scratch / "backs/street");
  const Json recorded = eval(scratch, {scratch / "recorded"});
  const Json composed = eval(scratch, {scratch / "set", "--backgrounds", scratch / "backs"});
  EXPECT_EQ(recorded["clips"][0]["frames"], 4);
  EXPECT_GT(recorded["mean"]["mad"], 1);
  EXPECT_LT(recorded["mean"]["mad"], 30);
  EXPECT_EQ(composed["clips"][0]["name"], "dancer on street");
  EXPECT_EQ(composed["mean"], recorded["mean"]);
  const Json moving = eval(scratch, {scratch / "set", "--backgrounds", scratch / "backs",
                                     "--motion", "on", "--seed", "3"});
  EXPECT_NE(moving["mean"], recorded["mean"]);
}

}  // namespace
}  // namespace mattec::tools
