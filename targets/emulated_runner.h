// A compiled library inside a small program of its own under qemu's user mode.
#pragma once

#include "targets/runner.h"

namespace mattec::targets {

// Empty where compiler and emulator are found in PATH; else which one is missing.
std::string why_not_emulate(const Target& target);

std::unique_ptr<Runner> emulate_library(const CompiledLibrary& library, const std::string& name,
                                        const std::string& cpu);

}  // namespace mattec::targets
