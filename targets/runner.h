// A compiled library at work: in this process, or under an emulator where its processor is another
// one. For tests and whatever else compares or times kernels of all targets.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/mattec.h"
#include "targets/compile.h"
#include "targets/target.h"

namespace mattec::targets {

// One session of a library.
class RunningSession {
 public:
  virtual ~RunningSession() = default;
  // One frame of R, G, B; `alpha` and `foreground` (R, G, B) may be null, else they are filled.
  // Throws Error where the emulated program died.
  virtual mattec_status step(const std::vector<uint8_t>& rgb, std::vector<uint8_t>* alpha,
                             std::vector<uint8_t>* foreground) = 0;
  virtual void reset() = 0;
  // plan.tensor_bytes of the arena, from the first storage on; valid until the next call.
  virtual const uint8_t* tensors() = 0;
};

class Runner {
 public:
  virtual ~Runner() = default;
  // The arena is noise, and ends where memory does: a kernel that reads beyond it crashes, one that
  // relies on zeros differs. Throws Error with the status' message where mattec_init refuses.
  virtual std::unique_ptr<RunningSession> open(int threads) = 0;
};

// False where only another processor runs the target's code: it is neither this one's nor emulated.
bool can_run(const Target& target);

// `name`: the library's. `cpu`: of the emulator (qemu's name), if not the target's own. Throws
// Error where it cannot run, also for want of compiler and emulator in PATH (scripts/setup
// --tests).
std::unique_ptr<Runner> run_library(const CompiledLibrary& library, const std::string& name,
                                    const std::string& cpu = "");

}  // namespace mattec::targets
