/* Mattes eight generated frames on a processor without operating system and prints a checksum of
 * all mattes: the same on every machine. A product takes frames from its camera instead. */
#include "rvm.h"
#include "support.h"

#ifndef FRAMES
#define FRAMES 8
#endif

/* All memory that the network needs, known when this is compiled. */
static _Alignas(RVM_ARENA_ALIGNMENT) uint8_t arena[RVM_ARENA_BYTES(1)];
static uint8_t pixels[RVM_HEIGHT * RVM_WIDTH * 3];
static uint8_t matte[RVM_HEIGHT * RVM_WIDTH];

/* Noise: Knuth's linear congruential generator, MMIX. */
static uint64_t seed = 1;
static uint8_t noise(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint8_t)(seed >> 56);
}

static int fail(mattec_status status) {
  print(mattec_message(&rvm_model, status));
  print("\n");
  return 1;
}

int main(void) {
  const mattec_image frame = {pixels, RVM_WIDTH, RVM_HEIGHT, RVM_WIDTH * 3, MATTEC_RGB};
  const mattec_outputs outputs = {
      .alpha = {matte, RVM_WIDTH, RVM_HEIGHT, RVM_WIDTH, MATTEC_GRAY}}; /* no foreground */
  uint64_t checksum = 0xcbf29ce484222325u;                              /* FNV-1a */
  mattec_session* session;
  mattec_status status = mattec_init(&rvm_model, arena, sizeof arena, NULL, &session);
  if (status != MATTEC_OK) return fail(status);
  for (int i = 0; i < FRAMES; ++i) {
    for (size_t j = 0; j < sizeof pixels; ++j) pixels[j] = noise();
    status = mattec_step(session, &frame, NULL, &outputs);
    if (status != MATTEC_OK) return fail(status);
    for (size_t j = 0; j < sizeof matte; ++j) checksum = (checksum ^ matte[j]) * 0x100000001b3u;
  }
  print_hex("mattes ", checksum);
#ifdef PROVOKE_FAULT /* to see what a fault looks like */
  *(volatile char*)0xc0000000u = 0;
#endif
  return 0;
}
