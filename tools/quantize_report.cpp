#include "tools/quantize_report.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/staged_path.h"
#include "ir/model_file.h"
#include "quant/policy.h"

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

// The operation or the layer of that name; there is one.
template <typename Item>
const Item& named(const std::vector<Item>& items, const std::string& name) {
  return *std::find_if(items.begin(), items.end(),
                       [&name](const Item& item) { return item.name == name; });
}

Json error_json(const quant::LayerError& error) {
  return {{"weights", error.weights}, {"own", error.own}, {"accumulated", error.accumulated}};
}

Json layer_json(const ir::Graph& graph, const quant::LayerError& error) {
  const ir::Op& op = named(graph.ops, error.name);
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
  layer["error"] = error_json(error);
  return layer;
}

Json layers_json(const QuantizeReport& report) {
  Json layers = Json::array();
  for (const quant::LayerError& error : report.record.comparison.layers) {
    layers.push_back(layer_json(report.quantized, error));
    if (report.record.before)
      layers.back()["error_before"] = error_json(named(report.record.before->layers, error.name));
  }
  return layers;
}

Json clips_json(const QuantizeReport& report) {
  const QuantizeRecord& record = report.record;
  Json clips = Json::array();
  for (size_t i = 0; i < record.comparison.clips.size(); ++i) {
    clips.push_back({{"name", clip_name(report.clips.at(record.compared.at(i)))},
                     {"alpha_difference", record.comparison.clips[i].alpha_difference}});
    if (record.before)
      clips.back()["alpha_difference_before"] = record.before->clips.at(i).alpha_difference;
  }
  return clips;
}

int64_t packed_weight_bytes(const ir::Graph& graph) {
  int64_t bytes = 0;
  for (const ir::Op& op : graph.ops) {
    const auto count = static_cast<int64_t>(op.conv.quantized_weight.size());
    bytes += (count * op.conv.weight_bits + 7) / 8;
  }
  return bytes;
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

Json training_json(const QuantizeRecord& record) {
  return {{"loss", numbered(record.training.loss)},
          {"validation", record.training.validation},
          {"best_step", record.training.best_step},
          {"planned_steps", record.planned_steps}};
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
      : json(json_path(report.output), StagedPath::Kind::file),
        html(html_path(report.output), StagedPath::Kind::file) {
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

std::vector<std::pair<int, double>> numbered(const std::vector<double>& losses) {
  std::vector<std::pair<int, double>> points;
  points.reserve(losses.size());
  for (const double loss : losses) points.emplace_back(static_cast<int>(points.size()) + 1, loss);
  return points;
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
  json["clips"] = clips_json(report);
  if (!report.truth.empty()) json["truth"] = truth_json(report.truth);
  if (report.record.taught_by_truth) json["taught_by_truth"] = true;
  if (!report.record.reconstruction.blocks.empty())
    json["reconstruction"] = reconstruction_json(report.record.reconstruction);
  const quant::TrainingRecord& training = report.record.training;
  if (!training.loss.empty() || !training.validation.empty())
    json["training"] = training_json(report.record);
  json["layers"] = layers_json(report);
  // File names may hold bytes that are no UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void write_with_report(const QuantizeReport& report) {
  StagedPath model(report.output, StagedPath::Kind::file);
  const std::vector<uint8_t> bytes = ir::model_bytes(report.quantized, report.output);
  write_file(model.path(), bytes.data(), bytes.size(), report.output);
  StagedReport staged(report);
  staged.commit();
  model.commit();
}

void write_report(const QuantizeReport& report) { StagedReport(report).commit(); }

}  // namespace mattec::tools
