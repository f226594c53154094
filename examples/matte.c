/* Mattes raw video: RGB frames from standard input, one byte of alpha a pixel to standard output.
 *
 *   ffmpeg -i in.mp4 -vf scale=512:288 -pix_fmt rgb24 -f rawvideo - | matte 2 > alpha.gray
 *   ffmpeg -f rawvideo -pix_fmt gray -s 512x288 -i alpha.gray alpha.mp4
 *
 * The argument is the number of threads, at most 16; without it, one. */
#include <stdio.h>
#include <stdlib.h>

#include "rvm.h"

enum { MOST_THREADS = 16 };

/* Everything that the network needs, known at compile time. */
static _Alignas(RVM_ARENA_ALIGNMENT) uint8_t arena[RVM_ARENA_BYTES(MOST_THREADS)];
static uint8_t pixels[RVM_HEIGHT * RVM_WIDTH * 3];
static uint8_t matte[RVM_HEIGHT * RVM_WIDTH];

static int fail(const char* what) {
  fprintf(stderr, "matte: %s\n", what);
  return EXIT_FAILURE;
}

/* Returns the program's exit status. */
static int matte_all(mattec_session* session) {
  const mattec_image frame = {pixels, RVM_WIDTH, RVM_HEIGHT, RVM_WIDTH * 3, MATTEC_RGB};
  const mattec_outputs outputs = {
      .alpha = {matte, RVM_WIDTH, RVM_HEIGHT, RVM_WIDTH, MATTEC_GRAY}}; /* no foreground */
  for (;;) {
    const size_t got = fread(pixels, 1, sizeof pixels, stdin);
    if (got == 0 && feof(stdin)) break;
    if (got != sizeof pixels) return fail("the input ends inside a frame");
    const mattec_status status = mattec_step(session, &frame, NULL, &outputs);
    if (status != MATTEC_OK) return fail(mattec_message(&rvm_model, status));
    if (fwrite(matte, 1, sizeof matte, stdout) != sizeof matte)
      return fail("cannot write the output");
  }
  return fflush(stdout) == 0 ? EXIT_SUCCESS : fail("cannot write the output");
}

int main(int argc, char** argv) {
  const mattec_options options = {.threads = argc > 1 ? atoi(argv[1]) : 1};
  mattec_session* session;
  const mattec_status status = mattec_init(&rvm_model, arena, sizeof arena, &options, &session);
  if (status != MATTEC_OK) return fail(mattec_message(&rvm_model, status));
  const int result = matte_all(session);
  mattec_close(session);
  return result;
}
