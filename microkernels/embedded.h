// The micro-kernels as the compiler carries them.
#pragma once

#include <string>

#include "runtime/embedded.h"

namespace mattec::microkernels {

// The relocatable ELF object of <name>.c (position independent): it defines accumulate_<name>
// (hidden) and wants nothing. Throws Error for one that this compiler was built without.
runtime::Embedded object(const std::string& name);

}  // namespace mattec::microkernels
