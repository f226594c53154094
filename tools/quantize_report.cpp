#include "tools/quantize_report.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "ir/model_file.h"
#include "quant/policy.h"
#include "tools/staged_path.h"
#include "tools/verbs.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// "clips/walk.mp4" -> "walk.mp4", "clips/dancer/src" -> "dancer"
std::string clip_name(const std::string& path) {
  fs::path normal = fs::path(path).lexically_normal();
  if (!normal.has_filename()) normal = normal.parent_path();
  const bool inner = normal.filename() == "src" && normal.has_parent_path();
  return (inner ? normal.parent_path() : normal).filename().string();
}

template <typename Number>
Json range_of(const std::vector<Number>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return {*low, *high};
}

const ir::Op& op_named(const ir::Graph& graph, const std::string& name) {
  return *std::find_if(graph.ops.begin(), graph.ops.end(),
                       [&name](const ir::Op& op) { return op.name == name; });
}

Json layer_json(const ir::Graph& graph, const quant::LayerError& error) {
  const ir::Op& op = op_named(graph, error.name);
  const ir::Tensor& tensor = graph.tensor(op.output);
  Json layer = {{"name", op.name}, {"kind", ir::name_of(op.kind)}};
  if (op.kind == ir::OpKind::conv) {
    layer["weight_bits"] = op.conv.weight_bits;
    for (int j = 0; j < op.segment_count(); ++j)
      layer["input_bits"].push_back(graph.tensor(op.inputs[static_cast<size_t>(j)]).grid->bits);
  }
  layer["channels"] = tensor.channels;
  layer["bits"] = tensor.grid->bits;
  layer["scale"] = range_of(tensor.grid->scale);
  layer["zero_point"] = range_of(tensor.grid->zero_point);
  layer["error"] = {
      {"weights", error.weights}, {"own", error.own}, {"accumulated", error.accumulated}};
  return layer;
}

int64_t packed_weight_bytes(const ir::Graph& graph) {
  int64_t bytes = 0;
  for (const ir::Op& op : graph.ops) {
    const auto count = static_cast<int64_t>(op.conv.quantized_weight.size());
    bytes += (count * op.conv.weight_bits + 7) / 8;
  }
  return bytes;
}

Json scores_json(const quant::MattingScores& scores) {
  return {{"mad", scores.mad},
          {"mse", scores.mse},
          {"grad", scores.grad},
          {"conn", scores.conn},
          {"dtssd", scores.dtssd}};
}

Json truth_json(const std::vector<TruthComparison>& truth) {
  Json rows = Json::array();
  for (const TruthComparison& clip : truth)
    rows.push_back({{"name", clip.clip},
                    {"frames", clip.quantized.frames},
                    {"float", scores_json(clip.with_float)},
                    {"quantized", scores_json(clip.quantized)},
                    {"ratio", {{"mad", clip.mad_ratio()}, {"dtssd", clip.dtssd_ratio()}}}});
  return rows;
}

Json training_json(const TrainingCurves& training) {
  return {{"loss", training.loss},
          {"validation", training.validation},
          {"best_step", training.best_step}};
}

Json reconstruction_json(const quant::ReconstructionRecord& reconstruction) {
  Json blocks = Json::array();
  for (const quant::ReconstructedBlock& block : reconstruction.blocks)
    blocks.push_back({{"name", block.name},
                      {"steps", block.steps},
                      {"ratio", block.ratio},
                      {"alpha_ratio", block.alpha_ratio},
                      {"kept", block.is_kept()}});
  return {{"loss", reconstruction.loss}, {"blocks", blocks}};
}

void write_text(const std::string& staged, const std::string& text, const std::string& final) {
  write_file(staged, text.data(), text.size(), final);
}

struct StagedReport {
  StagedPath json, html;

  explicit StagedReport(const QuantizeReport& report)
      : json(json_path(report.output)), html(html_path(report.output)) {
    write_text(json.path(), report_json(report), json_path(report.output));
    write_text(html.path(), report_html(report), html_path(report.output));
  }
  void commit() {
    json.commit();
    html.commit();
  }
};

}  // namespace

std::string json_path(const std::string& output) {
  return fs::path(output).replace_extension(".report.json").string();
}

std::string html_path(const std::string& output) {
  return fs::path(output).replace_extension(".report.html").string();
}

std::string report_json(const QuantizeReport& report) {
  Json json = {{"network", report.quantized.name},
               {"model", fs::path(report.model).filename().string()},
               {"output", fs::path(report.output).filename().string()},
               {"bits", report.bits}};
  for (const auto& [name, value] : report.settings) json["settings"][name] = value;
  json["seconds"] = report.seconds;
  json["size"] = size_text(report.size);
  const quant::LowBitShare low = quant::low_bit_share(report.quantized, report.size);
  json["multiplications"] = {{"per_frame", low.macs}, {"share_4x4", low.share}};
  json["weight_bytes"] = packed_weight_bytes(report.quantized);
  json["policy"] = Json::parse(quant::policy_json(report.record.policy));
  const quant::LayerComparison& comparison = report.record.comparison;
  json["clips"] = Json::array();
  for (size_t i = 0; i < comparison.clips.size(); ++i)
    json["clips"].push_back({{"name", clip_name(report.clips.at(report.record.compared.at(i)))},
                             {"alpha_difference", comparison.clips.at(i).alpha_difference}});
  if (!report.truth.empty()) json["truth"] = truth_json(report.truth);
  if (!report.record.reconstruction.blocks.empty())
    json["reconstruction"] = reconstruction_json(report.record.reconstruction);
  const TrainingCurves& training = report.record.training;
  if (!training.loss.empty() || !training.validation.empty())
    json["training"] = training_json(training);
  json["layers"] = Json::array();
  for (const quant::LayerError& error : comparison.layers)
    json["layers"].push_back(layer_json(report.quantized, error));
  // File names may hold bytes that are no UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void write_with_report(const QuantizeReport& report) {
  // A symbolic link stays one: the file behind it is replaced.
  std::error_code ignored;
  const bool link = fs::is_symlink(report.output, ignored);
  StagedPath model(link ? fs::weakly_canonical(report.output).string() : report.output);
  model.with_final_name([&] { ir::write_model(report.quantized, model.path()); });
  StagedReport staged(report);
  model.commit();
  staged.commit();
}

void write_report(const QuantizeReport& report) { StagedReport(report).commit(); }

}  // namespace mattec::tools
