#include "frontend/script_place.h"

#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>

#include "base/text.h"

namespace mattec::frontend {
namespace {

namespace jit = torch::jit;

constexpr size_t longest_line = 160;

std::string trimmed(const std::string& text) {
  const size_t start = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  return text.substr(start, text.find_last_not_of(" \t\r\n") + 1 - start);
}

// The author's line, from the archive's debug files, which anybody may have written.
c10::optional<jit::SourceRange> original_of(const jit::SourceRange& range) {
  try {
    return range.findSourceRangeThatGenerated();
  } catch (const std::exception&) {
    return c10::nullopt;
  }
}

struct Line {
  std::string file, text;
  size_t number = 0;
};

Line describe(const jit::SourceRange& range) {
  Line line;
  const auto place = range.file_line_col();
  if (!place) return line;
  line.file = std::get<0>(*place);
  line.number = std::get<1>(*place) + (std::get<1>(*place) == 0);
  const auto& source = range.source();
  line.text = trimmed(source->get_line(source->lineno_for_offset(range.start())).str());
  return line;
}

Line line_of(const jit::Node& node) {
  const jit::SourceRange range = node.sourceRange();
  Line line;
  if (const auto original = original_of(range)) line = describe(*original);
  const bool on_disk = line.file.find(".py") != std::string::npos;
  return on_disk ? line : describe(range);
}

}  // namespace

std::string line_of(const std::vector<const jit::Node*>& nodes) {
  Line line;
  for (size_t i = nodes.size(); i-- > 0;) {
    const Line found = line_of(*nodes[i]);
    if (line.file.empty()) line = found;
    if (found.file.empty() || found.file.find("torch/nn/") != std::string::npos) continue;
    line = found;
    break;
  }
  if (line.file.empty()) return "";
  if (line.text.size() > longest_line) line.text = line.text.substr(0, longest_line) + "...";
  const std::string file = line.file.substr(line.file.find_last_of("/\\") + 1);
  return printable(file + ":" + std::to_string(line.number) + ": " + line.text);
}

std::string first_line(const std::string& text) {
  const size_t start = std::min(text.find_first_not_of(" \n"), text.size());
  std::string line = text.substr(start, text.find('\n', start) - start);
  line.erase(line.find_last_not_of(" .:") + 1);
  return printable(line);
}

}  // namespace mattec::frontend
