// The report of `mattec quantize`: what was done and where it hurts, for people and for programs.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ir/graph.h"
#include "ir/sizes.h"
#include "tools/quantize_network.h"
#include "tools/truth_comparison.h"

namespace mattec::tools {

struct QuantizeReport {
  std::string model, output;  // files; the report keeps their names alone
  std::string bits;           // what --bits or --policy said
  std::vector<std::pair<std::string, std::string>> settings;  // of the command, in order
  double seconds = 0;
  ir::Size size;                   // of the calibration frames
  std::vector<std::string> clips;  // calibration's, as find_clips gives them
  ir::Graph quantized;
  QuantizeRecord record;
  std::vector<TruthComparison> truth;  // empty without --truth
};

// One JSON object; docs/quantization.md describes it.
std::string report_json(const QuantizeReport& report);
// The same numbers as a page of its own, with pictures and curves: report_page.cpp.
std::string report_html(const QuantizeReport& report);

// What both show of losses: points (step, loss) of a curve, from step 1 on.
std::vector<std::pair<int, double>> numbered(const std::vector<double>& losses);

// Paths of the two reports of x.mattec: x.report.json and x.report.html.
std::string json_path(const std::string& output);
std::string html_path(const std::string& output);

// Writes report.quantized to report.output, and both reports beside it. All three are whole under
// hidden names before the first is renamed, so a full disk leaves none. The model is renamed last:
// where renaming fails, reports may be new, but no new model lies beside an old one. Throws Error.
void write_with_report(const QuantizeReport& report);
// Both reports anew. Throws Error; those that were there stay.
void write_report(const QuantizeReport& report);

}  // namespace mattec::tools
