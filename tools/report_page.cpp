// The report of `mattec quantize` as one HTML file that needs nothing beside it. It shows the
// numbers of the JSON report, so both say the same.
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "media/picture.h"
#include "media/scale.h"
#include "tools/html.h"
#include "tools/progress.h"
#include "tools/quantize_report.h"

namespace mattec::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr char style[] =
    "body{font:14px/1.4 sans-serif;margin:2em auto;max-width:1400px;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:.5em 0}"
    "th,td{padding:.15em .7em;text-align:right;border-bottom:1px solid #ddd}"
    "th{background:#f4f4f4}"
    "th:first-child,td:first-child,td.text,th.text{text-align:left}"
    ".bar{background:linear-gradient(#f6c3b0,#f6c3b0) no-repeat}"
    "img{display:block;max-width:320px}svg{margin-right:2em}";

std::string number(const Json& value, int digits) {
  return value.is_number() ? fmt::format("{:.{}f}", value.get<double>(), digits) : "-";
}

// One value, or the ends of a range.
std::string range(const Json& ends) {
  const std::string low = fmt::format("{:.4g}", ends[0].get<double>());
  const std::string high = fmt::format("{:.4g}", ends[1].get<double>());
  return low == high ? low : low + " \u2013 " + high;
}

std::string settings(const Json& report) {
  std::string rows = row({cell("network"), cell(report["network"])}) +
                     row({cell("from"), cell(report["model"])}) +
                     row({cell("bits"), cell(report["bits"])});
  for (const auto& [name, value] : report["settings"].items())
    rows += row({cell(name), cell(value)});
  rows +=
      row({cell("time"), cell(duration_text(report["seconds"].get<double>()))}) +
      row({cell("calibration frames"), cell(report["size"])}) +
      row({cell("multiplications a frame"),
           cell(number(report["multiplications"]["per_frame"].get<double>() / 1e9, 3) + " G")}) +
      row({cell("of them 4 x 4 bit"),
           cell(number(report["multiplications"]["share_4x4"].get<double>() * 100, 1) + " %")}) +
      row({cell("weights"), cell(number(report["weight_bytes"].get<double>() / 1e6, 3) + " MB")});
  return table(rows);
}

// How many convolutions and tensors have which bits.
std::string bit_counts(const Json& layers) {
  std::map<std::string, int> counts;
  for (const Json& layer : layers) {
    if (layer.contains("weight_bits"))
      ++counts[fmt::format("convolutions with {}-bit weights", layer["weight_bits"].get<int>())];
    ++counts[fmt::format("tensors stored in {} bits", layer["bits"].get<int>())];
  }
  std::string rows;
  for (const auto& [what, count] : counts) rows += row({cell(what), cell(std::to_string(count))});
  return table(rows);
}

std::string truth(const Json& clips, const std::string& bits) {
  const char* const metrics[] = {"mad", "mse", "grad", "conn", "dtssd"};
  std::string rows =
      row({heading("clip"), heading("network"), heading("frames"), heading("MAD e-3"),
           heading("MSE e-3"), heading("Grad"), heading("Conn"), heading("dtSSD e-2"),
           heading("MAD over float"), heading("dtSSD over float")});
  for (const Json& clip : clips)
    for (const bool is_float : {true, false}) {
      std::vector<std::string> cells = {cell(clip["name"]), cell(is_float ? "float" : bits),
                                        cell(number(clip["frames"], 0))};
      for (const char* metric : metrics)
        cells.push_back(cell(number(clip[is_float ? "float" : "quantized"][metric], 3)));
      for (const char* metric : {"mad", "dtssd"})
        cells.push_back(cell(is_float ? "" : number(clip["ratio"][metric], 3)));
      rows += row(cells);
    }
  return table(rows);
}

