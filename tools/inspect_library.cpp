#include "tools/inspect_library.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "targets/inspect.h"
#include "tools/engine.h"
#include "tools/json_text.h"
#include "tools/manifest.h"

namespace mattec::tools {
namespace {

using Json = nlohmann::ordered_json;
using targets::FunctionContents;
using targets::LibraryContents;

Json strings(const std::vector<std::string>& list) {
  Json array = Json::array();
  for (const std::string& text : list) array.push_back(text);
  return array;
}

// The manifest's kernels with what the machine code of each shows, in the manifest's order.
// Without manifest: every function that has dot products.
Json kernels_of(const Json& manifest, const LibraryContents& contents) {
  std::map<std::string, const FunctionContents*> functions;
  for (const FunctionContents& function : contents.functions) functions[function.name] = &function;
  const auto code_of = [](const FunctionContents& function) {
    return Json{{"symbol", function.name},
                {"text_bytes", function.bytes},
                {"instructions", function.instructions},
                {"dot_products", function.dot_products},
                {"stack_bytes", function.stack_bytes}};
  };
  Json kernels = Json::array();
  if (manifest.is_object() && manifest.contains("kernels")) {
    for (const Json& kernel : manifest["kernels"]) {
      const auto found = functions.find(kernel.value("symbol", ""));
      if (found == functions.end()) continue;
      Json entry = code_of(*found->second);
      entry["schedule"] = kernel.value("schedule", Json());
      kernels.push_back(entry);
    }
    return kernels;
  }
  for (const auto& [name, function] : functions)
    if (function->dot_products > 0) kernels.push_back(code_of(*function));
  return kernels;
}

Json describe(const std::string& path) {
  const LibraryContents contents = targets::inspect_library(path);
  const Json manifest = read_manifest(path, contents.checksum);
  Json result = {{"library", path}};
  for (const char* key : {"network", "target", "size"})
    if (manifest.is_object() && manifest.contains(key)) result[key] = manifest[key];
  result["architecture"] = contents.architecture;
  result["text_bytes"] = contents.text_bytes;
  result["constant_bytes"] = contents.constant_bytes;
  for (const char* key : {"weight_bytes", "arena_bytes", "scratch_bytes", "gmac"})
    if (manifest.is_object() && manifest.contains(key)) result[key] = manifest[key];
  result["data_bytes"] = contents.data_bytes;
  result["stack_bytes"] = contents.stack_bytes;
  result["undefined_symbols"] = strings(contents.undefined);
  result["exported_symbols"] = strings(contents.exported);
  result["kernels"] = kernels_of(manifest, contents);
  return result;
}

std::string kilobytes(const Json& value) {
  return value.is_null() ? "unknown" : fmt::format("{:.1f} KiB", value.get<double>() / 1024);
}

std::string joined(const Json& list) {
  std::string text;
  for (const Json& entry : list) text += (text.empty() ? "" : " ") + entry.get<std::string>();
  return text.empty() ? "none" : text;
}

// "2 x 16 channels x 8 pixels, rows widened, unrolled 4 12+columns": a tile, and each reduction's
// loops over groups and columns. With --json the whole record is printed.
std::string schedule_text(const Json& schedule) {
  if (!schedule.is_object()) return "";
  std::string text = fmt::format("{} x {} channels x {} pixels", schedule.value("vectors", 1),
                                 schedule.value("lanes", 1), schedule.value("pixels", 1));
  if (schedule.value("widened_rows", false)) text += ", rows widened";
  std::string loops;
  for (const Json& segment : schedule.value("reductions", Json::array()))
    for (const Json& part : segment) {
      loops += loops.empty() ? ", unrolled " : " ";
      loops += std::to_string(part.value("unrolled_groups", 1));
      if (part.value("unrolled_columns", false)) loops += "+columns";
    }
  return text + loops;
}

void print(const Json& library) {
  fmt::print("{}: {} for {} at {}\n", printable(library["library"].get<std::string>()),
             library.value("network", "network"),
             library.value("target", library["architecture"].get<std::string>()),
             library.value("size", "unknown size"));
  fmt::print("  text {}, constants {} (weights {}), writable data {}\n",
             kilobytes(library["text_bytes"]), kilobytes(library["constant_bytes"]),
             kilobytes(library.value("weight_bytes", Json())), kilobytes(library["data_bytes"]));
  fmt::print("  arena {}, for each further thread {}, stack at most {}\n",
             kilobytes(library.value("arena_bytes", Json())),
             kilobytes(library.value("scratch_bytes", Json())), kilobytes(library["stack_bytes"]));
  fmt::print("  undefined symbols: {}\n\n", joined(library["undefined_symbols"]));

  size_t width = 6;
  for (const Json& kernel : library["kernels"])
    width = std::max(width, kernel["symbol"].get<std::string>().size());
  fmt::print("  {:<{}}  {:>7}  {:>12}  {:>12}  {}\n", "kernel", width, "bytes", "instructions",
             "dot products", "schedule");
  for (const Json& kernel : library["kernels"])
    fmt::print("  {:<{}}  {:>7}  {:>12}  {:>12}  {}\n", kernel["symbol"].get<std::string>(), width,
               kernel["text_bytes"].get<uint64_t>(), kernel["instructions"].get<uint64_t>(),
               kernel["dot_products"].get<uint64_t>(),
               schedule_text(kernel.value("schedule", Json())));
}

}  // namespace

void inspect_libraries(const std::string& path, bool json) {
  Json libraries = Json::array();
  for (const std::string& library : libraries_at(path)) libraries.push_back(describe(library));
  if (json) {
    // A library's own object for a library; a list of them for a folder.
    const bool single = libraries.size() == 1;
    fmt::print("{}\n", json_text(single ? libraries[0] : Json{{"libraries", libraries}}));
    return;
  }
  for (size_t i = 0; i < libraries.size(); ++i) {
    if (i > 0) fmt::print("\n");
    print(libraries[i]);
  }
}

}  // namespace mattec::tools
