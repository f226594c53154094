// The report of `mattec quantize` on a small network: its numbers beside the graph's, the page's
// form, and what of the files is there where writing fails.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "ir/model_file.h"
#include "quant/calibrate.h"
#include "tests/page_check.h"
#include "tests/scratch.h"
#include "tests/small_matting_network.h"
#include "tools/quantize_report.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr char odd_name[] = "a<b>&\"c\".mp4";

QuantizeReport report_of_small_network(const std::string& output) {
  const ir::Graph fused = mattec::testing::SmallMattingNetwork(1).graph;
  const std::vector<quant::Clip> clips = {mattec::testing::moving_pattern(34, 26, 5, 1),
                                          mattec::testing::moving_pattern(660, 20, 5, 2)};
  quant::CalibrationOptions options;
  options.window = 5;
  QuantizeReport report;
  report.record.policy.weights = report.record.policy.activations = 4;
  report.record.policy.weight_bits = {{"stem", 8}};
  report.quantized =
      quant::quantize(fused, quant::observe(fused, clips, options), report.record.policy, options);
  report.quantized.name = "small-network";
  report.record.comparison = quant::compare_layers(fused, report.quantized, clips, 2);
  report.record.compared = {2, 0};
  report.model = "folder/net<1>.safetensors";
  report.output = output;
  report.bits = "w4a4";
  report.settings = {{"method", "gptq"}, {"seed", "3"}};
  report.seconds = 12.34;
  report.size = {26, 34};
  report.clips = {"clips/walk/src", "clips/run.mp4", std::string("clips/") + odd_name};
  return report;
}

// Made once: calibration takes a second.
const QuantizeReport& small_report() {
  static const QuantizeReport report = report_of_small_network("out/x.mattec");
  return report;
}

const ir::Op& op_of(const std::string& name) {
  return mattec::testing::op_named(small_report().quantized, name);
}

Json layer_of(const Json& json, const std::string& name) {
  for (const Json& layer : json["layers"])
    if (layer["name"] == name) return layer;
  throw Error("no layer " + name);
}

TEST(QuantizeReport, JsonSaysWhatWasDone) {
  const Json json = Json::parse(report_json(small_report()));
  EXPECT_EQ(json["network"], "small-network");
  EXPECT_EQ(json["model"], "net<1>.safetensors");
  EXPECT_EQ(json["output"], "x.mattec");
  EXPECT_EQ(json["bits"], "w4a4");
  EXPECT_EQ(json["settings"], Json({{"method", "gptq"}, {"seed", "3"}}));
  EXPECT_EQ(json["seconds"], 12.34);
  EXPECT_EQ(json["size"], "34x26");
  EXPECT_EQ(json["policy"]["weight_bits"], Json({{"stem", 8}}));
  EXPECT_EQ(json["clips"][0]["name"], odd_name);
  EXPECT_EQ(json["clips"][1]["name"], "walk");
  EXPECT_EQ(json["clips"][1]["alpha_difference"],
            small_report().record.comparison.clips[1].alpha_difference);
  EXPECT_FALSE(json.contains("truth"));
  EXPECT_FALSE(json.contains("training"));
  EXPECT_FALSE(json.contains("reconstruction"));
}

TEST(QuantizeReport, JsonCountsWeightsAndProducts) {
  const Json json = Json::parse(report_json(small_report()));
  int64_t bytes = 0;  // two to a byte but the stem's; all counts are even
  for (const ir::Op& op : small_report().quantized.ops)
    bytes += static_cast<int64_t>(op.conv.quantized_weight.size()) / (op.name == "stem" ? 1 : 2);
  EXPECT_EQ(json["weight_bytes"], bytes);
  const double share = json["multiplications"]["share_4x4"].get<double>();
  EXPECT_EQ(share, quant::low_bit_share(small_report().quantized, {26, 34}).share);
  EXPECT_GT(share, 0.3);
}

