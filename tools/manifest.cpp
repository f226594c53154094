#include "tools/manifest.h"

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace mattec::tools {

nlohmann::ordered_json read_manifest(const std::string& path) {
  const std::filesystem::path library(path);
  std::string name = library.stem().string();
  if (name.compare(0, 3, "lib") == 0) name.erase(0, 3);
  const std::string file = (library.parent_path() / (name + ".json")).string();
  std::ifstream stream(file);
  if (!stream) return nullptr;
  nlohmann::ordered_json manifest =
      nlohmann::ordered_json::parse(stream, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object())
    throw Error(file + ": is no JSON object; compile the library again, or remove the file");
  return manifest;
}

}  // namespace mattec::tools
