// Option types that several verbs share.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>

#include "base/text.h"
#include "tools/verbs.h"

namespace mattec::tools {
namespace {

// Decimal digits, no zero before others.
bool parse_whole(const std::string& text, uint64_t& value) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos) return false;
  if (text.size() > 1 && text[0] == '0') return false;
  errno = 0;
  value = std::strtoull(text.c_str(), nullptr, 10);
  return errno == 0;
}

bool parse_size(const std::string& text, ir::Size& size) {
  constexpr uint64_t largest = 16384;
  uint64_t width = 0, height = 0;
  const size_t by = text.find('x');
  if (by == std::string::npos || !parse_whole(text.substr(0, by), width) ||
      !parse_whole(text.substr(by + 1), height))
    return false;
  if (width < 1 || height < 1 || width > largest || height > largest) return false;
  size = {static_cast<int>(height), static_cast<int>(width)};
  return true;
}

// [[hours:]minutes:]seconds, the last with a fraction, the others below 60 behind a colon.
bool parse_time(const std::string& text, double& seconds) {
  double total = 0;
  size_t at = 0;
  for (int part = 0; part < 3; ++part) {
    const size_t colon = std::min(text.find(':', at), text.size());
    const std::string digits = text.substr(at, colon - at);
    const bool is_last = colon == text.size();
    const char* allowed = is_last ? "0123456789." : "0123456789";
    if (digits.empty() || digits.find_first_not_of(allowed) != std::string::npos ||
        std::count(digits.begin(), digits.end(), '.') > 1 || digits == "." || digits.size() > 12)
      return false;
    const double value = std::stod(digits);
    if (part > 0 && value >= 60) return false;
    total = 60 * total + value;
    if (is_last) {
      seconds = total;
      return true;
    }
    at = colon + 1;
  }
  return false;
}

double time_of(const std::string& name, const std::string& text) {
  double seconds = 0;
  if (!parse_time(text, seconds))
    throw CLI::ValidationError(name,
                               "write seconds or [h:]mm:ss, for example 90.5 or 1:30; not " + text);
  return seconds;
}

}  // namespace

CLI::Validator number_within(double lowest, double highest) {
  return CLI::Validator(
      [lowest, highest](std::string& text) {
        double value = 0;
        const bool is_number = CLI::detail::lexical_cast(text, value);
        if (is_number && value >= lowest && value <= highest) return std::string();
        return fmt::format("write a number from {} to {}, not {}", lowest, highest, text);
      },
      fmt::format("{} - {}", lowest, highest));
}

CLI::Validator whole_number_within(uint64_t lowest, uint64_t highest) {
  return CLI::Validator(
      [lowest, highest](std::string& text) {
        uint64_t value = 0;
        if (parse_whole(text, value) && value >= lowest && value <= highest) return std::string();
        return fmt::format("write a whole number from {} to {}, not {}", lowest, highest, text);
      },
      fmt::format("{} - {}", lowest, highest));
}

CLI::Validator one_of(const std::vector<std::string>& words) {
  const std::string all = fmt::format("{}", fmt::join(words, ", "));
  return CLI::Validator(
      [words, all](std::string& text) {
        if (std::find(words.begin(), words.end(), text) != words.end()) return std::string();
        return fmt::format("write one of {}, not {}{}", all, text, hint_at_nearest(text, words));
      },
      fmt::format("{{{}}}", fmt::join(words, ",")));
}

CLI::Validator not_empty() {
  return CLI::Validator(
      [](std::string& text) { return text.empty() ? "write a name, not nothing" : std::string(); },
      "");
}

CLI::Option* add_rate_option(CLI::App& verb, const std::string& name, media::Rational& rate,
                             const std::string& help) {
  return verb
      .add_option_function<std::string>(
          name,
          [&rate, name](const std::string& text) {
            const std::optional<media::Rational> parsed = media::parse_rate(text);
            if (!parsed || parsed->value() < 0.01 || parsed->value() > 1000)
              throw CLI::ValidationError(
                  name,
                  "write frames a second, 0.01 to 1000, as 25, 29.97 or 30000/1001; not " + text);
            rate = *parsed;
          },
          help)
      ->type_name("RATE");
}

CLI::Option* add_time_option(CLI::App& verb, const std::string& name, double& seconds,
                             const std::string& help) {
  return verb
      .add_option_function<std::string>(
          name, [&seconds, name](const std::string& text) { seconds = time_of(name, text); }, help)
      ->type_name("TIME");
}

CLI::Option* add_time_option(CLI::App& verb, const std::string& name,
                             std::optional<double>& seconds, const std::string& help) {
  return verb
      .add_option_function<std::string>(
          name, [&seconds, name](const std::string& text) { seconds = time_of(name, text); }, help)
      ->type_name("TIME");
}

CLI::Option* add_ratio_option(CLI::App& verb, double& ratio, const std::string& help) {
  return verb.add_option("--downsample-ratio", ratio, help)
      ->check(number_within(0.01, 1))
      ->capture_default_str();
}

CLI::Option* add_size_option(CLI::App& verb, const std::string& name, std::optional<ir::Size>& size,
                             const std::string& help) {
  return verb
      .add_option_function<std::string>(
          name,
          [&size, name](const std::string& text) {
            ir::Size parsed;
            if (!parse_size(text, parsed))
              throw CLI::ValidationError(name,
                                         "write WIDTHxHEIGHT, each 1 to 16384, for example "
                                         "512x288; not " +
                                             text);
            size = parsed;
          },
          help)
      ->type_name("WxH");
}

CLI::Option* add_truth_options(CLI::App& verb, media::TruthOptions& truth) {
  CLI::Option* backgrounds =
      verb.add_option("--backgrounds", truth.backgrounds,
                      "Images, videos and folders of frames to compose foregrounds with")
          ->check(not_empty())
          ->type_name("FOLDER");
  verb.add_option("--clips", truth.clips, "Clips to compose (default: one of each foreground)")
      ->check(whole_number_within(1, 100000))
      ->type_name("N")
      ->needs(backgrounds);
  verb.add_option("--frames", truth.frames,
                  "Frames of each clip, at most (default: all; of composed clips 100)")
      ->check(whole_number_within(1, 1000000))
      ->type_name("N");
  verb.add_option_function<std::string>(
          "--motion", [&truth](const std::string& text) { truth.motion = text == "on"; },
          "Random slow motion of foregrounds (default: of single images only)")
      ->check(one_of({"on", "off"}))
      ->needs(backgrounds);
  return backgrounds;
}

CLI::Option* add_threads_option(CLI::App& verb, int& threads) {
  return verb.add_option("--threads", threads, "Threads to compute with")
      ->check(whole_number_within(1, 64))
      ->type_name("N")
      ->capture_default_str();
}

CLI::Option* add_seed_option(CLI::App& verb, uint64_t& seed, const std::string& help) {
  return verb.add_option("--seed", seed, help)
      ->check(whole_number_within(0, std::numeric_limits<uint64_t>::max()))
      ->type_name("N")
      ->capture_default_str();
}

}  // namespace mattec::tools
