// The files of compiled libraries: lib<name>.a, <name>.h, mattec.h, <name>.json.
#pragma once

#include <string>
#include <vector>

#include "targets/compile.h"

namespace mattec::targets {

std::vector<std::string> library_files(const std::string& name);

// Writes them into the folder <folder>/<target>. Throws Error.
void write_library(const CompiledLibrary& library, const std::string& name,
                   const std::string& folder);

// Throws Error where place_libraries() could not put libraries of these targets: before the work.
void require_places(const std::vector<std::string>& targets, const std::string& name,
                    const std::string& folder);

// Puts all libraries into <folder>/<target> or, where that fails, none. Other files of these
// folders stay. A process that is killed leaves a new `folder` whole or not at all, and each folder
// that was there either as it was or with the whole library. Throws Error, Interrupted.
void place_libraries(const std::vector<CompiledLibrary>& libraries, const std::string& name,
                     const std::string& folder);

}  // namespace mattec::targets
