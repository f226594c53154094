/* The processor: its floating-point environment, and how it waits. */
#include "runtime/session.h"

#if defined(__x86_64__)

typedef uint32_t float_environment;

/* MXCSR as the numerics demand it: round to nearest even, keep subnormals, exceptions masked. The
 * caller may run with another one (audio and game engines do). Returns the caller's. */
static float_environment enter_ieee(void) {
  const uint32_t ieee = 0x1F80;
  uint32_t saved;
  __asm__ volatile("stmxcsr %0\n\tldmxcsr %1" : "=m"(saved) : "m"(ieee) : "memory");
  return saved;
}
static void leave_ieee(float_environment saved) {
  __asm__ volatile("ldmxcsr %0" : : "m"(saved) : "memory");
}

/* Tells the processor that this is a waiting loop. */
static inline void relax(void) { __builtin_ia32_pause(); }

#elif defined(__aarch64__)

typedef uint64_t float_environment;

/* FPCR 0: round to nearest even, keep subnormals and NaNs, no traps. */
static float_environment enter_ieee(void) {
  uint64_t saved;
  __asm__ volatile("mrs %0, fpcr\n\tmsr fpcr, xzr" : "=r"(saved) : : "memory");
  return saved;
}
static void leave_ieee(float_environment saved) {
  __asm__ volatile("msr fpcr, %0" : : "r"(saved) : "memory");
}

static inline void relax(void) { __asm__ volatile("yield"); }

#endif
