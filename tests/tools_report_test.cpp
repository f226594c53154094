// What eval, bench and inspect print: JSON for programs, exactly one object; tables for people.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/sealed_manifest.h"
#include "tests/tools_command.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& item : object.items()) keys.push_back(item.key());
  return keys;
}

Json json_of(const CommandResult& result) {
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  return Json::parse(result.out);
}

void write_uniform(const std::string& path, ir::Size size, const std::vector<int>& values,
                   int channels) {
  const std::unique_ptr<media::FrameSink> sink = media::open_sink(path, {});
  media::Image image(size, channels);
  for (size_t i = 0; i < values.size(); ++i) {
    std::fill(image.pixels.begin(), image.pixels.end(), static_cast<uint8_t>(values[i]));
    sink->write(image, {std::to_string(i)});
  }
  sink->finish();
}

// A clip whose frames are grey: the fake network's alpha is that grey (or half the one before).
void write_truth_clip(const std::string& path, ir::Size size, const std::vector<int>& greys,
                      const std::vector<int>& mattes) {
  fs::create_directory(path);
  write_uniform(path + "/src", size, greys, 3);
  write_uniform(path + "/pha", size, mattes, 1);
}

TEST(Eval, JsonHasTheAgreedShapeAndTheRightNumbers) {
  const Scratch scratch;
  write_truth_clip(scratch / "first", {8, 16}, {100, 100}, {151, 100});
  write_truth_clip(scratch / "second", {40, 20}, {51, 51}, {51, 51});
  const Json report = json_of(
      command(scratch, {"eval", FAKE_LIBRARY, scratch / "first/", scratch / "second", "--json"}));
  EXPECT_EQ(keys_of(report), (std::vector<std::string>{"clips", "mean"}));
  ASSERT_EQ(report["clips"].size(), 2U);
  const Json& first = report["clips"][0];
  EXPECT_EQ(keys_of(first),
            (std::vector<std::string>{"name", "frames", "mad", "mse", "grad", "conn", "dtssd"}));
  EXPECT_EQ(keys_of(report["mean"]),
            (std::vector<std::string>{"mad", "mse", "grad", "conn", "dtssd"}));
  EXPECT_EQ(first["name"], "first");
  EXPECT_EQ(first["frames"], 2);
  EXPECT_NEAR(first["mad"].get<double>(), 100, 1e-4);   // |100 - 151| / 255 = 0.2, then 0
  EXPECT_NEAR(first["mse"].get<double>(), 20, 1e-4);    // 0.04 and 0
  EXPECT_NEAR(first["dtssd"].get<double>(), 10, 1e-4);  // 0, then 0.2
  EXPECT_EQ(report["clips"][1]["mad"], 0);  // the states of the first clip must not reach here
  EXPECT_NEAR(report["mean"]["mad"].get<double>(), 50, 1e-4);
}

