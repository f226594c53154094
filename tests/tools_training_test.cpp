// mattec quantize where it trains, on the network inside mattec.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "ir/model_file.h"
#include "nano/clip_generator.h"
#include "nano/embedded.h"
#include "tests/tools_command.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr ir::Size clip_size = {48, 80};

void write_clip(const std::string& path, uint32_t seed, int frames) {
  const nano::ClipGenerator generator(seed, clip_size.width, clip_size.height);
  const std::unique_ptr<media::FrameSink> sink = media::open_sink(path, {});
  for (int i = 0; i < frames; ++i) {
    media::Image image(clip_size, 3);
    image.pixels = generator.frame(i).frame;
    sink->write(image, {std::to_string(100 + i)});
  }
  sink->finish();
}

// A folder with frames and mattes; these of another clip, so that who learns them shows it.
void write_truth(const std::string& folder, int frames) {
  std::filesystem::create_directory(folder);
  write_clip(folder + "/src", 4, frames);
  const nano::ClipGenerator generator(5, clip_size.width, clip_size.height);
  const std::unique_ptr<media::FrameSink> sink = media::open_sink(folder + "/pha", {});
  for (int i = 0; i < frames; ++i) {
    media::Image image(clip_size, 1);
    image.pixels = generator.frame(i).alpha;
    sink->write(image, {std::to_string(100 + i)});
  }
  sink->finish();
}

class Training : public testing::Test {
 public:
  static void SetUpTestSuite() {
    scratch_ = new Scratch;
    write_bytes(
        *scratch_ / "nano.safetensors",
        std::string(reinterpret_cast<const char*>(nano::weight_file), nano::weight_file_size));
    fs::create_directory(*scratch_ / "clips");
    for (uint32_t seed = 1; seed <= 3; ++seed)
      write_clip(*scratch_ / "clips/" + std::to_string(seed), seed, 12);
  }
  static void TearDownTestSuite() { delete scratch_; }

  static std::vector<std::string> quantize(const std::string& name,
                                           const std::vector<std::string>& options) {
    std::vector<std::string> words = {"quantize",
                                      *scratch_ / "nano.safetensors",
                                      "--calibration",
                                      *scratch_ / "clips",
                                      "--size",
                                      "80x48",
                                      "-o",
                                      *scratch_ / (name + ".mattec")};
    words.insert(words.end(), options.begin(), options.end());
    return words;
  }
  static ir::Graph model(const std::string& name) {
    return ir::read_model(*scratch_ / (name + ".mattec"));
  }
  static Json report(const std::string& name) {
    return Json::parse(read_bytes(*scratch_ / (name + ".report.json")));
  }

  static Scratch* scratch_;
};
Scratch* Training::scratch_ = nullptr;

