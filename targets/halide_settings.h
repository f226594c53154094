// Halide's settings are variables of the environment; product code must not depend on them.
#pragma once

namespace mattec::targets {

// The same settings for every kernel, whatever the environment says. To be called before the first
// kernel is compiled and while no other thread reads or changes the environment; later calls do
// nothing.
void fix_halide_settings();

}  // namespace mattec::targets
