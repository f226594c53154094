// The memory plan.
#pragma once

#include "lower/plan.h"

namespace mattec::lower {

constexpr int64_t storage_alignment = 64;

// Gives every storage an offset such that no two that live at the same time overlap: largest
// first, each at the lowest offset that is free over its lifetime. Sets plan.tensor_bytes.
void plan_arena(Plan& plan);

}  // namespace mattec::lower