std::string clip_differences(const Json& clips, bool has_before) {
  const std::string what = "mean |alpha - float alpha| e-3";
  const auto thousandths = [](const Json& value) {
    return cell(number(value.get<double>() * 1e3, 3));
  };
  std::string rows = row({heading("calibration clip"),
                          has_before ? heading(what + ", before reconstruction or training") : "",
                          heading(has_before ? "after" : what)});
  for (const Json& clip : clips)
    rows += row({cell(clip["name"]), has_before ? thousandths(clip["alpha_difference_before"]) : "",
                 thousandths(clip["alpha_difference"])});
  return table(rows);
}

std::string picture(const media::Image& image, const std::string& what) {
  constexpr int largest_width = 320;
  media::Image small = image;
  if (image.size.width > largest_width)
    media::scale(image,
                 {std::max(1, image.size.height * largest_width / image.size.width), largest_width},
                 small);
  return fmt::format("<img alt=\"{}\" src=\"data:image/png;base64,{}\"/>", escaped(what),
                     base64(media::png_of(small)));
}

std::string mattes(const Json& clips, const std::vector<quant::ClipMattes>& played) {
  std::string rows = row({heading("clip"), heading("frame"), heading("float"), heading("quantized"),
                          heading("difference x 8")});
  for (size_t i = 0; i < played.size(); ++i) {
    const quant::ClipMattes& clip = played[i];
    const ir::Size size = {clip.frame.height, clip.frame.width};
    media::Image frame(size, 3), exact(size, 1), quantized(size, 1), difference(size, 1);
    frame.pixels = clip.frame.rgb;
    exact.pixels = clip.exact;
    quantized.pixels = clip.quantized;
    for (size_t p = 0; p < difference.pixels.size(); ++p)
      difference.pixels[p] = static_cast<uint8_t>(
          std::min(255, 8 * std::abs(int{clip.exact[p]} - int{clip.quantized[p]})));
    rows += row({cell(clips[i]["name"]), "<td>" + picture(frame, "frame") + "</td>",
                 "<td>" + picture(exact, "float matte") + "</td>",
                 "<td>" + picture(quantized, "quantized matte") + "</td>",
                 "<td>" + picture(difference, "difference") + "</td>"});
  }
  return table(rows);
}

std::string bits_of(const Json& layer) {
  std::string text;
  for (const Json& bits : layer.value("input_bits", Json::array()))
    text += (text.empty() ? "" : "+") + std::to_string(bits.get<int>());
  return text;
}

// Before and after as "2.10 -> 1.95 %", or "1.95 %" where there is no before. In one cell: three
// columns more would make the table wider than a screen, and these two numbers are to be compared.
std::string error_text(const Json& layer, const char* error) {
  std::string after = fmt::format("{:.2f} %", 100 * layer["error"][error].get<double>());
  if (!layer.contains("error_before")) return after;
  return fmt::format("{:.2f} \u2192 {}", 100 * layer["error_before"][error].get<double>(), after);
}

std::string layers(const Json& layers) {
  const char* const errors[] = {"weights", "own", "accumulated"};
  double largest[3] = {};
  for (const Json& layer : layers)
    for (int i = 0; i < 3; ++i)
      largest[i] = std::max(largest[i], layer["error"][errors[i]].get<double>());
  std::string rows =
      row({heading("layer"), heading("operation"), heading("channels"), heading("weights, bits"),
           heading("reads, bits"), heading("stores, bits"), heading("scale"), heading("zero point"),
           heading("error: weights"), heading("own"), heading("accumulated")});
  for (const Json& layer : layers) {
    std::vector<std::string> cells = {
        cell(layer["name"]),
        cell(layer["kind"]),
        cell(number(layer["channels"], 0)),
        cell(layer.contains("weight_bits") ? number(layer["weight_bits"], 0) : ""),
        cell(bits_of(layer)),
        cell(number(layer["bits"], 0)),
        cell(range(layer["scale"])),
        cell(range(layer["zero_point"]))};
    for (int i = 0; i < 3; ++i) {
      const double error = layer["error"][errors[i]].get<double>();
      cells.push_back(bar(error_text(layer, errors[i]), largest[i] > 0 ? error / largest[i] : 0));
    }
    rows += row(cells);
  }
  return table(rows);
}

