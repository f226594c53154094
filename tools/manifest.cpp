#include "tools/manifest.h"

#include <filesystem>
#include <optional>

#include "base/checksum.h"
#include "base/error.h"
#include "base/read_file.h"
#include "ir/json_limits.h"
#include "targets/checksums.h"

namespace mattec::tools {

nlohmann::ordered_json read_manifest(const std::string& path, const std::string& archive_checksum) {
  const std::filesystem::path library(path);
  std::string name = library.stem().string();
  if (name.compare(0, 3, "lib") == 0) name.erase(0, 3);
  const std::string file = (library.parent_path() / (name + ".json")).string();
  std::error_code none;
  if (!std::filesystem::exists(file, none)) return nullptr;
  const std::string text = read_file(file, ir::most_json_bytes);
  const std::optional<Checksum> checksum = find_checksum(text, targets::manifest_marker);
  const char way_out[] = "; compile the library again, or remove the file";
  if (!checksum)
    throw Error(file + ": has no checksum of mattec's: it is damaged, or of another version" +
                way_out);
  if (!checksum->is_right()) throw Error(file + ": is damaged: its checksum is wrong" + way_out);
  const std::string excess = ir::json_excess(text.data(), text.size());
  if (!excess.empty()) throw Error(file + ": " + excess + way_out);
  nlohmann::ordered_json manifest =
      nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object()) throw Error(file + ": is no JSON object" + way_out);
  if (manifest.value("archive_checksum", "") != archive_checksum)
    throw Error(file + ": was written with another library than " + path + way_out);
  return manifest;
}

}  // namespace mattec::tools
