// The verbs of the command line: each adds its subcommand, whose callback does the work and throws
// Error where it fails.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ir/sizes.h"
#include "media/rational.h"
#include "media/truth.h"

namespace mattec::tools {

void add_demo(CLI::App& mattec);
void add_quantize(CLI::App& mattec);
void add_compile(CLI::App& mattec);
void add_run(CLI::App& mattec);
void add_eval(CLI::App& mattec);
void add_bench(CLI::App& mattec);
void add_inspect(CLI::App& mattec);

// --size and its like: "512x288", each extent 1 .. 16384. Anything else is wrong usage.
CLI::Option* add_size_option(CLI::App& verb, const std::string& name, std::optional<ir::Size>& size,
                             const std::string& help);
// --backgrounds, --clips, --frames and --motion: how find_truth() makes clips; `truth` must outlive
// the parsing. Returns --backgrounds, which the options of composed clips need.
CLI::Option* add_truth_options(CLI::App& verb, media::TruthOptions& truth);
// --threads: 1 .. 64.
CLI::Option* add_threads_option(CLI::App& verb, int& threads);
// --seed: any of 64 bits.
CLI::Option* add_seed_option(CLI::App& verb, uint64_t& seed, const std::string& help);
// --downsample-ratio: 0.01 .. 1.
CLI::Option* add_ratio_option(CLI::App& verb, double& ratio, const std::string& help);
// --input-rate: "25", "30000/1001", "29.97".
CLI::Option* add_rate_option(CLI::App& verb, const std::string& name, media::Rational& rate,
                             const std::string& help);
// --from and its like: "90", "1:30", "0:01:30.5".
CLI::Option* add_time_option(CLI::App& verb, const std::string& name, double& seconds,
                             const std::string& help);
CLI::Option* add_time_option(CLI::App& verb, const std::string& name,
                             std::optional<double>& seconds, const std::string& help);
// For check(): a number of the interval. CLI11's own range lets nan pass.
CLI::Validator number_within(double lowest, double highest);
// The same for whole numbers, in decimal digits alone: CLI11 takes 010 for 8 and, where the number
// has no sign, -1 for the largest.
CLI::Validator whole_number_within(uint64_t lowest, uint64_t highest);
// One of these words, and the nearest of them in the error.
CLI::Validator one_of(const std::vector<std::string>& words);
// Not the empty text, which would pass for an option left out.
CLI::Validator not_empty();

}  // namespace mattec::tools
