/* The runtime as one object with one symbol, which targets/ renames for every library: all parts
 * in one translation unit, everything in them static. */

#if defined(__GNUC__) && !defined(__clang__) /* else loops become calls of memcpy and memset */
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

#include "runtime/cpu.c"      // NOLINT(bugprone-suspicious-include)
#include "runtime/fill.c"     // NOLINT(bugprone-suspicious-include)
#include "runtime/frame.c"    // NOLINT(bugprone-suspicious-include)
#include "runtime/pool.c"     // NOLINT(bugprone-suspicious-include)
#include "runtime/session.c"  // NOLINT(bugprone-suspicious-include)

const mattec_functions mattec_runtime_functions = {init, step, reset, close_session, message};
