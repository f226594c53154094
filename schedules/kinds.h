// One function per kernel kind; apply() picks.
#pragma once

#include "schedules/schedule.h"

namespace mattec::schedules {

void schedule_conv(const lower::Kernel& kernel, const Tile& tile, generators::Pipeline& pipeline);
void schedule_depthwise(const lower::Kernel& kernel, const Machine& machine,
                        generators::Pipeline& pipeline);
void schedule_elementwise(const lower::Kernel& kernel, const Machine& machine,
                          generators::Pipeline& pipeline);

}  // namespace mattec::schedules
