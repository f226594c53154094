/* A compiled library without a compiler: what mattec's own libraries look like from outside, with
 * arithmetic that a test can check by hand. 16x8 pixels.
 *   alpha      = max(green of this frame, half of the previous alpha)  (a recurrent state)
 *   foreground = frame with red and blue exchanged */

#include "runtime/model.h"

enum { FAKE_WIDTH = 16, FAKE_HEIGHT = 8, FAKE_ARENA_BYTES = 4096 };

typedef struct fake_session {
  mattec_session base;
  uint8_t alpha[FAKE_HEIGHT * FAKE_WIDTH];
} fake_session;

static void fake_reset(mattec_session* session) {
  for (int i = 0; i < FAKE_HEIGHT * FAKE_WIDTH; ++i) ((fake_session*)session)->alpha[i] = 0;
}

static mattec_status fake_init(const mattec_model* model, uint32_t abi_version, void* arena,
                               size_t bytes, const mattec_options* options,
                               mattec_session** session) {
  (void)options;
  if (abi_version != MATTEC_ABI_VERSION) return MATTEC_ERROR_ABI_VERSION;
  if (bytes < FAKE_ARENA_BYTES) return MATTEC_ERROR_ARENA_TOO_SMALL;
  if ((uintptr_t)arena % 64 != 0) return MATTEC_ERROR_ARENA_ALIGNMENT;
#ifdef FAKE_NEEDS_ANOTHER_CPU
  return MATTEC_ERROR_UNSUPPORTED_CPU;
#endif
  *session = (mattec_session*)arena;
  (*session)->functions = model->functions;
  fake_reset(*session);
  return MATTEC_OK;
}

static mattec_status fake_step(mattec_session* session, const mattec_image* frame,
                               const mattec_flow* flow, const mattec_outputs* out) {
  (void)flow;
  if (frame->width != FAKE_WIDTH || frame->height != FAKE_HEIGHT) return MATTEC_ERROR_IMAGE_SIZE;
  uint8_t* state = ((fake_session*)session)->alpha;
  for (ptrdiff_t y = 0; y < FAKE_HEIGHT; ++y)
    for (ptrdiff_t x = 0; x < FAKE_WIDTH; ++x) {
      const uint8_t* pixel = frame->pixels + y * frame->stride + 3 * x;
      uint8_t* kept = state + y * FAKE_WIDTH + x;
      *kept = pixel[1] > *kept / 2 ? pixel[1] : *kept / 2;
      if (out->alpha.pixels) out->alpha.pixels[y * out->alpha.stride + x] = *kept;
      if (out->foreground.pixels)
        for (int c = 0; c < 3; ++c)
          out->foreground.pixels[y * out->foreground.stride + 3 * x + c] = pixel[2 - c];
    }
  return MATTEC_OK;
}

#ifdef FAKE_DEEP_STACK
/* As a kernel of large frames, first. */
static mattec_status fake_deep_step(mattec_session* session, const mattec_image* frame,
                                    const mattec_flow* flow, const mattec_outputs* out) {
  volatile char deep[400000];
  for (int i = 0; i < 400000; i += 1024) deep[i] = 1;
  return deep[0] == 1 ? fake_step(session, frame, flow, out) : MATTEC_ERROR_FLOW;
}
#endif

static void fake_close(mattec_session* session) { (void)session; }

static const char* fake_message(mattec_status status) {
  return status == MATTEC_ERROR_UNSUPPORTED_CPU ? "the processor lacks what this library needs"
                                                : "fake library";
}

#ifdef FAKE_UNDEFINED
mattec_status fake_missing_function(mattec_session*, const mattec_image*, const mattec_flow*,
                                    const mattec_outputs*);
#define FAKE_STEP fake_missing_function
#elif defined(FAKE_DEEP_STACK)
#define FAKE_STEP fake_deep_step
#else
#define FAKE_STEP fake_step
#endif

static const mattec_functions fake_functions = {fake_init, FAKE_STEP, fake_reset, fake_close,
                                                fake_message};

const mattec_plan fake_model = {.model = {&fake_functions},
                                .abi_version = MATTEC_ABI_VERSION,
                                .width = FAKE_WIDTH,
                                .height = FAKE_HEIGHT,
                                .arena_bytes = FAKE_ARENA_BYTES,
                                .arena_alignment = 64,
                                .foreground = {.pixel_bytes = 4}};
