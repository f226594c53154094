/* The processor: which instruction sets it has, and its floating-point environment. */
#include "runtime/session.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Bits of CPUID, by leaf and register (Intel SDM volume 2, CPUID). */
enum {
  LEAF1_ECX_AVX2_CLASS = 1 << 12 /* FMA */ | 1 << 20 /* SSE4.2 */ | 1 << 22 /* MOVBE */ |
                         1 << 23 /* POPCNT */ | 1 << 28 /* AVX */ | 1 << 29 /* F16C */,
  LEAF1_ECX_OSXSAVE = 1 << 27,
  LEAF7_EBX_AVX2_CLASS = 1 << 3 /* BMI1 */ | 1 << 5 /* AVX2 */ | 1 << 8 /* BMI2 */,
  EXTENDED1_ECX_LZCNT = 1 << 5, /* without it LZCNT silently runs as BSR */
  LEAF7_ECX_ICELAKE = 1 << 1 /* VBMI */ | 1 << 6 /* VBMI2 */ | 1 << 8 /* GFNI */ |
                      1 << 11 /* VNNI */ | 1 << 12 /* BITALG */ | 1 << 14 /* VPOPCNTDQ */,
  XCR0_AVX = 0x06,   /* the operating system saves xmm and ymm */
  XCR0_AVX512 = 0xE6 /* ... and the mask registers and zmm */
};
#define LEAF7_EBX_ICELAKE                                                           \
  (1U << 16 /* F */ | 1U << 17 /* DQ */ | 1U << 21 /* IFMA */ | 1U << 28 /* CD */ | \
   1U << 30 /* BW */ | 1U << 31 /* VL */)

static int has_all(uint32_t bits, uint32_t wanted) { return (bits & wanted) == wanted; }

/* Bits MATTEC_CPU_... of this processor. */
static int64_t cpu_features(void) {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  uint32_t leaf7_b = 0, leaf7_c = 0, extended_c = 0, xcr0 = 0, xcr0_high = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !has_all(c, LEAF1_ECX_OSXSAVE)) return 0;
  const uint32_t leaf1_c = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    leaf7_b = b;
    leaf7_c = c;
  }
  if (__get_cpuid(0x80000001U, &a, &b, &c, &d)) extended_c = c;
  __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(xcr0_high) : "c"(0));

  if (!has_all(leaf1_c, LEAF1_ECX_AVX2_CLASS) || !has_all(leaf7_b, LEAF7_EBX_AVX2_CLASS) ||
      !has_all(extended_c, EXTENDED1_ECX_LZCNT) || !has_all(xcr0, XCR0_AVX))
    return 0;
  if (!has_all(leaf7_b, LEAF7_EBX_ICELAKE) || !has_all(leaf7_c, LEAF7_ECX_ICELAKE) ||
      !has_all(xcr0, XCR0_AVX512))
    return MATTEC_CPU_AVX2;
  return MATTEC_CPU_AVX2 | MATTEC_CPU_AVX512_ICELAKE;
}

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

/* The base architecture holds all that today's ARM targets use. */
static int64_t cpu_features(void) { return 0; }

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

#if MATTEC_HOSTED
static inline void relax(void) { __asm__ volatile("yield"); }
#endif

#else
#error "the mattec runtime knows x86-64 and 64-bit ARM"
#endif
