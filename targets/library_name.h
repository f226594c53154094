// What a compiled library may be called.
#pragma once

#include <string>

namespace mattec::targets {

// The name is the prefix of every symbol and macro and makes the files lib<name>.a and <name>.h,
// which lie in folders that compilers and linkers search before the system's. Throws UsageError
// where it is no C identifier, too long for a file, or one of the system's own names.
void require_library_name(const std::string& name);

}  // namespace mattec::targets
