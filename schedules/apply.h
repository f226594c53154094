// Carries a schedule out.
#pragma once

#include "generators/generators.h"
#include "schedules/schedule.h"

namespace mattec::schedules {

// The kernel's algorithm, divided and scheduled as the schedule says. `microkernel`: the function
// that kernel.microkernel is in this library.
generators::Pipeline apply(const Schedule& schedule, const lower::Kernel& kernel,
                           const std::string& microkernel);

}  // namespace mattec::schedules
