/* Mattes two frames of noise with a compiled library called "rvm", a marker before each and after
 * the last: for emulators that count instructions between markers. Prints a checksum. */
#include <stdio.h>
#include <sys/resource.h>

#include "rvm.h"

enum { MARKER = 4242 }; /* no process: the call fails, and costs nothing */

static _Alignas(RVM_ARENA_ALIGNMENT) uint8_t arena[RVM_ARENA_BYTES(1)];
static uint8_t pixels[RVM_HEIGHT * RVM_WIDTH * 3];
static uint8_t matte[RVM_HEIGHT * RVM_WIDTH];

int main(void) {
  const mattec_image frame = {pixels, RVM_WIDTH, RVM_HEIGHT, RVM_WIDTH * 3, MATTEC_RGB};
  const mattec_outputs outputs = {.alpha = {matte, RVM_WIDTH, RVM_HEIGHT, RVM_WIDTH, MATTEC_GRAY}};
  mattec_session* session;
  uint32_t random = 1, checksum = 2166136261u;
  if (mattec_init(&rvm_model, arena, sizeof arena, NULL, &session) != MATTEC_OK) return 1;
  for (size_t i = 0; i < sizeof pixels; ++i) {
    random = random * 1664525u + 1013904223u;
    pixels[i] = (uint8_t)(random >> 24);
  }
  for (int i = 0; i < 2; ++i) {
    getpriority(MARKER, (id_t)i);
    if (mattec_step(session, &frame, NULL, &outputs) != MATTEC_OK) return 1;
  }
  getpriority(MARKER, 2);
  for (size_t i = 0; i < sizeof matte; ++i) checksum = (checksum ^ matte[i]) * 16777619u;
  printf("mattes %08x\n", checksum);
  return 0;
}