TEST(QuantizeReport, JsonHasEveryLayersGridAndErrors) {
  const Json json = Json::parse(report_json(small_report()));
  const std::vector<quant::LayerError>& errors = small_report().record.comparison.layers;
  ASSERT_EQ(json["layers"].size(), errors.size());
  for (size_t i = 0; i < errors.size(); ++i) {
    const Json& layer = json["layers"][i];
    EXPECT_EQ(layer["name"], errors[i].name);
    EXPECT_EQ(layer["error"], Json({{"weights", errors[i].weights},
                                    {"own", errors[i].own},
                                    {"accumulated", errors[i].accumulated}}));
    const ir::Grid& grid = *small_report().quantized.tensor(op_of(errors[i].name).output).grid;
    EXPECT_EQ(layer["bits"], grid.bits);
    EXPECT_EQ(layer["scale"][0].get<float>(),
              *std::min_element(grid.scale.begin(), grid.scale.end()));
    EXPECT_EQ(layer["scale"][1].get<float>(),
              *std::max_element(grid.scale.begin(), grid.scale.end()));
    EXPECT_EQ(layer["zero_point"][0],
              *std::min_element(grid.zero_point.begin(), grid.zero_point.end()));
    EXPECT_EQ(layer["zero_point"][1],
              *std::max_element(grid.zero_point.begin(), grid.zero_point.end()));
  }
  EXPECT_EQ(layer_of(json, "stem")["weight_bits"], 8);
  EXPECT_EQ(layer_of(json, "project")["weight_bits"], 4);
  EXPECT_EQ(layer_of(json, "project")["input_bits"], Json({4})) << "the residual is none";
  EXPECT_EQ(layer_of(json, "stem")["input_bits"], Json({8}));
  EXPECT_EQ(layer_of(json, "last")["input_bits"].size(), 3U);
  EXPECT_FALSE(layer_of(json, "pool").contains("weight_bits"));
}

TEST(QuantizeReport, SaysWhatReconstructionDidToEachBlock) {
  QuantizeReport report = small_report();
  report.record.reconstruction.loss = {1, 0.5, 0.75};
  report.record.reconstruction.blocks = {{"stem & <dw>", 2, 0.5, 0.875}, {"last", 1, 0.5, 1.25}};
  const Json json = Json::parse(report_json(report))["reconstruction"];
  EXPECT_EQ(json["loss"], Json::parse("[1, 0.5, 0.75]"));
  EXPECT_EQ(json["blocks"], Json::parse(R"([
      {"name": "stem & <dw>", "steps": 2, "ratio": 0.5, "alpha_ratio": 0.875, "kept": true},
      {"name": "last", "steps": 1, "ratio": 0.5, "alpha_ratio": 1.25, "kept": false}])"));
  const std::string html = report_html(report);
  EXPECT_NE(html.find("stem &amp; &lt;dw&gt;"), std::string::npos);
  EXPECT_NE(html.find("87.5 %"), std::string::npos);
  EXPECT_NE(html.find("125.0 %"), std::string::npos);
}

quant::LayerError& error_at(quant::LayerComparison& comparison, const std::string& layer) {
  return *std::find_if(comparison.layers.begin(), comparison.layers.end(),
                       [&layer](const quant::LayerError& error) { return error.name == layer; });
}

