// The verbs on a real network: the one inside mattec, from its weights to mattes.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ir/model_file.h"
#include "media/frame_source.h"
#include "nano/clip_generator.h"
#include "nano/embedded.h"
#include "tests/page_check.h"
#include "tests/tools_command.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr ir::Size clip_size = {48, 80};

// frames x generated clip with exact mattes
void write_generated_clip(const std::string& path, int frames) {
  const nano::ClipGenerator generator(7, clip_size.width, clip_size.height);
  fs::create_directories(path);
  const std::unique_ptr<media::FrameSink> source = media::open_sink(path + "/src", {});
  const std::unique_ptr<media::FrameSink> matte = media::open_sink(path + "/pha", {});
  for (int i = 0; i < frames; ++i) {
    const nano::ClipFrame frame = generator.frame(i);
    media::Image colours(clip_size, 3), alpha(clip_size, 1);
    colours.pixels = frame.frame;
    alpha.pixels = frame.alpha;
    source->write(colours, {std::to_string(100 + i)});
    matte->write(alpha, {std::to_string(100 + i)});
  }
  source->finish();
  matte->finish();
}

class Verbs : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = new Scratch;
    write_bytes(weights(), std::string(reinterpret_cast<const char*>(nano::weight_file),
                                       nano::weight_file_size));
    write_generated_clip(clip(), 4);
    const CommandResult result =
        command(*scratch_, {"quantize", weights(), "--calibration", clip(), "--size", "80x48",
                            "--method", "mse", "--truth", clip(), "-o", model()});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    report_ = result.out;
  }
  static void TearDownTestSuite() { delete scratch_; }

  static std::string weights() { return *scratch_ / "nano.safetensors"; }
  static std::string model() { return *scratch_ / "nano.mattec"; }
  static std::string clip() { return *scratch_ / "clip"; }

  static double mad(const std::string& network) {
    const CommandResult result = command(*scratch_, {"eval", network, clip(), "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return Json::parse(result.out)["mean"]["mad"].get<double>();
  }

  static Scratch* scratch_;
  static std::string report_;
};
Scratch* Verbs::scratch_ = nullptr;
std::string Verbs::report_;

// The same network without its foreground.
TEST_F(Verbs, NetworksWithoutForeground) {
  ir::Graph graph = ir::read_model(model());
  graph.outputs.erase(std::remove_if(graph.outputs.begin(), graph.outputs.end(),
                                     [](const ir::Output& output) { return output.name == "fgr"; }),
                      graph.outputs.end());
  const std::string alpha_only = *scratch_ / "alpha_only.mattec";
  ir::write_model(graph, alpha_only);
  EXPECT_NE(command(*scratch_, {"inspect", alpha_only}).out.find("no foreground: composites take"),
            std::string::npos);
  EXPECT_EQ(command(*scratch_, {"inspect", model()}).out.find("no foreground"), std::string::npos);
  EXPECT_EQ(Json::parse(command(*scratch_, {"inspect", alpha_only, "--json"}).out)["foreground"],
            false);
  const CommandResult run = command(*scratch_, {"run", alpha_only, clip() + "/src", "-o",
                                                *scratch_ / "alpha_only", "--composite", "red"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.err.find("the frame's own colours stand in"), std::string::npos) << run.err;
  fs::remove(alpha_only);
  fs::remove_all(*scratch_ / "alpha_only");
}

TEST_F(Verbs, QuantizeReportsAndComparesWithFloat) {
  for (const char* part :
       {"w8a8 by mse", "1 clips", "nano.report.html", "clip, float", "clip, w8a8", "MAD ratio"})
    EXPECT_NE(report_.find(part), std::string::npos) << report_;
}

TEST_F(Verbs, QuantizeWritesAReportOfTheModelItWrote) {
  expect_whole_page(read_bytes(*scratch_ / "nano.report.html"));
  const Json report = Json::parse(read_bytes(*scratch_ / "nano.report.json"));
  EXPECT_EQ(report["settings"],
            Json({{"method", "mse"}, {"gac", "off"}, {"ofa", "off"}, {"seed", "0"}}));
  EXPECT_EQ(report["clips"][0]["name"], "clip");
  const ir::Graph graph = ir::read_model(model());
  size_t layer = 0;
  for (const ir::Op& op : graph.ops) {
    if (op.kind == ir::OpKind::slice) continue;
    ASSERT_LT(layer, report["layers"].size());
    const Json& shown = report["layers"][layer++];
    EXPECT_EQ(shown["name"], op.name);
    EXPECT_EQ(shown["bits"], graph.tensor(op.output).grid->bits);
    EXPECT_LT(shown["error"]["accumulated"], 0.5) << op.name;
  }
  EXPECT_EQ(layer, report["layers"].size());
}

TEST_F(Verbs, QuantizeReportsWhatEvalMeasures) {
  const Json truth = Json::parse(read_bytes(*scratch_ / "nano.report.json"))["truth"];
  ASSERT_EQ(truth.size(), 1U);
  EXPECT_EQ(truth[0]["frames"], 4);
  EXPECT_EQ(truth[0]["float"]["mad"], mad(weights()));
  EXPECT_EQ(truth[0]["quantized"]["mad"], mad(model()));
  EXPECT_EQ(truth[0]["ratio"]["mad"].get<double>(), mad(model()) / mad(weights()));
}

// The options of composed clips mean what they mean to eval.
TEST_F(Verbs, QuantizeComparesOnComposedClipsAsEvalDoes) {
  const std::string set = *scratch_ / "set", file = *scratch_ / "composed.mattec";
  fs::create_directories(set + "/fgr");
  fs::create_directories(set + "/pha");
  fs::copy(clip() + "/src", set + "/fgr/walk");
  fs::copy(clip() + "/pha", set + "/pha/walk");
  const std::vector<std::string> composed = {"--backgrounds", clip() + "/pha",
                                             "--clips",       "2",
                                             "--frames",      "2",
                                             "--motion",      "on",
                                             "--seed",        "5"};
  std::vector<std::string> words = {"quantize", weights(),  "--calibration", clip(),    "--size",
                                    "80x48",    "--method", "minmax",        "--truth", set,
                                    "-o",       file,       "--truth-size",  "40x24"};
  words.insert(words.end(), composed.begin(), composed.end());
  const CommandResult quantized = command(*scratch_, words);
  ASSERT_EQ(quantized.exit_code, 0) << quantized.err;
  EXPECT_NE(quantized.out.find("geometric mean"), std::string::npos) << quantized.out;
  words = {"eval", file, set, "--size", "40x24", "--json"};
  words.insert(words.end(), composed.begin(), composed.end());
  const Json expected = Json::parse(command(*scratch_, words).out)["clips"];
  const Json truth = Json::parse(read_bytes(*scratch_ / "composed.report.json"))["truth"];
  ASSERT_EQ(truth.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(truth[i]["name"], expected[i]["name"]);
    EXPECT_EQ(truth[i]["frames"], 2);
    for (const char* metric : {"mad", "mse", "grad", "conn", "dtssd"})
      EXPECT_EQ(truth[i]["quantized"][metric], expected[i][metric]) << metric;
  }
  for (const std::string& made :
       {set, file, *scratch_ / "composed.report.json", *scratch_ / "composed.report.html"})
    fs::remove_all(made);
}

// The integer network must see the same frames at the same size: a wrong colour order, scale or
// state shows as another matte altogether.
TEST_F(Verbs, EvalGivesTheIntegerNetworkAboutTheFloatOnesError) {
  EXPECT_NEAR(mad(model()) / mad(weights()), 1, 0.25);
}

TEST_F(Verbs, RunWritesFloatAndIntegerMattesAlike) {
  std::vector<std::vector<uint8_t>> pixels;  // of all frames, by network
  for (const std::string& network : {weights(), model()}) {
    const std::string out = *scratch_ / "matte";
    const CommandResult result =
        command(*scratch_, {"run", network, clip() + "/src", "-o", out, "--size", "64x40"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_NE(result.out.find("network at 64x40"), std::string::npos);
    const std::unique_ptr<media::FrameSource> mattes = media::open_source(out, {});
    EXPECT_EQ(mattes->size(), clip_size);
    EXPECT_EQ(mattes->clip().expected_frames, 4);
    pixels.emplace_back();
    for (media::Image matte; mattes->next(matte);)
      for (size_t i = 0; i < matte.pixels.size(); i += 3) pixels.back().push_back(matte.pixels[i]);
    fs::remove_all(out);
  }
  ASSERT_EQ(pixels[0].size(), size_t{4} * clip_size.height * clip_size.width);
  ASSERT_EQ(pixels[1].size(), pixels[0].size());
  const auto [least, most] = std::minmax_element(pixels[0].begin(), pixels[0].end());
  EXPECT_LT(*least, 10);
  EXPECT_GT(*most, 200);
  double sum = 0;
  for (size_t i = 0; i < pixels[0].size(); ++i) sum += std::abs(pixels[0][i] - pixels[1][i]);
  EXPECT_LT(sum / double(pixels[0].size()), 4) << "of 255, on average";
}

TEST_F(Verbs, InspectShowsModelsAsTextAndJson) {
  const CommandResult text = command(*scratch_, {"inspect", model()});
  EXPECT_NE(text.out.find("quantized graph"), std::string::npos);
  const Json report = Json::parse(command(*scratch_, {"inspect", model(), "--json"}).out);
  EXPECT_EQ(report["stage"], "quantized");
  EXPECT_EQ(report["states"].size(), 4U);
  EXPECT_EQ(Json::parse(command(*scratch_, {"inspect", weights(), "--json"}).out)["stage"],
            "imported");
}

TEST_F(Verbs, QuantizeRefusesWhatItCannotDo) {
  const auto quantize = [](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"quantize", weights(), "-o", *scratch_ / "new.mattec"};
    words.insert(words.end(), more.begin(), more.end());
    return command(*scratch_, words);
  };
  expect_failure(quantize({"--calibration", clip(), "--policy", "w2a2"}), 2, "--policy w2a2");
  expect_failure(quantize({"--calibration", clip(), "--policy", "none.json"}), 1, "none.json");
  expect_failure(quantize({"--calibration", clip(), "--method", "brecq"}), 1,
                 "one calibration clip; training needs two");
  expect_failure(quantize({"--calibration", "no/folder"}), 1, "no/folder: no such file or folder");
  fs::create_directory(*scratch_ / "empty");
  expect_failure(quantize({"--calibration", *scratch_ / "empty"}), 1, "holds no clips");
  expect_failure(
      quantize({"--calibration", clip(), "--size", "1x1", "-o", *scratch_ / "no/new.mattec"}), 2,
      "--output");
  // Before the work: quantizing takes minutes.
  expect_failure(quantize({"--calibration", clip(), "--truth", "no/clip"}), 1, "no/clip: no such");
  for (const char* option : {"--frames", "--backgrounds"})
    expect_failure(quantize({"--calibration", clip(), option, "2"}), 2, "--truth");
  fs::create_directory(*scratch_ / "new.report.html");
  expect_failure(quantize({"--calibration", clip()}), 1, "new.report.html: is a folder");
  fs::remove(*scratch_ / "new.report.html");
  {
    const FileSizeLimit limit(10000);  // a full disk
    expect_failure(quantize({"--calibration", clip(), "--size", "80x48", "--method", "minmax"}), 1,
                   "new.mattec: cannot be written: File too large; free some space");
  }
  // Weights, clip, model, its reports, empty, the standard streams' files.
  EXPECT_EQ(scratch_->entries(), 8U);
}

// The way to a product and back: what the library computes, eval and run see, to the last digit.
TEST_F(Verbs, CompileGivesALibraryThatEqualsTheModel) {
  const std::string out = *scratch_ / "product";
  const CommandResult compiled =
      command(*scratch_, {"compile", model(), "--target", "host,x86-64-avx2", "--size", "80x48",
                          "--name", "nano", "-o", out});
  ASSERT_EQ(compiled.exit_code, 0) << compiled.err;
  for (const char* file : {"libnano.a", "nano.h", "nano.json", "mattec.h"})
    EXPECT_TRUE(fs::exists(out + "/x86-64-avx2/" + file)) << file;
  EXPECT_NE(compiled.out.find("host/libnano.a"), std::string::npos) << compiled.out;
  const std::string expected =
      command(*scratch_, {"eval", model(), clip(), "--size", "80x48", "--json"}).out;
  for (const std::string& library : {out, out + "/x86-64-avx2", out + "/host/libnano.a"}) {
    const CommandResult result =
        command(*scratch_, {"eval", library, clip(), "--json", "--threads", "2"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.out, expected) << library;
  }
  const Json report = Json::parse(command(*scratch_, {"inspect", out + "/host", "--json"}).out);
  EXPECT_GT(report["weight_bytes"], 0);
  EXPECT_GT(report["arena_bytes"], 0);
  EXPECT_GT(report["kernels"].size(), 10U);
  uint64_t dot_products = 0;  // of all: which kernels have any depends on the host
  for (const Json& kernel : report["kernels"]) {
    dot_products += kernel["dot_products"].get<uint64_t>();
    EXPECT_GT(kernel["schedule"]["lanes"].get<int>(), 0) << kernel["symbol"];
  }
  EXPECT_GT(dot_products, 0U);
}

TEST_F(Verbs, CompileRefusesWhatItCannotDo) {
  const auto compile = [](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"compile", model(), "-o", *scratch_ / "none"};
    words.insert(words.end(), more.begin(), more.end());
    return command(*scratch_, words);
  };
  expect_failure(compile({"--target", "host"}), 2, "--size is required");
  expect_failure(command(*scratch_, {"compile", weights(), "--target", "host", "--size", "64x64",
                                     "-o", *scratch_ / "none"}),
                 1, "nano.safetensors");
  expect_failure(command(*scratch_, {"compile", model(), "--target", "host", "--size", "64x64",
                                     "-o", weights()}),
                 1, "is no folder");
  {
    const FileSizeLimit limit(100000);  // a full disk, at the archive
    expect_failure(compile({"--size", "64x64", "--target", "host"}), 1,
                   "none/host/librvm.a: cannot be written: File too large; free some space");
  }
  EXPECT_FALSE(fs::exists(*scratch_ / "none"));
}

// From --bits or --policy to mattes: the file has the bits, and library and interpreter give the
// same pictures.
class LowBits : public Verbs {
 protected:
  // Path of a network quantized with `options`.
  static std::string quantized(const std::string& name, const std::vector<std::string>& options) {
    std::string file = *scratch_ / (name + ".mattec");
    std::vector<std::string> words = {
        "quantize", weights(), "--calibration", clip(), "--size", "80x48", "-o", file};
    words.insert(words.end(), options.begin(), options.end());
    const CommandResult result = command(*scratch_, words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return file;
  }

  static std::string policy_file(const std::string& text) {
    write_bytes(*scratch_ / "policy.json", text);
    return *scratch_ / "policy.json";
  }

  static void expect_same_mattes(const std::string& file) {
    const std::string library = *scratch_ / "low", mattes[] = {*scratch_ / "a", *scratch_ / "b"};
    const CommandResult compiled =
        command(*scratch_, {"compile", file, "--target", "host", "--size", "80x48", "-o", library});
    ASSERT_EQ(compiled.exit_code, 0) << compiled.err;
    const std::string networks[] = {file, library};
    for (int i = 0; i < 2; ++i) {
      const CommandResult result =
          command(*scratch_, {"run", networks[i], clip() + "/src", "-o", mattes[i]});
      ASSERT_EQ(result.exit_code, 0) << result.err;
    }
    int compared = 0;
    for (const auto& entry : fs::directory_iterator(mattes[0])) {
      const std::string picture = entry.path().filename().string();
      EXPECT_EQ(read_bytes(entry.path().string()), read_bytes(mattes[1] + "/" + picture))
          << picture;
      ++compared;
    }
    EXPECT_EQ(compared, 4);
    for (const std::string& folder : {library, mattes[0], mattes[1]}) fs::remove_all(folder);
  }
};

int convolutions_of(const ir::Graph& graph, int weight_bits) {
  int count = 0;
  for (const ir::Op& op : graph.ops)
    count += op.kind == ir::OpKind::conv && op.conv.weight_bits == weight_bits ? 1 : 0;
  return count;
}

int tensors_of(const ir::Graph& graph, int bits) {
  int count = 0;
  for (const ir::Tensor& tensor : graph.tensors) count += tensor.grid->bits == bits ? 1 : 0;
  return count;
}

TEST_F(LowBits, OfWeightsAlone) {
  const std::string file = quantized("w4a8", {"--bits", "w4a8", "--method", "mse"});
  const ir::Graph graph = ir::read_model(file);
  EXPECT_EQ(convolutions_of(graph, 8), 0);
  EXPECT_GT(convolutions_of(graph, 4), 10);
  EXPECT_EQ(tensors_of(graph, 4), 0);
  fs::remove(file);
}

TEST_F(LowBits, ByTheMeasuredPolicy) {
  const std::string file = quantized("w4a4", {"--bits", "w4a4", "--method", "gptq"});
  const ir::Graph graph = ir::read_model(file);
  EXPECT_GT(convolutions_of(graph, 4), 10);
  EXPECT_GT(tensors_of(graph, 4), 10);
  expect_same_mattes(file);
  fs::remove(file);
}

TEST_F(LowBits, ByAPolicyFile) {
  const ir::Graph wide = ir::read_model(model());
  const auto stem = std::find_if(wide.ops.begin(), wide.ops.end(),
                                 [](const ir::Op& op) { return op.kind == ir::OpKind::conv; });
  const std::string policy = policy_file(R"({"weights": 4, "activations": 4, "weight_bits": {")" +
                                         stem->name + R"(": 8}})");
  const std::string file = quantized("mixed", {"--policy", policy, "--method", "mse"});
  const ir::Graph graph = ir::read_model(file);
  EXPECT_EQ(convolutions_of(graph, 8), 1);
  EXPECT_EQ(graph.ops[static_cast<size_t>(graph.producer(stem->output))].conv.weight_bits, 8);
  EXPECT_GT(tensors_of(graph, 4), 10);
  expect_same_mattes(file);
  fs::remove(file);
  fs::remove(policy);
}

TEST_F(LowBits, OfABadPolicyFileWriteNothing) {
  const size_t before = scratch_->entries();
  const struct {
    const char *text, *complaint;
  } cases[] = {
      {"{\"weights\": 4", "policy.json: is not JSON"},
      {R"({"weights": 6})", "policy.json: \"weights\" must be 4 or 8"},
      {R"({"bits": 4})", "policy.json: \"bits\" is unknown; a bit policy has weights"},
      {R"({"weight_bits": {"nose": 4}})", "has no convolution \"nose\"; mattec inspect lists them"},
      {R"({"activation_bits": {"nose": 4}})", "no tensor, or tensor > convolution, \"nose\""},
  };
  for (const auto& bad : cases)
    expect_failure(command(*scratch_, {"quantize", weights(), "--calibration", clip(), "--size",
                                       "80x48", "--method", "minmax", "--policy",
                                       policy_file(bad.text), "-o", *scratch_ / "new.mattec"}),
                   1, bad.complaint);
  fs::remove(*scratch_ / "policy.json");
  EXPECT_EQ(scratch_->entries(), before);
}

// A damaged model is one error, whichever verb meets it.
TEST_F(Verbs, RefuseDamagedModels) {
  const std::string bytes = read_bytes(model());
  const std::string damaged = *scratch_ / "damaged.mattec";
  write_bytes(damaged, bytes.substr(0, bytes.size() / 2));
  expect_failure(command(*scratch_, {"eval", damaged, clip()}), 1, "damaged.mattec");
  write_bytes(damaged, read_bytes(weights()));
  expect_failure(command(*scratch_, {"inspect", damaged}), 1, "damaged.mattec");
}

}  // namespace
}  // namespace mattec::tools