// What reconstruction left of each block's error, and its losses, block after block.
std::string reconstruction(const Json& json, const std::vector<double>& losses) {
  std::string rows = row({heading("block"), heading("steps"), heading("error left"),
                          heading("error of alpha left"), heading("kept")});
  for (const Json& block : json["blocks"]) {
    const double ratio = block["ratio"].get<double>();
    rows += row({cell(block["name"]), cell(number(block["steps"], 0)),
                 bar(fmt::format("{:.1f} %", 100 * ratio), std::min(ratio, 1.0)),
                 cell(fmt::format("{:.1f} %", 100 * block["alpha_ratio"].get<double>())),
                 cell(block["kept"].get<bool>() ? "yes" : "no")});
  }
  return curve("loss", numbered(losses)) + table(rows);
}

std::string section(const std::string& title, const std::string& text, const std::string& body) {
  const std::string paragraph = text.empty() ? "" : "<p>" + escaped(text) + "</p>\n";
  return fmt::format("<h2>{}</h2>\n{}{}", escaped(title), paragraph, body);
}

std::string truth_section(const Json& json) {
  const char* const learned =
      "Training (GAC, OFA) learned from the exact mattes of these very clips: the table does not "
      "tell how well the network does on others.";
  return section("On clips whose exact mattes are known",
                 json.contains("taught_by_truth") ? learned : "",
                 truth(json["truth"], json["bits"].get<std::string>()));
}

std::string training_section(const QuantizeRecord& record) {
  const quant::TrainingRecord& training = record.training;
  std::string text = fmt::format("Best step: {}.", training.best_step);
  if (training.loss.size() < static_cast<size_t>(record.planned_steps))
    text += fmt::format(
        " Training ended early, after {} of the {} steps planned: the time was over, or it was "
        "interrupted.",
        training.loss.size(), record.planned_steps);
  if (record.taught_by_truth) text += " It learned from the exact mattes of --truth.";
  return section(
      "Training", text,
      curve("loss", numbered(training.loss)) + curve("validation error", training.validation));
}

std::string layers_section(const Json& json, bool has_before) {
  std::string text =
      "Errors are relative to the float network's tensor: of the layer's integer weights on float "
      "inputs; with the rounding of its output too (own); and of the whole quantized network up to "
      "here (accumulated). A layer that hurts has a large own error, and accumulated errors grow "
      "from there on. Scales and zero points are those of the stored output, from the least to the "
      "largest of its channels.";
  if (has_before)
    text +=
        " Of two errors, a \u2192 b, the first is the rounded network's, before reconstruction or "
        "training; the second, and the bar, is the result's.";
  return section("Layers", text, layers(json["layers"]));
}

}  // namespace

std::string report_html(const QuantizeReport& report) {
  const Json json = Json::parse(report_json(report));
  const bool has_before = report.record.before.has_value();
  const std::string title = json["output"].get<std::string>() + ": quantization report";
  std::string body = fmt::format("<h1>{}</h1>\n", escaped(title)) + settings(json) +
                     section("Bits", "", bit_counts(json["layers"]));
  if (json.contains("truth")) body += truth_section(json);
  body += section("Mattes",
                  "Of the last frame played of calibration clips, by the float network and by the "
                  "quantized one's float simulation.",
                  mattes(json["clips"], report.record.comparison.clips) +
                      clip_differences(json["clips"], has_before));
  if (json.contains("reconstruction"))
    body +=
        section("Reconstruction of blocks",
                "Errors of what a block passes on, weighed by what alpha depends on, on clips that "
                "are not trained on, over those before. A block that did not gain stays as it "
                "was.",
                reconstruction(json["reconstruction"], report.record.reconstruction.loss));
  if (json.contains("training")) body += training_section(report.record);
  body += layers_section(json, has_before);
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<title>{}</title>\n"
      "<style>{}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
      escaped(title), style, body);
}

}  // namespace mattec::tools