// In another order: layers go by their names.
TEST(QuantizeReport, SaysWhatErrorsWereBeforeTraining) {
  QuantizeReport report = small_report();
  error_at(report.record.comparison, "stem") = {"stem", 0.125, 0.0625, 0.5};
  report.record.comparison.clips[1].alpha_difference = 0.25;
  report.record.before = small_report().record.comparison;
  error_at(*report.record.before, "stem") = {"stem", 0.5, 0.25, 0.75};
  report.record.before->clips[1].alpha_difference = 0.375;
  std::reverse(report.record.before->layers.begin(), report.record.before->layers.end());
  const Json json = Json::parse(report_json(report));
  const Json stem = layer_of(json, "stem");
  EXPECT_EQ(stem["error"], Json({{"weights", 0.125}, {"own", 0.0625}, {"accumulated", 0.5}}));
  EXPECT_EQ(stem.at("error_before"),
            Json({{"weights", 0.5}, {"own", 0.25}, {"accumulated", 0.75}}));
  for (const Json& layer : json["layers"])
    EXPECT_EQ(layer.at("error_before") == layer["error"], layer["name"] != "stem") << layer["name"];
  EXPECT_EQ(json["clips"][1]["alpha_difference"], 0.25);
  EXPECT_EQ(json["clips"][1].at("alpha_difference_before"), 0.375);
  const std::string page = report_html(report);
  expect_whole_page(page);
  for (const char* part :
       {">50.00 \u2192 12.50 %<", ">25.00 \u2192 6.25 %<", ">75.00 \u2192 50.00 %<",
        "a \u2192 b, the first is the rounded network's", "<td>375.000</td><td>250.000</td>",
        "<th>after</th>"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
}

TEST(QuantizeReport, HasNoBeforeWhereNothingWasTrained) {
  const std::string json = report_json(small_report()), page = report_html(small_report());
  EXPECT_EQ(json.find("before"), std::string::npos);
  for (const char* part : {"before", "\u2192", "<th>after</th>"})
    EXPECT_EQ(page.find(part), std::string::npos) << part;
  EXPECT_NE(page.find("<th>mean |alpha - float alpha| e-3</th></tr>"), std::string::npos);
}

TEST(QuantizeReport, SaysWhereTrainingEndedEarly) {
  QuantizeReport report = small_report();
  report.record.training.loss = {0.5, 0.25};
  report.record.training.validation = {{0, 0.75}};
  report.record.planned_steps = 2;
  EXPECT_EQ(Json::parse(report_json(report))["training"]["planned_steps"], 2);
  EXPECT_EQ(report_html(report).find("ended early"), std::string::npos);
  report.record.planned_steps = 5;
  EXPECT_EQ(Json::parse(report_json(report))["training"]["planned_steps"], 5);
  const std::string early = "Training ended early, after 2 of the 5 steps planned";
  EXPECT_NE(report_html(report).find(early), std::string::npos);
}

TEST(QuantizeReport, SaysWhereTheTruthClipsTaught) {
  const std::string learned = "learned from the exact mattes of";
  QuantizeReport report = small_report();
  report.truth.resize(1);
  report.record.training.loss = {0.5};
  EXPECT_FALSE(Json::parse(report_json(report)).contains("taught_by_truth"));
  EXPECT_EQ(report_html(report).find(learned), std::string::npos);
  report.record.taught_by_truth = true;
  EXPECT_EQ(Json::parse(report_json(report))["taught_by_truth"], true);
  const std::string page = report_html(report);
  expect_whole_page(page);
  EXPECT_NE(page.find("(GAC, OFA) " + learned + " these very clips"), std::string::npos);
  EXPECT_NE(page.find("It " + learned + " --truth"), std::string::npos);
  report.truth.clear();  // not compared yet
  EXPECT_EQ(Json::parse(report_json(report))["taught_by_truth"], true);
}

TEST(QuantizeReport, JsonHasCurvesAndTruthWhereThereAreSome) {
  QuantizeReport report = small_report();
  report.record.training.loss = {0.5, 0.25};
  report.record.training.validation = {{0, 0.75}};
  report.record.training.best_step = 1;
  report.truth.resize(2);
  report.truth[0].clip = "walk";
  report.truth[0].with_float = {48, 4, 1, 2, 3, 2.5};
  report.truth[0].quantized = {48, 6, 1, 2, 3, 2};
  report.truth[1].clip = "still";  // no error, so nothing to divide by
  const Json json = Json::parse(report_json(report));
  EXPECT_EQ(json["training"]["loss"], Json::parse("[[1, 0.5], [2, 0.25]]"));
  EXPECT_EQ(json["training"]["validation"], Json::parse("[[0, 0.75]]"));
  EXPECT_EQ(json["training"]["best_step"], 1);
  const Json& walk = json["truth"][0];
  EXPECT_EQ(walk["name"], "walk");
  EXPECT_EQ(walk["frames"], 48);
  EXPECT_EQ(walk["float"]["mad"], 4);
  EXPECT_EQ(walk["quantized"]["dtssd"], 2);
  EXPECT_EQ(walk["ratio"], Json({{"mad", 1.5}, {"dtssd", 0.8}}));
  EXPECT_TRUE(json["truth"][1]["ratio"]["mad"].is_null());
  const std::string page = report_html(report);
  expect_whole_page(page);
  for (const char* part :
       {"<h2>Training</h2>", ">loss<", ">validation error<", ">1.500<", ">still<"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
}

TEST(TruthComparison, AveragesRatiosGeometrically) {
  std::vector<TruthComparison> clips(3);
  const double mads[] = {2, 4, 0.5}, dtssds[] = {1, 1, 8};
  for (size_t i = 0; i < 3; ++i) {
    clips[i].with_float.mad = clips[i].with_float.dtssd = static_cast<double>(i + 1);
    clips[i].quantized.mad = mads[i] * static_cast<double>(i + 1);
    clips[i].quantized.dtssd = dtssds[i] * static_cast<double>(i + 1);
  }
  EXPECT_NEAR(geometric_mean(clips, &TruthComparison::mad_ratio), std::cbrt(4.0), 1e-12);
  EXPECT_NEAR(geometric_mean(clips, &TruthComparison::dtssd_ratio), 2, 1e-12);
}

TEST(QuantizeReport, PageIsWholeWhateverTheNames) {
  const std::string page = report_html(small_report());
  expect_whole_page(page);
  for (const char* part :
       {"small-network", "net&lt;1&gt;.safetensors", "a&lt;b&gt;&amp;&quot;c&quot;.mp4", "gptq",
        "w4a4", "34x26", "convolutions with 8-bit weights"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
  for (const quant::LayerError& error : small_report().record.comparison.layers)
    EXPECT_NE(page.find("<td>" + error.name + "</td>"), std::string::npos) << error.name;
  EXPECT_EQ(page.find("<h2>Training</h2>"), std::string::npos);
  EXPECT_EQ(page.find("On clips whose"), std::string::npos);
}

TEST(QuantizeReport, NamesThatAreNoUtf8DoNoHarm) {
  QuantizeReport report = small_report();
  report.clips[2] = "clips/\xFF.mp4";
  EXPECT_EQ(Json::parse(report_json(report))["clips"][0]["name"], "\xEF\xBF\xBD.mp4");
  expect_whole_page(report_html(report));
}

TEST(QuantizeReport, IsWrittenBesideTheModel) {
  const Scratch scratch;
  QuantizeReport report = small_report();
  report.output = scratch / "x.w4a4.mattec";
  write_with_report(report);
  EXPECT_EQ(scratch.entries(), 3U);
  EXPECT_EQ(ir::read_model(report.output).ops.size(), report.quantized.ops.size());
  EXPECT_EQ(read_bytes(scratch / "x.w4a4.report.json"), report_json(report));
  EXPECT_EQ(read_bytes(scratch / "x.w4a4.report.html"), report_html(report));
  report.seconds = 99;
  write_report(report);
  EXPECT_EQ(read_bytes(scratch / "x.w4a4.report.json"), report_json(report));
  EXPECT_EQ(scratch.entries(), 3U);
}

TEST(QuantizeReport, ThroughALinkReplacesTheFileBehindIt) {
  const Scratch scratch;
  QuantizeReport report = small_report();
  report.output = scratch / "link.mattec";
  fs::create_directory(scratch / "models");
  write_bytes(scratch / "models/file.mattec", "old");
  fs::create_symlink("models/file.mattec", report.output);
  write_with_report(report);
  EXPECT_TRUE(fs::is_symlink(report.output));
  EXPECT_FALSE(fs::is_symlink(scratch / "models/file.mattec"));
  EXPECT_EQ(ir::read_model(scratch / "models/file.mattec").name, report.quantized.name);
}

// A full disk, at each of the three files: the earlier ones do not appear either.
TEST(QuantizeReport, IsAllThreeFilesOrNone) {
  const Scratch scratch;
  QuantizeReport report = small_report();
  report.output = scratch / "whole.mattec";
  write_with_report(report);
  const uintmax_t model = fs::file_size(report.output), json = report_json(report).size(),
                  page = report_html(report).size();
  ASSERT_LT(model, page) << "the limits below tell the files apart by size";
  ASSERT_LT(json, page);
  for (const uintmax_t limit : {uintmax_t{1000}, std::max(model, json)}) {
    const FileSizeLimit full_disk(limit);
    report.output = scratch / "none.mattec";
    const std::string error = error_of([&] { write_with_report(report); });
    EXPECT_NE(
        error.find(limit == 1000 ? "none.mattec: cannot be written" : "none.report.html: cannot"),
        std::string::npos)
        << error;
    EXPECT_EQ(scratch.entries(), 3U) << error;
  }
}

// Something in the way of the last report: the model is not there, or it would have no report.
TEST(QuantizeReport, LeavesNoModelWithoutItsReports) {
  const Scratch scratch;
  QuantizeReport report = small_report();
  report.output = scratch / "x.mattec";
  fs::create_directory(scratch / "x.report.html");
  const std::string error = error_of([&] { write_with_report(report); });
  EXPECT_NE(error.find("x.report.html: cannot be put in place"), std::string::npos) << error;
  EXPECT_FALSE(fs::exists(report.output));
}

}  // namespace
}  // namespace mattec::tools
