// mattec bench: how long one frame takes in a compiled library.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/note.h"
#include "base/text.h"
#include "tools/bench_library.h"
#include "tools/json_text.h"
#include "tools/library_engine.h"
#include "tools/manifest.h"
#include "tools/peak.h"
#include "tools/progress.h"
#include "tools/verbs.h"

namespace mattec::tools {
namespace {

using Json = nlohmann::ordered_json;

struct BenchArguments {
  std::vector<std::string> paths;
  int threads = 1;
  int iterations = 30;
  bool json = false;
};

// Kernels take the same time for any pixels; noise keeps this honest for those that would not.
media::Image noise(ir::Size size) {
  media::Image frame(size, 3);
  std::mt19937 random(1);
  for (uint8_t& value : frame.pixels) value = static_cast<uint8_t>(random());
  return frame;
}

std::optional<DotProduct> dot_product_of(int64_t cpu_features) {
  if ((cpu_features & MATTEC_CPU_AVX512_ICELAKE) != 0) return DotProduct::avx512vnni;
  if ((cpu_features & MATTEC_CPU_AVX2) != 0) return DotProduct::avx2;
  return std::nullopt;
}

// Milliseconds of single steps, sorted.
std::vector<double> time_steps(LibrarySession& session, int iterations, Progress& progress) {
  constexpr int warm_up = 3;  // pages, caches, clock
  const media::Image frame = noise(session.size());
  media::Image alpha;
  std::vector<double> milliseconds;
  for (int i = -warm_up; i < iterations; ++i) {
    const auto start = std::chrono::steady_clock::now();
    session.step(frame, alpha, nullptr);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (i >= 0) milliseconds.push_back(took.count());
    progress.count(std::max(i + 1, 0), "frames");
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  return milliseconds;
}

template <typename T>
Json json_of(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json to_json(const BenchResult& result) {
  return {{"library", result.library},      {"target", result.target},
          {"size", size_text(result.size)}, {"threads", result.threads},
          {"ms_min", result.ms_min},        {"ms_median", result.ms_median},
          {"gmac", json_of(result.gmac)},   {"percent_of_peak", json_of(result.percent_of_peak)}};
}

std::string column(const std::optional<double>& value, int digits) {
  return value ? fmt::format("{:.{}f}", *value, digits) : "-";
}

void bench(const BenchArguments& arguments) {
  std::vector<BenchResult> results;
  std::string refusals;
  for (const std::string& path : arguments.paths)
    for (const std::string& library : libraries_at(path)) try {
        results.push_back(bench_library(library, arguments.threads, arguments.iterations));
      } catch (const Error& error) {
        // One library of a folder may be for another processor; the others are still measured.
        refusals += (refusals.empty() ? "" : "; ") + std::string(error.what());
        if (!std::filesystem::is_directory(path)) throw;
      }
  if (results.empty()) throw Error(refusals);
  if (!refusals.empty()) note("not measured: " + refusals);
  if (!arguments.json) return print_bench(results);
  Json list = Json::array();
  for (const BenchResult& result : results) list.push_back(to_json(result));
  fmt::print("{}\n", json_text({{"results", list}}));
}

}  // namespace

BenchResult bench_library(const std::string& path, int threads, int iterations) {
  const targets::LoadedLibrary library = targets::LoadedLibrary::load(path);
  const Json manifest = read_manifest(path, library.checksum());
  LibrarySession session(library, path, threads);
  Progress progress("bench " + path, iterations);
  const std::optional<DotProduct> kind = dot_product_of(plan_of(library).cpu_features);
  // Before and after: the clock and the neighbours change.
  double peak = kind ? peak_gmacs(*kind, threads) : 0;
  const std::vector<double> milliseconds = time_steps(session, iterations, progress);
  if (kind) peak = std::max(peak, peak_gmacs(*kind, threads));

  BenchResult result;
  result.library = path;
  result.size = session.size();
  result.threads = threads;
  result.ms_min = milliseconds.front();
  result.ms_median = milliseconds[milliseconds.size() / 2];
  if (manifest.is_object()) {
    result.target = manifest.value("target", "");
    if (manifest.contains("gmac")) result.gmac = manifest["gmac"].get<double>();
  }
  if (result.gmac && peak > 0)
    result.percent_of_peak = 100 * *result.gmac / (result.ms_min / 1e3) / peak;
  return result;
}

void print_bench(const std::vector<BenchResult>& results) {
  size_t width = 7;
  for (const BenchResult& result : results)
    width = std::max(width, printable(result.library).size());
  fmt::print("{:<{}}  {:<18}  {:>9}  {:>7}  {:>8}  {:>9}  {:>6}  {:>9}\n", "library", width,
             "target", "size", "threads", "ms (min)", "ms (med.)", "GMAC", "% of peak");
  for (const BenchResult& result : results)
    fmt::print("{:<{}}  {:<18}  {:>9}  {:>7}  {:>8.2f}  {:>9.2f}  {:>6}  {:>9}\n",
               printable(result.library), width, result.target, size_text(result.size),
               result.threads, result.ms_min, result.ms_median, column(result.gmac, 3),
               column(result.percent_of_peak, 1));
}

void add_bench(CLI::App& mattec) {
  CLI::App* verb = mattec.add_subcommand("bench", "Time compiled libraries");
  const auto arguments = std::make_shared<BenchArguments>();
  verb->add_option("LIBRARY", arguments->paths, "Folders of compiled libraries, or .a files")
      ->required();
  add_threads_option(*verb, arguments->threads);
  verb->add_option("--iterations", arguments->iterations,
                   "Frames to time, after three that warm up")
      ->check(whole_number_within(1, 100000))
      ->capture_default_str();
  verb->add_flag("--json", arguments->json, "Print one JSON object");
  verb->callback([arguments] { bench(*arguments); });
}

}  // namespace mattec::tools
