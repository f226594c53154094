// Option types that several verbs share.
#include <fmt/core.h>

#include <cstdio>

#include "tools/verbs.h"

namespace mattec::tools {
namespace {

bool parse_size(const std::string& text, ir::Size& size) {
  constexpr int largest = 16384;
  int width = 0, height = 0, end = 0;
  const int fields = std::sscanf(text.c_str(), "%5dx%5d%n", &width, &height, &end);
  if (fields != 2 || static_cast<size_t>(end) != text.size()) return false;
  if (width < 1 || height < 1 || width > largest || height > largest) return false;
  size = {height, width};
  return true;
}

}  // namespace

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

CLI::Option* add_truth_options(CLI::App& verb, TruthOptions& truth) {
  CLI::Option* backgrounds =
      verb.add_option("--backgrounds", truth.backgrounds,
                      "Images, videos and folders of frames to compose foregrounds with")
          ->type_name("FOLDER");
  verb.add_option("--clips", truth.clips, "Clips to compose (default: one of each foreground)")
      ->check(CLI::Range(1, 100000))
      ->type_name("N")
      ->needs(backgrounds);
  verb.add_option("--frames", truth.frames,
                  "Frames of each clip, at most (default: all; of composed clips 100)")
      ->check(CLI::Range(1, 1000000))
      ->type_name("N");
  verb.add_option_function<std::string>(
          "--motion", [&truth](const std::string& text) { truth.motion = text == "on"; },
          "Random slow motion of foregrounds (default: of single images only)")
      ->check(CLI::IsMember({"on", "off"}))
      ->needs(backgrounds);
  return backgrounds;
}

CLI::Option* add_threads_option(CLI::App& verb, int& threads) {
  return verb.add_option("--threads", threads, "Threads to compute with")
      ->check(CLI::Range(1, 64))
      ->type_name("N")
      ->capture_default_str();
}

std::string size_text(ir::Size size) { return fmt::format("{}x{}", size.width, size.height); }

}  // namespace mattec::tools
