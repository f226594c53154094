/* Which of the instruction sets of model.h this processor has: the one list, for mattec_init and
 * for the compiler, which wants to know what it can run. C and C++. */
#ifndef MATTEC_RUNTIME_CPU_FEATURES_H
#define MATTEC_RUNTIME_CPU_FEATURES_H

#include "runtime/model.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Bits of CPUID, by leaf and register (Intel SDM volume 2, CPUID). */
#define MATTEC_LEAF1_ECX_AVX2_CLASS                                                            \
  (1U << 12 /* FMA */ | 1U << 20 /* SSE4.2 */ | 1U << 22 /* MOVBE */ | 1U << 23 /* POPCNT */ | \
   1U << 28 /* AVX */ | 1U << 29 /* F16C */)
#define MATTEC_LEAF1_ECX_OSXSAVE (1U << 27)
#define MATTEC_LEAF7_EBX_AVX2_CLASS (1U << 3 /* BMI1 */ | 1U << 5 /* AVX2 */ | 1U << 8 /* BMI2 */)
/* Without it LZCNT silently runs as BSR. */
#define MATTEC_EXTENDED1_ECX_LZCNT (1U << 5)
#define MATTEC_LEAF7_EBX_ICELAKE                                                    \
  (1U << 16 /* F */ | 1U << 17 /* DQ */ | 1U << 21 /* IFMA */ | 1U << 28 /* CD */ | \
   1U << 30 /* BW */ | 1U << 31 /* VL */)
#define MATTEC_LEAF7_ECX_ICELAKE                                                         \
  (1U << 1 /* VBMI */ | 1U << 6 /* VBMI2 */ | 1U << 8 /* GFNI */ | 1U << 11 /* VNNI */ | \
   1U << 12 /* BITALG */ | 1U << 14 /* VPOPCNTDQ */)
#define MATTEC_LEAF7_1_EAX_AVX_VNNI (1U << 4)
/* The operating system saves xmm and ymm; the mask registers and zmm, too. */
#define MATTEC_XCR0_AVX 0x06U
#define MATTEC_XCR0_AVX512 0xE6U

static inline int mattec_has_all(uint32_t bits, uint32_t wanted) {
  return (bits & wanted) == wanted;
}

/* Bits MATTEC_CPU_... of this processor. */
static inline int64_t mattec_cpu_features(void) {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  uint32_t leaf7_b = 0, leaf7_c = 0, leaf7_1_a = 0, extended_c = 0, xcr0 = 0, xcr0_high = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !mattec_has_all(c, MATTEC_LEAF1_ECX_OSXSAVE)) return 0;
  const uint32_t leaf1_c = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    leaf7_b = b;
    leaf7_c = c;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) leaf7_1_a = a;
  }
  if (__get_cpuid(0x80000001U, &a, &b, &c, &d)) extended_c = c;
  __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(xcr0_high) : "c"(0));

  if (!mattec_has_all(leaf1_c, MATTEC_LEAF1_ECX_AVX2_CLASS) ||
      !mattec_has_all(leaf7_b, MATTEC_LEAF7_EBX_AVX2_CLASS) ||
      !mattec_has_all(extended_c, MATTEC_EXTENDED1_ECX_LZCNT) ||
      !mattec_has_all(xcr0, MATTEC_XCR0_AVX))
    return 0;
  int64_t found = MATTEC_CPU_AVX2;
  if (mattec_has_all(leaf7_1_a, MATTEC_LEAF7_1_EAX_AVX_VNNI)) found |= MATTEC_CPU_AVX_VNNI;
  if (mattec_has_all(leaf7_b, MATTEC_LEAF7_EBX_ICELAKE) &&
      mattec_has_all(leaf7_c, MATTEC_LEAF7_ECX_ICELAKE) && mattec_has_all(xcr0, MATTEC_XCR0_AVX512))
    found |= MATTEC_CPU_AVX512_ICELAKE;
  return found;
}

#elif defined(__aarch64__)

#if defined(__linux__) && !(defined(MATTEC_HOSTED) && !MATTEC_HOSTED)
#include <sys/auxv.h>

/* Bits of AT_HWCAP and AT_HWCAP2 (Linux, asm/hwcap.h). */
#define MATTEC_HWCAP_ASIMDDP (1UL << 20)

#define MATTEC_HWCAP2_I8MM (1UL << 13)

static inline int64_t mattec_cpu_features(void) {
  return (getauxval(AT_HWCAP) & MATTEC_HWCAP_ASIMDDP ? MATTEC_CPU_ARM_DOTPROD : 0) |
         (getauxval(AT_HWCAP2) & MATTEC_HWCAP2_I8MM ? MATTEC_CPU_ARM_I8MM : 0);
}

#else

/* Firmware runs at an exception level that may read these (Arm ARM, ID_AA64ISAR0_EL1 and 1). */
static inline int64_t mattec_cpu_features(void) {
  uint64_t isar0, isar1;
  __asm__("mrs %0, id_aa64isar0_el1" : "=r"(isar0));
  __asm__("mrs %0, id_aa64isar1_el1" : "=r"(isar1));
  return (isar0 >> 44 & 15 ? MATTEC_CPU_ARM_DOTPROD : 0) | /* DP */
         (isar1 >> 52 & 15 ? MATTEC_CPU_ARM_I8MM : 0);     /* I8MM */
}

#endif

#else
#error "the mattec runtime knows x86-64 and 64-bit ARM"
#endif

#endif
