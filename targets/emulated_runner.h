// A compiled library inside a small program of its own under qemu's user mode.
#pragma once

#include "targets/runner.h"

namespace mattec::targets {

// Throws Error where compiler or emulator is not found in PATH.
std::unique_ptr<Runner> emulate_library(const CompiledLibrary& library, const std::string& name,
                                        const std::string& cpu);

}  // namespace mattec::targets