TEST_F(Training, ImprovesABadStartAndIsReported) {
  const std::vector<std::string> plain = {"--bits", "w4a4", "--method", "minmax"};
  std::vector<std::string> with = plain;
  with.insert(with.end(), {"--gac", "on", "--ofa", "on", "--budget-minutes", "0.2"});
  write_bytes(*scratch_ / "plain.checkpoint", "a file of the user's");
  for (const auto& [name, options] : {std::pair{"plain", plain}, std::pair{"trained", with}}) {
    const CommandResult result = command(*scratch_, quantize(name, options));
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  EXPECT_EQ(read_bytes(*scratch_ / "plain.checkpoint"), "a file of the user's");
  EXPECT_FALSE(report("plain").contains("training"));
  EXPECT_FALSE(report("plain")["layers"][0].contains("error_before"));
  EXPECT_TRUE(report("trained")["layers"][0].contains("error_before"));
  const Json training = report("trained")["training"];
  ASSERT_GT(training["best_step"].get<int>(), 0);
  double least = 1;
  for (const Json& point : training["validation"]) least = std::min(least, point[1].get<double>());
  EXPECT_LT(least, 0.8 * training["validation"][0][1].get<double>());
  EXPECT_EQ(report("trained")["settings"]["gac"], "on");
  // What is trained folds into what is there: same tensors, same weights, other multipliers.
  const ir::Graph before = model("plain"), after = model("trained");
  ASSERT_EQ(before.ops.size(), after.ops.size());
  bool differs = false;
  for (size_t i = 0; i < before.ops.size(); ++i) {
    EXPECT_EQ(before.ops[i].conv.quantized_weight, after.ops[i].conv.quantized_weight);
    differs =
        differs || before.ops[i].conv.accumulator_scale != after.ops[i].conv.accumulator_scale;
  }
  EXPECT_TRUE(differs);
}

TEST_F(Training, IsWhatPtq4vmAddsToGptq) {
  const CommandResult result =
      command(*scratch_, quantize("ptq4vm", {"--method", "ptq4vm", "--budget-minutes", "0.2"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(report("ptq4vm")["settings"],
            Json({{"method", "ptq4vm"}, {"gac", "on"}, {"ofa", "on"}, {"seed", "0"}}));
  EXPECT_FALSE(report("ptq4vm")["training"]["loss"].empty());
  EXPECT_EQ(report("ptq4vm")["training"]["planned_steps"], 40);
  const CommandResult off =
      command(*scratch_, quantize("off", {"--method", "ptq4vm", "--gac", "off", "--ofa", "off"}));
  ASSERT_EQ(off.exit_code, 0) << off.err;
  EXPECT_FALSE(report("off").contains("training"));
}

// Sends the signal as soon as progress shows `text`.
CommandResult interrupted(const std::vector<std::string>& words, const std::string& text,
                          int signal) {
  const Command running(*Training::scratch_, words);
  for (int i = 0; i < 3000 && running.error_so_far().find(text) == std::string::npos; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  running.send(signal);
  return running.wait();
}

// That it ends with the bits of an uninterrupted run: quant_train_test, quant_reconstruct_test.
TEST_F(Training, InterruptedKeepsTheBestSoFarAndResumes) {
  const std::string folder = *scratch_ / "parts.checkpoint";
  std::vector<std::string> words =
      quantize("parts", {"--method", "minmax", "--gac", "on", "--budget-minutes", "5"});
  std::vector<double> losses;
  for (int time = 0; time < 2; ++time) {
    const CommandResult result = interrupted(words, "training, step", time == 0 ? SIGINT : SIGTERM);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_NE(result.err.find("interrupted: the best so far, of step"), std::string::npos);
    EXPECT_NE(result.err.find("the same command with --resume goes on"), std::string::npos);
    EXPECT_EQ(model("parts").stage, ir::Stage::quantized);
    EXPECT_TRUE(fs::exists(folder));
    std::vector<double> now;
    const Json json = report("parts");
    EXPECT_TRUE(json["layers"].empty());  // comparing them would take seconds
    for (const Json& point : json["training"]["loss"]) now.push_back(point[1].get<double>());
    ASSERT_GT(now.size(), losses.size());
    EXPECT_TRUE(std::equal(losses.begin(), losses.end(), now.begin()));
    losses = now;
    if (time == 0) words.emplace_back("--resume");
  }
  const std::string state = read_bytes(folder + "/training.pt");
  write_bytes(folder + "/training.pt", state.substr(0, state.size() / 2));
  const CommandResult damaged = command(*scratch_, words);
  EXPECT_EQ(damaged.exit_code, 1);
  EXPECT_NE(damaged.err.find("parts.checkpoint: train: the state to go on from is damaged"),
            std::string::npos)
      << damaged.err;

  words.insert(words.end(), {"--seed", "1"});
  const CommandResult other = command(*scratch_, words);
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_NE(other.err.find("was left by another command"), std::string::npos) << other.err;
  fs::remove_all(folder);
  const CommandResult nothing = command(*scratch_, words);
  EXPECT_EQ(nothing.exit_code, 1);
  EXPECT_NE(nothing.err.find("nothing was interrupted"), std::string::npos) << nothing.err;
}

TEST_F(Training, RefusesADamagedCheckpointAndKeepsOtherFiles) {
  const std::string folder = *scratch_ / "damaged.checkpoint";
  fs::create_directory(folder);
  write_bytes(folder + "/state.json", "{\"command\": ");
  write_bytes(folder + "/mine.txt", "mine");
  std::vector<std::string> words =
      quantize("damaged", {"--method", "minmax", "--gac", "on", "--budget-minutes", "0.12"});
  words.emplace_back("--resume");
  const CommandResult result = command(*scratch_, words);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("state.json: damaged"), std::string::npos) << result.err;
  words.pop_back();
  EXPECT_EQ(command(*scratch_, words).exit_code, 0);
  EXPECT_EQ(read_bytes(folder + "/mine.txt"), "mine");
  EXPECT_FALSE(fs::exists(folder + "/state.json"));
}

TEST_F(Training, ReconstructsBlocks) {
  const CommandResult result = command(
      *scratch_,
      quantize("brecq", {"--bits", "w4a4", "--method", "brecq", "--budget-minutes", "0.5"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = report("brecq");
  EXPECT_EQ(json["settings"]["method"], "brecq");
  EXPECT_FALSE(json.contains("training"));
  // However many blocks there was time for.
  size_t steps = 0;
  for (const Json& block : json["reconstruction"]["blocks"]) steps += block["steps"].get<size_t>();
  EXPECT_GT(steps, 0U);
  EXPECT_EQ(json["reconstruction"]["loss"].size(), steps);
}

TEST_F(Training, FollowsReconstruction) {
  const CommandResult result =
      command(*scratch_, quantize("both", {"--bits", "w4a8", "--method", "qdrop", "--gac", "on",
                                           "--budget-minutes", "0.3"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(report("both")["settings"]["method"], "qdrop");
  EXPECT_TRUE(report("both").contains("reconstruction"));
  EXPECT_FALSE(report("both")["training"]["loss"].empty());
}

TEST_F(Training, LearnsFromExactMattesToo) {
  write_truth(*scratch_ / "walk", 12);
  std::vector<std::string> words =
      quantize("float", {"--method", "minmax", "--gac", "on", "--budget-minutes", "0.2"});
  ASSERT_EQ(command(*scratch_, words).exit_code, 0);
  words = quantize("truth", {"--method", "minmax", "--gac", "on", "--budget-minutes", "0.2",
                             "--truth", *scratch_ / "walk"});
  const CommandResult result = command(*scratch_, words);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(report("truth")["taught_by_truth"], true);
  EXPECT_EQ(report("truth")["truth"].size(), 1U);
  EXPECT_FALSE(report("float").contains("taught_by_truth"));
  EXPECT_NE(report("truth")["training"]["loss"], report("float")["training"]["loss"]);

  write_truth(*scratch_ / "brief", 3);
  words.back() = *scratch_ / "brief";
  expect_failure(command(*scratch_, words), 1,
                 "train: brief has 3 frames; training needs 5 of each clip");
}

TEST_F(Training, LooksAtEverythingBeforeTheWork) {
  write_bytes(*scratch_ / "typo.json", R"({"weights": 4, "weight_bits": {"sten": 8}})");
  write_bytes(*scratch_ / "no_video.mp4", "");
  std::vector<std::string> words = quantize("new", {"--policy", *scratch_ / "typo.json"});
  words[3] = *scratch_ / "no_video.mp4";
  expect_failure(command(*scratch_, words), 1, "sten");
  expect_failure(command(*scratch_, quantize("new", {"--bits", "w4a8", "--policy", "w4a4-96"})), 2,
                 "--bits excludes --policy");
  expect_failure(command(*scratch_, quantize("new", {"--budget-minutes", "1e9"})), 2,
                 "--budget-minutes");
  words = quantize("new", {});
  words.back() = "/proc/new.mattec";  // where even root may not write
  expect_failure(command(*scratch_, words), 1, "/proc/new.mattec: cannot be written");
}

TEST_F(Training, RefusesClipsThatDoNotDoBeforeTheWork) {
  const auto refused = [](const std::string& calibration, const std::string& part) {
    std::vector<std::string> words = quantize("new", {"--gac", "on"});
    words[3] = calibration;
    const CommandResult result = command(*scratch_, words);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
    EXPECT_FALSE(fs::exists(*scratch_ / "new.mattec"));
  };
  refused(*scratch_ / "clips/1", "one calibration clip; training needs two");
  fs::create_directory(*scratch_ / "short");
  write_clip(*scratch_ / "short/1", 1, 3);
  write_clip(*scratch_ / "short/2", 2, 12);
  refused(*scratch_ / "short", "clip 1 has 3 frames; training needs 5");
}

}  // namespace
}  // namespace mattec::tools
