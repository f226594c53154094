/* What a C program wants of a board: console and end through Arm semihosting, which emulators and
 * debuggers answer, and the four functions that GCC calls even in freestanding code. */
#include "support.h"

static uint64_t semihost(uint64_t operation, const void* argument) {
  register uint64_t x0 __asm__("x0") = operation;
  register const void* x1 __asm__("x1") = argument;
  __asm__ volatile("hlt #0xf000" : "+r"(x0) : "r"(x1) : "memory");
  return x0;
}

void print(const char* text) { semihost(0x04 /* SYS_WRITE0 */, text); }

void print_hex(const char* name, uint64_t value) {
  char digits[17] = {0};
  for (int i = 15; i >= 0; --i, value >>= 4) digits[i] = "0123456789abcdef"[value & 15];
  print(name);
  print(digits);
  print("\n");
}

void semihosting_exit(int status) {
  const uint64_t block[2] = {0x20026 /* ADP_Stopped_ApplicationExit */, (uint64_t)status};
  for (;;) semihost(0x20 /* SYS_EXIT_EXTENDED */, block);
}

/* Of start.S. */
void fault(uint64_t syndrome, uint64_t address, uint64_t data) {
  print("fault\n");
  print_hex("  syndrome (ESR_EL1) ", syndrome);
  print_hex("  instruction at     ", address);
  print_hex("  data at            ", data);
  semihosting_exit(FAULT_STATUS);
}

void* memcpy(void* to, const void* from, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) ((char*)to)[i] = ((const char*)from)[i];
  return to;
}
void* memmove(void* to, const void* from, size_t bytes) {
  if ((uintptr_t)to < (uintptr_t)from) return memcpy(to, from, bytes);
  while (bytes-- > 0) ((char*)to)[bytes] = ((const char*)from)[bytes];
  return to;
}
void* memset(void* to, int value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) ((char*)to)[i] = (char)value;
  return to;
}
int memcmp(const void* a, const void* b, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i)
    if (((const uint8_t*)a)[i] != ((const uint8_t*)b)[i])
      return ((const uint8_t*)a)[i] < ((const uint8_t*)b)[i] ? -1 : 1;
  return 0;
}