TEST(Eval, TableNamesEveryClipAndTheMean) {
  const Scratch scratch;
  write_truth_clip(scratch / "walk", {8, 16}, {100}, {100});
  const CommandResult result =
      command(scratch, {"eval", FAKE_LIBRARY, scratch / "walk", scratch / "walk"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* part : {"MAD", "MSE", "Grad", "Conn", "dtSSD", "walk", "mean"})
    EXPECT_NE(result.out.find(part), std::string::npos) << result.out;
}

TEST(Eval, NamesWhatAClipLacks) {
  const Scratch scratch;
  fs::create_directory(scratch / "clip");
  const std::vector<std::string> arguments = {"eval", FAKE_LIBRARY, scratch / "clip", "--json"};
  expect_failure(command(scratch, arguments), 1, "has no folder src");
  write_uniform(scratch / "clip/src", {4, 4}, {1, 2}, 3);
  expect_failure(command(scratch, arguments), 1, "has no folder pha");
  write_uniform(scratch / "clip/pha", {4, 4}, {1}, 1);
  expect_failure(command(scratch, arguments), 1, "has 2 frames, but ");
  fs::remove_all(scratch / "clip/pha");
  write_uniform(scratch / "clip/pha", {4, 5}, {1, 2}, 1);
  expect_failure(command(scratch, arguments), 1, "its frames are 4x4, but the mattes in ");
  fs::remove_all(scratch / "clip/pha");
  fs::create_directory(scratch / "clip/pha");
  expect_failure(command(scratch, arguments), 1, "holds no images");
}

// White before black is its own matte, which is what the fake network answers.
TEST(Eval, ComposesForegroundsWithBackgrounds) {
  const Scratch scratch;
  for (const char* folder : {"set", "set/fgr", "set/pha", "backs"})
    fs::create_directory(scratch / folder);
  write_uniform(scratch / "set/fgr/walk", {40, 80}, {255, 255, 255}, 3);
  write_uniform(scratch / "set/pha/walk", {40, 80}, {51, 102, 204}, 1);
  write_uniform(scratch / "backs/night", {9, 9}, {0}, 3);
  const std::vector<std::string> arguments = {
      "eval",     FAKE_LIBRARY, scratch / "set", "--backgrounds", scratch / "backs", "--clips", "2",
      "--frames", "2",          "--motion",      "off",           "--json"};
  const Json clips = json_of(command(scratch, arguments))["clips"];
  ASSERT_EQ(clips.size(), 2U);
  for (const Json& clip : clips) {
    EXPECT_EQ(clip["name"], "walk on night");
    EXPECT_EQ(clip["frames"], 2);
    EXPECT_EQ(clip["mad"], 0);
  }
  for (const char* option : {"--clips", "--seed"})
    expect_failure(command(scratch, {"eval", FAKE_LIBRARY, scratch / "set", option, "2"}), 2,
                   "--backgrounds");
  expect_failure(command(scratch, {"eval", FAKE_LIBRARY, scratch / "set"}), 1, "--backgrounds");
}

TEST(Bench, JsonHasTheAgreedShape) {
  const Scratch scratch;
  fs::create_directories(scratch / "product/some-target");
  fs::copy(FAKE_LIBRARY, scratch / "product/some-target/libfake.a");
  write_manifest(scratch / "product/some-target/fake.json",
                 {{"name", "fake"}, {"target", "some-target"}, {"gmac", 0.5}}, FAKE_LIBRARY);
  const Json report =
      json_of(command(scratch, {"bench", scratch / "product", "--iterations", "5", "--json"}));
  ASSERT_EQ(report["results"].size(), 1U);
  const Json& result = report["results"][0];
  EXPECT_EQ(keys_of(result),
            (std::vector<std::string>{"library", "target", "size", "threads", "ms_min", "ms_median",
                                      "gmac", "percent_of_peak"}));
  EXPECT_EQ(result["library"], scratch / "product/some-target/libfake.a");
  EXPECT_EQ(result["target"], "some-target");
  EXPECT_EQ(result["size"], "16x8");
  EXPECT_EQ(result["threads"], 1);
  EXPECT_EQ(result["gmac"], 0.5);
  EXPECT_GT(result["ms_min"].get<double>(), 0);
  EXPECT_GE(result["ms_median"].get<double>(), result["ms_min"].get<double>());
}

TEST(Bench, MeasuresWhatRunsHereAndNamesTheRest) {
  const Scratch scratch;
  for (const char* target : {"a", "b"})
    fs::create_directories(scratch / (std::string("product/") + target));
  fs::copy(FAKE_LIBRARY, scratch / "product/a/libfake.a");
  fs::copy(FOREIGN_LIBRARY, scratch / "product/b/libfake.a");
  const CommandResult result =
      command(scratch, {"bench", scratch / "product", "--iterations", "2"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("product/b/libfake.a: the processor lacks"), std::string::npos);
  EXPECT_NE(result.out.find("product/a/libfake.a"), std::string::npos);
}

TEST(Inspect, ReadsALibrarysMachineCode) {
  const Scratch scratch;
  const Json report = json_of(command(scratch, {"inspect", FAKE_LIBRARY, "--json"}));
  EXPECT_GT(report["text_bytes"], 200);
  EXPECT_EQ(report["data_bytes"], 0);
  EXPECT_GT(report["stack_bytes"], 0);
  EXPECT_EQ(report["exported_symbols"], Json({"fake_model"}));
  const Json undefined =
      json_of(command(scratch, {"inspect", UNDEFINED_LIBRARY, "--json"}))["undefined_symbols"];
  EXPECT_NE(std::find(undefined.begin(), undefined.end(), "fake_missing_function"),
            undefined.end());
}

TEST(Inspect, ReportsADamagedManifestAndLibrary) {
  const Scratch scratch;
  fs::copy(FAKE_LIBRARY, scratch / "libfake.a");
  write_bytes(scratch / "fake.json", "{\"name\": ");
  expect_failure(command(scratch, {"inspect", scratch / "libfake.a"}), 1,
                 "fake.json: has no checksum of mattec's");
  write_bytes(scratch / "libfake.a", "!<arch>\nbroken");
  expect_failure(command(scratch, {"inspect", scratch / "libfake.a"}), 1, "libfake.a");
}

}  // namespace
}  // namespace mattec::tools
