/* Copies and fills: plain loops, so that firmware needs no C library. Halos and states. */
#include "runtime/session.h"

/* Not overlapping. The constant sizes become single moves. */
static void copy_bytes(uint8_t* to, const uint8_t* from, int64_t bytes) {
  for (; bytes >= 16; bytes -= 16, to += 16, from += 16) __builtin_memcpy(to, from, 16);
  if (bytes & 8) {
    __builtin_memcpy(to, from, 8);
    to += 8;
    from += 8;
  }
  if (bytes & 4) {
    __builtin_memcpy(to, from, 4);
    to += 4;
    from += 4;
  }
  for (bytes &= 3; bytes > 0; --bytes) *to++ = *from++;
}

/* `bytes` of repetitions of the pattern, the last one perhaps cut. What is filled is the source of
 * the next copy, twice as long each time. */
static void fill_repeated(uint8_t* to, int64_t bytes, const uint8_t* pattern,
                          int64_t pattern_bytes) {
  int64_t done = pattern_bytes < bytes ? pattern_bytes : bytes;
  copy_bytes(to, pattern, done);
  while (done < bytes) {
    const int64_t more = done < bytes - done ? done : bytes - done;
    copy_bytes(to + done, to, more);
    done += more;
  }
}

/* The border beside rows [first, first + count) of a tensor, and above and below it where these
 * rows are its first and last. The tasks of a step thus fill all of it once, without waiting for
 * each other. */
static void fill_halo(const struct session* session, const mattec_halo* halo, int64_t first,
                      int64_t count) {
  if (halo->halo == 0 || first >= halo->height) return;
  const int64_t end = first + count < halo->height ? first + count : halo->height;
  const uint8_t* pattern = session->plan->constants + halo->pattern;
  const int64_t side = halo->halo * halo->pixel_bytes;
  const int64_t interior = halo->width * halo->pixel_bytes;
  uint8_t* origin = session->tensors + halo->offset;

  for (int64_t y = first; y < end; ++y) {
    uint8_t* row = origin + y * halo->row_bytes;
    fill_repeated(row - side, side, pattern, halo->pixel_bytes);
    fill_repeated(row + interior, side, pattern, halo->pixel_bytes);
  }
  for (int64_t h = 0; h < halo->halo; ++h) {
    if (first == 0)
      fill_repeated(origin - (h + 1) * halo->row_bytes - side, interior + 2 * side, pattern,
                    halo->pixel_bytes);
    if (end == halo->height)
      fill_repeated(origin + (end + h) * halo->row_bytes - side, interior + 2 * side, pattern,
                    halo->pixel_bytes);
  }
}

static void fill_states(const struct session* session) {
  const mattec_plan* plan = session->plan;
  for (int64_t i = 0; i < plan->state_count; ++i) {
    const mattec_state_record* state = &plan->states[i];
    fill_repeated(session->tensors + state->offset, state->bytes, plan->constants + state->pattern,
                  state->pattern_bytes);
  }
}
