// One function per kernel kind; apply() picks.
#pragma once

#include "schedules/apply.h"

namespace mattec::schedules {

// Cuts the output into the schedule's tiles; returns the inner one of the two loops over them.
Halide::Var tile_output(const Schedule& schedule, const lower::Kernel& kernel,
                        generators::Pipeline& pipeline);

void schedule_conv(const Schedule& tile, const lower::Kernel& kernel,
                   generators::Pipeline& pipeline);
void schedule_depthwise(const Schedule& schedule, const lower::Kernel& kernel,
                        generators::Pipeline& pipeline);
void schedule_elementwise(const Schedule& schedule, const lower::Kernel& kernel,
                          generators::Pipeline& pipeline);

}  // namespace mattec::schedules
