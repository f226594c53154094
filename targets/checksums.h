// Where the files of a compiled library hold their checksums (base/checksum.h).
#pragma once

#include <string_view>

namespace mattec::targets {

// What the digits follow: in an archive, of which they are in a member of its own; in a manifest,
// whose other entry "archive_checksum" repeats the archive's.
constexpr std::string_view archive_marker = "mattec archive checksum ";
constexpr std::string_view manifest_marker = "\n \"checksum\": \"";

}  // namespace mattec::targets
